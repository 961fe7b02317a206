"""A trace: what the store knows of its jobs, without whose or what they were; and what plays it again."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest
from typer.testing import CliRunner

from loadtest.__main__ import app as loadtest
from loadtest.trace import read
from loadtest.twin import arrivals
from serving.cli import app as i2v
from serving.jobs.job import NewJob
from serving.jobs.store import JobStore, open_store
from serving.presets import I2VGEN_XL
from serving.request import VideoParameters, resolve
from serving.tracing import FIELDS, trace

SECRET = "a surprise for Anna"


def submit(store: JobStore, owner: str, **fields: object) -> NewJob:
    request = resolve(VideoParameters(prompt=SECRET, **fields), I2VGEN_XL, seed=1)  # type: ignore[arg-type]
    deadline = None if request.deadline_s is None else time.time() + request.deadline_s
    new = NewJob(
        request=request,
        picture_key="pictures/anna.png",
        source_size=(512, 512),
        estimates={"rtx4090": 30.0},
        owner=owner,
        deadline=deadline,
    )
    store.insert(new)
    return new


@pytest.fixture
def exported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A trace of four jobs of two owners, of which the first was done."""
    monkeypatch.setenv("I2V_DATA_DIR", str(tmp_path / "data"))
    (tmp_path / "data").mkdir()
    store = open_store(f"sqlite:///{tmp_path / 'data' / 'jobs.sqlite3'}")
    submit(store, "key_anna", preset="preview")
    submit(store, "key_bert", preset="high", priority="batch")
    submit(store, "key_anna", size="1024x576", deadline=900.0, segments=2)
    submit(store, "key_anna", angles=["from above", "from below"], format="gif")
    job = store.claim("rtx4090", I2VGEN_XL.name, worker="w", lease_s=30)
    assert job is not None
    assert job.request.preset == "preview"
    timings = {"wait": 1.5, "condition": 0.5, "denoise": 20.0, "decode": 1.0, "encode": 3.0}
    store.complete(job.id, job.attempt, {"timings": timings}, None)
    store.close()
    path = tmp_path / "trace.jsonl"
    done = CliRunner().invoke(i2v, ["trace", "export", "-o", str(path), "--json", "--config", str(tmp_path / "none")])
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout) == {"path": str(path), "jobs": 4}
    return path


def test_a_trace_tells_shapes_and_fates_and_nothing_private(exported: Path) -> None:
    text = exported.read_text()
    for word in (SECRET, "anna", "bert", "from above"):
        assert word not in text
    first, *others = map(json.loads, text.splitlines())
    assert first["at"] == 0.0
    assert [row["at"] for row in others] == sorted(row["at"] for row in others)
    assert (first["size"], first["num_frames"], first["num_inference_steps"]) == ("512x512", 8, 30)
    assert (first["wait_s"], first["card_s"], first["pool"], first["outcome"]) == (1.5, 21.5, "rtx4090", "completed")
    assert [row["priority"] for row in others] == ["batch", "interactive", "interactive"]
    assert [row["segments"] for row in others] == [None, 2, 2]
    assert others[1]["deadline"] == 900.0
    owners = [row["owner"] for row in (first, *others)]
    assert owners[0] == owners[2] == owners[3] != owners[1]
    assert set(FIELDS) < set(first)


def test_two_traces_cannot_be_joined_by_their_owners(sqlite_store: JobStore) -> None:
    submit(sqlite_store, "key_anna", preset="preview")
    (one,), (two,) = trace(sqlite_store), trace(sqlite_store)
    assert one["owner"] != two["owner"]


def test_only_the_last_hours(sqlite_store: JobStore) -> None:
    submit(sqlite_store, "", preset="preview")
    assert len(list(trace(sqlite_store, since=time.time() - 60))) == 1
    assert list(trace(sqlite_store, since=time.time() + 60)) == []
    assert list(trace(sqlite_store, until=time.time() - 60)) == []


def test_a_trace_is_a_scenario(exported: Path, tmp_path: Path) -> None:
    found = read(exported)
    assert found.requests == 4
    assert [(a.shape.width, a.shape.num_frames, a.shape.parts) for a in arrivals(found.draw())][2:] == [
        (1024, 16, 2),
        (512, 16, 2),
    ]
    assert [request.kind for request in found.draw()][1] == "768x768/24/80 batch"
    done = CliRunner().invoke(
        loadtest, ["simulate", "--trace", str(exported), "--pool", "a100-80gb=2", "--out", str(tmp_path / "sim")]
    )
    assert done.exit_code == 0, done.output
    assert "512x512/8/30" in done.stdout


@pytest.mark.parametrize("text", ["", "{}\n", "not json\n", '{"at": 0, "owner": "a"}\n'])
def test_what_is_no_trace_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "odd.jsonl"
    path.write_text(text)
    with pytest.raises(ValueError, match="trace: "):
        read(path)


def test_a_scenario_or_a_trace_but_not_both(exported: Path) -> None:
    for given in ([], ["--scenario", "mix", "--trace", str(exported)]):
        done = CliRunner().invoke(loadtest, ["simulate", "--pool", "a100-80gb=2", *given])
        assert done.exit_code == 2
        assert "one of the two" in done.stderr
