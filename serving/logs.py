"""Log files: one a start (`app_YYYYMMDD_HHMMSS.log`), shared by all its processes, and one a job. Knows no Ray."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path

FORMAT = "%(asctime)s %(levelname)s %(process)d %(name)s %(job)s %(message)s"
ROOTS = ("serving", "deployments")
_current_job: ContextVar[str] = ContextVar("current_job", default="-")


class _JobId(logging.Filter):
    def filter(self, record: logging.LogRecord) -> bool:
        record.job = _current_job.get()
        return True


class _OnlyJob(logging.Filter):
    def __init__(self, job_id: str) -> None:
        super().__init__()
        self._job_id = job_id

    def filter(self, record: logging.LogRecord) -> bool:
        return _current_job.get() == self._job_id


def new_log_file(log_dir: Path) -> Path:
    """The log file of a start that begins now; its folder is made."""
    log_dir.mkdir(parents=True, exist_ok=True)
    return log_dir / time.strftime("app_%Y%m%d_%H%M%S.log")


def log_to(path: Path, level: str) -> None:
    """Append this process's records to `path`. Safe to call again, and from several processes for one file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    for name in ROOTS:
        logger = logging.getLogger(name)
        logger.setLevel(level)
        if not any(getattr(handler, "baseFilename", None) == str(path) for handler in logger.handlers):
            logger.addHandler(_handler(path))


@contextmanager
def job_log(log_dir: Path, job_id: str) -> Iterator[None]:
    """Within the block, records carry the job's id and go to `jobs/<id>.log` as well."""
    folder = log_dir / "jobs"
    folder.mkdir(parents=True, exist_ok=True)
    handler = _handler(folder / f"{job_id}.log")
    handler.addFilter(_OnlyJob(job_id))
    token = _current_job.set(job_id)
    loggers = [logging.getLogger(name) for name in ROOTS]
    for logger in loggers:
        logger.addHandler(handler)
    try:
        yield
    finally:
        for logger in loggers:
            logger.removeHandler(handler)
        handler.close()
        _current_job.reset(token)


def _handler(path: Path) -> logging.FileHandler:
    handler = logging.FileHandler(path)
    handler.setFormatter(logging.Formatter(FORMAT))
    handler.addFilter(_JobId())
    return handler
