"""What the processes of the racing tests run; apart from the tests, so that each starts quickly."""

from __future__ import annotations

import multiprocessing
import os
import sys
from collections.abc import Callable, Iterable
from contextlib import closing
from multiprocessing import forkserver
from typing import Any
from unittest.mock import patch

from serving.errors import ServerOverloaded
from serving.jobs import database
from serving.jobs.job import NewJob
from serving.jobs.store import open_store
from serving.request import VideoRequest
from serving.scheduling.calibration import Calibration, Observation, learn
from serving.scheduling.cost import CostRow

_processes = multiprocessing.get_context("forkserver")
_processes.set_forkserver_preload(["racers"])
SEARCH_PATH = ":".join(path for path in sys.path if path)


def race(target: Callable[..., Any], each: Iterable[tuple[Any, ...]]) -> list[Any]:
    """Run one process for each tuple of arguments, all at once; what they return."""
    # Before Python 3.13 the server does not search where this process does, and could import nothing ahead.
    with patch.dict(os.environ, PYTHONPATH=SEARCH_PATH):
        forkserver.ensure_running()
    answers = _processes.SimpleQueue()
    start = _processes.Event()
    runners = [_processes.Process(target=_run, args=(start, answers, target, given)) for given in each]
    for runner in runners:
        runner.start()
    start.set()
    found = [answers.get() for _ in runners]
    for runner in runners:
        runner.join(300)
    for answer in found:
        if isinstance(answer, BaseException):
            raise answer
    return found


def _run(start: Any, answers: Any, target: Callable[..., Any], given: tuple[Any, ...]) -> None:
    database.PATIENCE_S = 240.0  # many writers on a busy machine are no broken disk
    start.wait()
    try:
        answers.put(target(*given))
    except BaseException as error:
        answers.put(error)
        raise


def claim_all(url: str, pool: str) -> list[tuple[str, int]]:
    """Claim and complete until nothing is left for `pool`; the (id, attempt) of each."""
    done = []
    with closing(open_store(url)) as store:
        while (job := store.claim(pool, "i2vgen-xl", "card", 30.0)) is not None:
            assert pool in job.estimates
            done.append((job.id, job.attempt))
            assert store.complete(job.id, job.attempt, {"pool": pool})
    return done


def open_and_count(url: str) -> int:
    with closing(open_store(url)) as store:
        return len(store.list()[0])


def insert_many(url: str, request: VideoRequest, count: int, bounds: dict[str, Any]) -> int:
    """How many of `count` inserts were accepted."""
    accepted = 0
    with closing(open_store(url)) as store:
        for _ in range(count):
            try:
                store.insert(_job(request), **bounds)
                accepted += 1
            except ServerOverloaded:
                pass
    return accepted


def learn_many(
    url: str, model: str, card: str, seed: Calibration, clip: Observation, cost: CostRow, count: int
) -> None:
    """Count the clip `count` times."""
    with closing(open_store(url)) as store:
        for _ in range(count):
            store.calibrations.learn(model, card, "engine", seed, lambda known: learn(known, clip, cost))


def _job(request: VideoRequest) -> NewJob:
    return NewJob(request=request, picture_key="pictures/0.png", source_size=(1, 1), estimates={"default": 1.0})


def insert_for_ever(url: str) -> None:
    """Say each id on standard output once its insert is acknowledged."""
    request = VideoRequest.model_validate_json(sys.stdin.read())
    store = open_store(url)
    while True:
        job = store.insert(_job(request))
        os.write(1, f"{job.id}\n".encode())


if __name__ == "__main__":
    insert_for_ever(sys.argv[1])
