"""Log lines are JSON, and a record about a job is in the job's file whoever wrote it."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from serving.jobs.job import new_job_id
from serving.logs import ROOTS, about, log_to, show_on_console

logger = logging.getLogger("serving.example")


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Path]:
    """The log file of a start; the loggers are as they were afterwards."""
    before = {root: (logging.getLogger(root).handlers[:], logging.getLogger(root).level) for root in ROOTS}
    for root in ROOTS:
        logging.getLogger(root).handlers.clear()
    log_to(tmp_path / "app.log", "INFO")
    yield tmp_path / "app.log"
    for root, (handlers, level) in before.items():
        for handler in logging.getLogger(root).handlers:
            handler.close()
        logging.getLogger(root).handlers[:] = handlers
        logging.getLogger(root).setLevel(level)


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_a_line(start: Path) -> None:
    logger.info("rendered %d frames\nof a dress: 連衣裙", 8, extra={"timings_s": {"denoise": 1.5}, "path": Path("a")})
    logger.debug("not this")
    (line,) = lines(start)
    assert datetime.fromisoformat(line["time"]).utcoffset() == timedelta(0)
    assert (line["level"], line["logger"], line["job"]) == ("INFO", "serving.example", None)
    assert line["message"] == "rendered 8 frames\nof a dress: 連衣裙"
    assert (line["timings_s"], line["path"]) == ({"denoise": 1.5}, "a")


def test_an_exception_stays_in_its_line(start: Path) -> None:
    try:
        raise RuntimeError("no memory")
    except RuntimeError:
        logger.exception("failed")
    (line,) = lines(start)
    assert line["exception"].startswith("Traceback")
    assert line["exception"].endswith("RuntimeError: no memory")


def test_records_about_a_job(start: Path) -> None:
    one, two = new_job_id(), new_job_id()

    async def work(job_id: str) -> None:
        with about(job_id):
            await asyncio.to_thread(logger.info, "in a thread")
            await asyncio.create_task(asyncio.to_thread(logger.info, "in a task"))

    async def both() -> None:
        await asyncio.gather(work(one), work(two))

    asyncio.run(both())
    logging.getLogger("deployments.example").warning("named", extra={"job": one})
    logger.info("about none")
    messages = [line["message"] for line in lines(start.parent / "jobs" / f"{one}.log")]
    assert messages == ["in a thread", "in a task", "named"]
    assert len(lines(start.parent / "jobs" / f"{two}.log")) == 2
    assert [line["job"] for line in lines(start)].count(one) == 3
    assert lines(start)[-1]["job"] is None


@pytest.mark.parametrize("job", ["../escaped", "video_1", "", None])
def test_only_a_job_has_a_file(start: Path, job: str | None) -> None:
    logger.info("hello", extra={"job": job})
    assert list((start.parent / "jobs").iterdir()) == []
    assert not (start.parent / "escaped.log").exists()
    assert len(lines(start)) == 1


def test_a_second_call_adds_nothing(start: Path, capsys: pytest.CaptureFixture[str]) -> None:
    log_to(start, "INFO")
    show_on_console()
    show_on_console()
    with about(new_job_id(0)):
        logger.info("once")
    assert len(lines(start)) == 1
    shown = capsys.readouterr().err.splitlines()
    assert len(shown) == 1
    assert shown[0].endswith(f"serving.example {lines(start)[0]['job']} once")
