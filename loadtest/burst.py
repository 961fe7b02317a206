"""Bursts of jobs against pools that sleep: which pool wakes, how far it grows, and how long the jobs wait.

    python -m loadtest.burst [--out FOLDER] [--only SCENARIO] [--report FOLDER]

Each scenario starts a real service over emulated cards, faster than real ones by its `speed`, submits its bursts over
HTTP and samples the service's metrics once a second until every pool sleeps again. FOLDER gets the raw samples,
burst.jsonl, and what is drawn from them afterwards: the table, burst.png, and exit code 1 where a promise was not kept.
`--report` only does the latter, from an earlier burst.jsonl. All times are of the wall clock.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

import httpx

from deployments.demo import PICTURE
from loadtest import burst_report
from loadtest.emulated import Pool, by_pool, metrics, service
from serving.client import Client, Video

PERIOD_S = 1.0
LIMIT_S = 300.0
ASLEEP_S = 3.0
"""How long all pools must be empty until a scenario is over."""
KINDS: Mapping[str, dict[str, object]] = {
    "256p": {"resolution": "256p", "num_frames": 32, "num_inference_steps": 100},
    "1024p/32": {"preset": "extreme"},
}
Write = Callable[[dict[str, Any]], None]


@dataclass(frozen=True)
class Burst:
    """`jobs` jobs of a kind, submitted at once, `at_s` seconds after the scenario's start."""

    at_s: float
    jobs: int
    kind: str


@dataclass(frozen=True)
class Scenario:
    """Pools, what arrives, and what is promised of it."""

    name: str
    pools: tuple[Pool, ...]
    speed: float
    """Of the emulated cards: chosen so that jobs take seconds, well over what a replica's start takes."""
    bursts: tuple[Burst, ...]
    target_wait_s: float = 15.0
    asleep_until: Mapping[str, float] = field(default_factory=dict)
    """By pool: the second before which none of its cards may be up; infinite: never."""
    wake: tuple[str, ...] = ()
    """Pools of which at least one card must have been up."""
    only_on: Mapping[str, str] = field(default_factory=dict)
    """By kind: the pool that must have done all its jobs."""


NEVER = 1e9
SCENARIOS = (
    Scenario(
        "a burst of 256p",
        (Pool("rtx4090", 3), Pool("a100-80gb", 2)),
        speed=10,
        bursts=(Burst(0, 30, "256p"),),
        asleep_until={"a100-80gb": NEVER},
        wake=("rtx4090",),
        only_on={"256p": "rtx4090"},
    ),
    # An RTX 4090 can hold this shape, by the third memory plan; 12 GB cannot by any.
    Scenario(
        "a burst of 1024p/32",
        (Pool("rtx4060", 3), Pool("a100-80gb", 2)),
        speed=50,
        bursts=(Burst(0, 5, "1024p/32"),),
        asleep_until={"rtx4060": NEVER},
        wake=("a100-80gb",),
        only_on={"1024p/32": "a100-80gb"},
    ),
    # The second burst is more than the small pool does in ten times the target: what is beyond wakes the large one.
    Scenario(
        "mixed, with overflow",
        (Pool("rtx4060", 2), Pool("a100-80gb", 2)),
        speed=50,
        bursts=(Burst(0, 8, "256p"), Burst(30, 60, "256p"), Burst(45, 2, "1024p/32")),
        target_wait_s=8,
        asleep_until={"a100-80gb": 30},
        wake=("rtx4060", "a100-80gb"),
        only_on={"1024p/32": "a100-80gb"},
    ),
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("burst"), help="folder of the results")
    parser.add_argument("--only", choices=[scenario.name for scenario in SCENARIOS])
    parser.add_argument("--report", type=Path, help="folder with an earlier burst.jsonl; nothing is run")
    args = parser.parse_args()
    folder: Path = args.report or args.out
    if args.report is None:
        folder.mkdir(parents=True, exist_ok=True)
        with (folder / "burst.jsonl").open("w") as file:

            def write(row: dict[str, Any]) -> None:
                file.write(json.dumps(row) + "\n")
                file.flush()

            versions = {name: version(name) for name in ("i2v-serve", "ray")}
            write({"row": "machine", "cpus": os.cpu_count(), "python": platform.python_version(), **versions})
            for scenario in SCENARIOS:
                if args.only in (None, scenario.name):
                    run(scenario, write)
    sys.exit(0 if burst_report.report(folder) else 1)


def run(scenario: Scenario, write: Write) -> None:
    """Play one scenario; `write` gets its rows as they come."""
    print(f"{scenario.name}: starting the service", flush=True)
    write({"row": "scenario", **asdict(scenario)})
    settings = {"I2V_TARGET_WAIT_S": str(scenario.target_wait_s), "I2V_SCALE_DOWN_AFTER_S": "8"}
    with (
        service(scenario.pools, scenario.speed, **settings) as url,
        ThreadPoolExecutor(4) as hands,
        Client(url) as client,
        httpx.Client(base_url=url, timeout=30) as http,
    ):
        jobs = _play(scenario, client, http, hands, write)
        print(f"{scenario.name}: {len(jobs)} jobs submitted, every pool sleeps again", flush=True)
        for kind, submitted_s, future in jobs:
            write(_job_row(scenario, kind, submitted_s, client.retrieve(future.result()["id"])))


def _play(
    scenario: Scenario, client: Client, http: httpx.Client, hands: ThreadPoolExecutor, write: Write
) -> list[tuple[str, float, Future[Video]]]:
    """Submit and sample until every job has ended and every pool sleeps."""
    jobs: list[tuple[str, float, Future[Video]]] = []
    coming = list(scenario.bursts)
    began = time.monotonic()
    asleep_since: float | None = None
    while (now := time.monotonic() - began) < LIMIT_S:
        while coming and coming[0].at_s <= now:
            burst = coming.pop(0)
            fields = {"prompt": "the camera pans to the left", **KINDS[burst.kind]}
            jobs += [(burst.kind, now, hands.submit(client.submit, PICTURE, fields)) for _ in range(burst.jobs)]
        replicas = _sample(scenario, now, http, len(jobs), write)
        ended = not coming and all(job.done() and _ended(http) for _, _, job in jobs[-1:])
        asleep_since = None if any(replicas.values()) or not ended else asleep_since or now
        if asleep_since is not None and now - asleep_since >= ASLEEP_S:
            break
        time.sleep(max(0.0, PERIOD_S - (time.monotonic() - began - now)))
    return jobs


def _sample(scenario: Scenario, now: float, http: httpx.Client, jobs: int, write: Write) -> dict[str, float]:
    text = metrics(http)
    names = [pool.card for pool in scenario.pools]
    backlog, replicas = by_pool(text, "i2v_queue_gpu_seconds"), by_pool(text, "i2v_cards")
    up = {name: replicas.get(name, 0.0) for name in names}
    waiting = {name: backlog.get(name, 0.0) for name in names}
    row = {"scenario": scenario.name, "t": round(now, 2), "submitted": jobs, "backlog_s": waiting, "replicas": up}
    write({"row": "sample", **row})
    return up


def _ended(http: httpx.Client) -> bool:
    page = http.get("/v1/videos", params={"limit": 100}).raise_for_status().json()
    return all(video["status"] in ("completed", "failed") for video in page["data"])


def _job_row(scenario: Scenario, kind: str, submitted_s: float, video: Video) -> dict[str, Any]:
    recipe, timings = video["recipe"] or {}, video["timings"] or {}
    return {
        "row": "job",
        "scenario": scenario.name,
        "kind": kind,
        "submitted_s": round(submitted_s, 2),
        "status": video["status"],
        "attempt": video["attempt"],
        "pool": recipe.get("card", "").removeprefix("emulated "),
        "wait_s": timings.get("wait"),
        "card_s": timings.get("denoise"),
    }


if __name__ == "__main__":
    main()
