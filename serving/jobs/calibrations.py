"""How fast each class of cards runs each model: one row each, which every card of the class refines.

Every function runs inside the caller's transaction. Knows nothing of HTTP, Ray or video.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from sqlalchemy import Connection, RowMapping, and_, select, update
from sqlalchemy.dialects import postgresql, sqlite

from serving.jobs.clock import StoreClock
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


def every(connection: Connection) -> tuple[CalibrationRow, ...]:
    """All rows, by model and card."""
    rows = connection.execute(select(calibrations).order_by(calibrations.c.model, calibrations.c.card))
    return tuple(_row(row) for row in rows.mappings())


def learn(
    connection: Connection,
    clock: StoreClock,
    model: str,
    card: str,
    engine: str,
    seed: Calibration,
    change: Callable[[Calibration], Calibration],
) -> None:
    """Change the row, which is `seed` where there is none; cards that do so at once wait for each other."""
    mine = and_(calibrations.c.model == model, calibrations.c.card == card)
    values = {"engine": engine, "updated_at": _now(connection, clock)}
    new = {"model": model, "card": card, "record": to_record(seed), **values}
    connection.execute(_insert(connection).values(new).on_conflict_do_nothing())
    record = connection.execute(select(calibrations.c.record).where(mine).with_for_update()).scalar_one()
    values["record"] = to_record(change(from_record(record)))
    connection.execute(update(calibrations).where(mine).values(values))


def replace(
    connection: Connection, clock: StoreClock, model: str, card: str, engine: str, calibration: Calibration
) -> None:
    """Begin the row anew, with what was measured on purpose."""
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
