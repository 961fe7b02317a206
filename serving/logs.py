"""Logs as JSON lines: one file a start, shared by all its processes, and one file a job. Knows no Ray.

Standard library only: a formatter is the dozen lines below.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import UTC, datetime
from pathlib import Path

from serving.jobs.job import accepted_at

JOBS = "jobs"
"""Folder of the jobs' own logs, beside those of the starts."""
SUFFIX = ".log"
CONSOLE = "%(asctime)s %(levelname)-7s %(name)s %(job)s %(message)s"
ROOTS = ("serving", "deployments")
_current_job: ContextVar[str | None] = ContextVar("current_job", default=None)
# What every record has; the rest came in through `extra`.
_STANDARD = set(vars(logging.makeLogRecord({}))) | {"message", "asctime", "job"}


class JsonLines(logging.Formatter):
    """One JSON object a record: time (ISO 8601, UTC), level, logger, process, job, message, then its own fields."""

    def format(self, record: logging.LogRecord) -> str:
        line = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "logger": record.name,
            "process": record.process,
            "job": vars(record).get("job"),
            "message": record.getMessage(),
        }
        line |= {name: value for name, value in vars(record).items() if name not in _STANDARD}
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line, ensure_ascii=False, default=str)


class _OfJob(logging.Filter):
    """Gives each record the id of the job it is about: named in `extra`, else the block's, else None."""

    def filter(self, record: logging.LogRecord) -> bool:
        if not hasattr(record, "job"):
            record.job = _current_job.get()
        return True


class _JobFiles(logging.Handler):
    """Appends each record about a job to `<id>.log`; opened anew each time, as a job has few records."""

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self._folder = folder
        folder.mkdir(parents=True, exist_ok=True)

    def emit(self, record: logging.LogRecord) -> None:
        job = vars(record).get("job")
        if job is None or accepted_at(job) is None:
            return
        try:
            with (self._folder / f"{job}{SUFFIX}").open("a", encoding="utf-8") as file:
                file.write(self.format(record) + "\n")
        except OSError:
            self.handleError(record)


def new_log_file(log_dir: Path) -> Path:
    """The log file of a start that begins now; its folder is made."""
    log_dir.mkdir(parents=True, exist_ok=True)
    return log_dir / time.strftime("app_%Y%m%d_%H%M%S.log")


def log_to(path: Path, level: str) -> None:
    """Append this process's records to `path`, and those about a job to `jobs/<id>.log` beside it.

    Safe to call again, and from several processes for one file.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    _add(f"file {path}", lambda: logging.FileHandler(path, encoding="utf-8"), JsonLines())
    _add(f"jobs {path.parent}", lambda: _JobFiles(path.parent / JOBS), JsonLines())
    for name in ROOTS:
        logging.getLogger(name).setLevel(level)


def show_on_console() -> None:
    """Print this process's records to standard error as well, for people. Safe to call again."""
    _add("console", logging.StreamHandler, logging.Formatter(CONSOLE))


def _add(name: str, make: Callable[[], logging.Handler], formatter: logging.Formatter) -> None:
    loggers = [logging.getLogger(root) for root in ROOTS]
    if any(handler.name == name for handler in loggers[0].handlers):
        return
    handler = make()
    handler.name = name
    handler.setFormatter(formatter)
    handler.addFilter(_OfJob())
    for logger in loggers:
        logger.addHandler(handler)


@contextmanager
def about(job_id: str) -> Iterator[None]:
    """Records within the block are about this job, in threads and tasks that it starts through asyncio as well."""
    token = _current_job.set(job_id)
    try:
        yield
    finally:
        _current_job.reset(token)
