"""How fast each class of cards runs each model: one row each, which every card of the class refines.

Knows nothing of HTTP, Ray or video.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from sqlalchemy import Connection, RowMapping, and_, select, update
from sqlalchemy.dialects import postgresql, sqlite

from serving.jobs.clock import StoreClock
from serving.jobs.database import Database
from serving.jobs.tables import calibrations
from serving.scheduling.calibration import Calibration, from_record, to_record


@dataclass(frozen=True)
class CalibrationRow:
    """A model on a class of cards."""

    model: str
    card: str
    """Name of the class."""
    calibration: Calibration
    engine: str
    """Versions of what ran there last."""
    calibrated_at: float | None
    """When a card was last measured on purpose, epoch seconds; None where only jobs were seen."""
    updated_at: float


class Calibrations:
    """What is known of the cards in one database; every method may block for some seconds."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def every(self) -> tuple[CalibrationRow, ...]:
        """What is known of each model's speed on each class of cards, by model and card."""
        wanted = select(calibrations).order_by(calibrations.c.model, calibrations.c.card)
        return self._database.read(lambda c: tuple(map(_row, c.execute(wanted).mappings())))

    def learn(
        self, model: str, card: str, engine: str, seed: Calibration, change: Callable[[Calibration], Calibration]
    ) -> None:
        """Change what is known of `model` on cards of the class `card`, in one transaction that may run again.

        Cards that do so at once wait for each other.

        Args:
            engine: versions of what runs there, for people.
            seed: what is known where there is no row yet.
        """
        self._database.write(lambda c: _learn(c, self._database.clock, model, card, engine, seed, change))

    def replace(self, model: str, card: str, engine: str, calibration: Calibration) -> None:
        """Put what was measured on purpose in the place of all that was known."""
        self._database.write(lambda c: _replace(c, self._database.clock, model, card, engine, calibration))


def _learn(
    connection: Connection,
    clock: StoreClock,
    model: str,
    card: str,
    engine: str,
    seed: Calibration,
    change: Callable[[Calibration], Calibration],
) -> None:
    mine = and_(calibrations.c.model == model, calibrations.c.card == card)
    values = {"engine": engine, "updated_at": _now(connection, clock)}
    new = {"model": model, "card": card, "record": to_record(seed), **values}
    connection.execute(_insert(connection).values(new).on_conflict_do_nothing())
    record = connection.execute(select(calibrations.c.record).where(mine).with_for_update()).scalar_one()
    values["record"] = to_record(change(from_record(record)))
    connection.execute(update(calibrations).where(mine).values(values))


def _replace(
    connection: Connection, clock: StoreClock, model: str, card: str, engine: str, calibration: Calibration
) -> None:
    now = _now(connection, clock)
    values = {"record": to_record(calibration), "engine": engine, "calibrated_at": now, "updated_at": now}
    statement = _insert(connection).values(model=model, card=card, **values)
    connection.execute(statement.on_conflict_do_update(index_elements=["model", "card"], set_=values))


def _now(connection: Connection, clock: StoreClock) -> float:
    return float(connection.execute(select(clock.wall())).scalar_one())


def _insert(connection: Connection) -> sqlite.Insert | postgresql.Insert:
    return sqlite.insert(calibrations) if connection.dialect.name == "sqlite" else postgresql.insert(calibrations)


def _row(row: RowMapping) -> CalibrationRow:
    return CalibrationRow(
        model=row["model"],
        card=row["card"],
        calibration=from_record(row["record"]),
        engine=row["engine"],
        calibrated_at=row["calibrated_at"],
        updated_at=row["updated_at"],
    )
