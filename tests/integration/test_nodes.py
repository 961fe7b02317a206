"""Ray nodes with different labels, PostgreSQL and an S3 server: nodes die and leave in mid-job; every job completes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from harness import PICTURE, wait_for
from ray_nodes import RayNodes

from serving.client import Client
from serving.clip import probe
from serving.jobs.job import Job, JobStatus
from serving.jobs.store import JobStore, open_store
from serving.storage import S3Storage

LEASE_S = 5
STEPS = (8, 8, 8, 4)
# The generator's graceful_shutdown_timeout_s: with no time beyond it, Serve does not wait for a replacement first.
GENERATOR_S = 900


@pytest.fixture
def nodes(tmp_path: Path, postgres_url: str, s3_url: str) -> Iterator[RayNodes]:
    # The bucket's variables are in os.environ already.
    running = RayNodes(tmp_path, I2V_DATABASE_URL=postgres_url, I2V_STORAGE_URL=s3_url, I2V_LEASE_S=str(LEASE_S))
    try:
        yield running
    finally:
        running.stop()


@pytest.fixture
def jobs(postgres_url: str) -> Iterator[JobStore]:
    with closing(open_store(postgres_url)) as opened:
        yield opened


def test_one_node_dies_and_one_leaves_in_mid_job(nodes: RayNodes, jobs: JobStore, s3_url: str, tmp_path: Path) -> None:
    nodes.add("big")
    doomed, leaving = nodes.add("small"), nodes.add("middle")
    pools = [{"name": name, "card": "cpu", "label": {"gpu-class": name}} for name in ("big", "small", "middle")]
    url = nodes.serve({"model": "builtin", "cpu_threads": 1, "pools": pools})

    def denoised_by(pool: str) -> Job | None:
        held = [job for job in map(jobs.get, ids) if job.status is JobStatus.IN_PROGRESS]
        found = [job for job in held if f"/{pool}/" in (job.worker or "")]
        return found[0] if found and 0 < found[0].step < found[0].request.num_inference_steps else None

    with Client(url) as client:
        wait_for(lambda: len(jobs.workers("generator")) == len(pools), 60, nodes.console)
        # Every pool serves the model: whichever card is free takes the next job.
        asked = [{"prompt": "pan left", "num_inference_steps": steps, "seed": steps} for steps in STEPS]
        ids = [client.submit(PICTURE, fields)["id"] for fields in asked]
        in_hand = wait_for(lambda: all(now := [denoised_by(pool["name"]) for pool in pools]) and now, 60, nodes.console)
        _, struck, finishing = in_hand

        killed = doomed.kill()
        assert any("Generator-small" in title for title in killed)
        assert not any("Generator-big" in title or "Generator-middle" in title for title in killed)
        nodes.drain(leaving, GENERATOR_S)
        wait_for(lambda: not leaving.alive(), 90, nodes.console)
        finished = jobs.get(finishing.id)
        assert (finished.status, finished.attempt) == (JobStatus.COMPLETED, 1)

        wait_for(lambda: all(jobs.get(job).status.ended for job in ids), 120, nodes.console)
        ended = [jobs.get(job) for job in ids]
        assert [(job.status, job.error_message) for job in ended] == [(JobStatus.COMPLETED, None)] * len(ids)
        assert jobs.get(struck.id).attempt == 2

        # One clip each. An encoder that died with the node may have left a file that no job names.
        stored = [entry.key.removeprefix("outputs/") for entry in S3Storage(s3_url).entries("outputs")]
        named = [key for job in ended for key in (job.result or {})["files"].values()]
        assert len(set(named)) == 4 * len(ids)  # clip, poster, sprite sheet, recipe
        assert set(named) <= set(stored)
        assert any("Encoder" in title for title in killed) or set(named) == set(stored)
        wait_for(client.ready, 60, nodes.console)
        for job in ended:
            clip = tmp_path / f"{job.id}.mp4"
            client.download(job.id, clip)
            assert probe(clip).frames == job.request.num_frames
