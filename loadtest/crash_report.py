"""The report of `loadtest.crashes`, drawn from what was written down and from what is left on the disk."""

from __future__ import annotations

import json
import statistics
from bisect import bisect_right
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from pathlib import Path
from typing import Any

from loadtest.history import History
from loadtest.verdict import Clip, Found, Sent, violations
from serving.clip import read_recipe
from serving.errors import I2VError
from serving.jobs.job import Job, JobStatus

PAGE = 100
SHOWN = 20


def report(events_path: Path, sent: Sent, history: History, outputs: Path, max_attempts: int) -> int:
    """Print it; 1 where a promise was broken, else 0."""
    events = [json.loads(line) for line in events_path.read_text().splitlines()]
    jobs = all_jobs(history)
    with ThreadPoolExecutor() as pool:
        found = list(pool.map(lambda job: inspect(job, outputs), jobs))
    changes = history.changes()
    broken = violations(sent, found, changes, max_attempts)
    if any(event["event"] == "stuck" for event in events):
        broken.append("nothing ended any more, and the campaign was given up")
    _counts(events, sent, jobs, outputs)
    _recoveries(events, jobs)
    publications = Counter(change.job for change in changes if change.status == "completed")
    lost = sum(id_ not in {job.id for job in jobs} for id_ in sent.answered.values())
    twice = sum(count > 1 for count in publications.values())
    print(f"\n{lost} lost, {twice} published twice, {len(broken)} promises broken")
    for sentence in broken[:SHOWN]:
        print(f"  {sentence}")
    return 1 if broken else 0


def all_jobs(history: History) -> list[Job]:
    jobs: list[Job] = []
    more = True
    while more:
        page, more = history.store.list(jobs[-1].id if jobs else None, PAGE, newest_first=False)
        jobs += page
    return jobs


def inspect(job: Job, outputs: Path) -> Found:
    clip = _clip(job, outputs) if job.status is JobStatus.COMPLETED else None
    sent_as = job.request.metadata.get("try", "")
    return Found(job.id, sent_as, job.status, job.attempt, job.crashes, job.error_code, job.error_message, clip)


def _clip(job: Job, outputs: Path) -> Clip | None:
    assert job.result is not None
    assert job.completed_at is not None
    files = {variant: outputs / key for variant, key in job.result["files"].items()}
    try:
        recipes = [job.result["recipe"], json.loads(files["recipe"].read_text()), read_recipe(files["video"]) or {}]
        changed_at = max(file.stat().st_mtime for file in files.values())
    except (OSError, KeyError, ValueError, I2VError):
        return None
    return Clip(tuple((recipe.get("id"), recipe.get("attempt")) for recipe in recipes), changed_at - job.completed_at)


def _counts(events: Sequence[dict[str, Any]], sent: Sent, jobs: Sequence[Job], outputs: Path) -> None:
    seconds = events[-1]["at"] - events[0]["at"]
    kills = Counter(event["role"] for event in events if event["event"] == "kill")
    unsure = Counter(event["why"].partition(" ")[0] for event in events if event["event"] == "unsure")
    refused = sum(event["event"] == "refused" for event in events)
    codes = Counter(job.error_code for job in jobs if job.status is JobStatus.FAILED)
    attempts = Counter(job.attempt for job in jobs)
    published = {key for job in jobs if job.result for key in job.result["files"].values()}
    orphans = [path for path in outputs.iterdir() if path.name not in published]
    completed = sum(job.status is JobStatus.COMPLETED for job in jobs)
    rows = {
        "duration": f"{seconds:.0f} s, {completed / seconds:.2f} clips a second",
        "kills": f"{kills.total()}: {_told(kills)}",
        "answered with a job": len(sent.answered),
        "answer lost": f"{len(sent.unanswered)} ({_told(unsure)}), of which accepted: {len(jobs) - len(sent.answered)}",
        "connection refused": refused,
        "completed": completed,
        "failed": f"{codes.total()} {_told(codes)}",
        "jobs by attempts": _told(dict(sorted(attempts.items()))),
        "files no job refers to": f"{len(orphans)}, swept after a day",
    }
    print()
    for name, value in rows.items():
        print(f"{name:<24}{value}")


def _recoveries(events: Sequence[dict[str, Any]], jobs: Sequence[Job]) -> None:
    completions = sorted(job.completed_at for job in jobs if job.completed_at is not None)
    acceptances = [event["at"] for event in events if event["event"] == "accepted"]
    print(f"\n{'seconds until the next':<24}{'completion':>20}{'accepted job':>20}\n{'after a kill of':<24}", end="")
    print(f"{'median':>12}{'worst':>8}" * 2)
    kills = [(event["role"], event["at"]) for event in events if event["event"] == "kill"]
    for role in sorted({role for role, _ in kills}):
        moments = [at for name, at in kills if name == role]
        print(f"{role:<24}", end="")
        for later in (completions, acceptances):
            waits = [wait for at in moments if (wait := _next(later, at)) is not None]
            print(f"{statistics.median(waits):>12.1f}{max(waits):>8.1f}" if waits else f"{'-':>12}{'-':>8}", end="")
        print()
    print(f"longest time without a completion: {_longest(completions):.1f} s")


def _next(moments: Sequence[float], after: float) -> float | None:
    place = bisect_right(moments, after)
    return moments[place] - after if place < len(moments) else None


def _longest(moments: Sequence[float]) -> float:
    return max((later - earlier for earlier, later in pairwise(moments)), default=0.0)


def _told(counts: dict[Any, int]) -> str:
    return ", ".join(f"{name} {count}" for name, count in counts.items())
