"""`i2v batch` against the real HTTP application and job store, with a worker that is quick: what it makes of a sheet,
and that no clip is lost or made twice, wherever a run is killed and whichever answers are lost."""

from __future__ import annotations

import asyncio
import csv
import json
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
import stamina
from hands import Api, listening, picture
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner, Result

from serving.batch import running
from serving.batch.manifest import FILE, Entry, Manifest
from serving.batch.sheet import Defaults
from serving.batch.wire import Wire
from serving.batch.work import plan_work
from serving.batch_commands import Run
from serving.cli import app
from serving.client import ApiError
from serving.jobs.job import Job
from serving.publishing import files_of

runner = CliRunner()
WORDS = ["--prompt", "pan left"]
FAULT = {"error": {"message": "It broke.", "type": "server_error", "code": "server_error", "param": None}}


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Nobody waits: what the service says of when to ask again is shown elsewhere."""
    monkeypatch.setattr(running, "POLL_S", (0.01, 0.01))
    stamina.set_testing(True, attempts=100)
    yield
    stamina.set_testing(False)


@pytest.fixture
def roomy(make_api: Callable[..., Api]) -> Api:
    return make_api(max_waiting_jobs=1000)


@contextmanager
def working(api: Api, fail: Callable[[Job], bool] = lambda job: False) -> Iterator[str]:
    """The service's address, where each job is done at once: its clip is its seed, in words."""
    over = threading.Event()

    def work() -> None:
        while not over.is_set():
            job = api.store.claim("default", "builtin", worker="test", lease_s=30)
            if job is None:
                over.wait(0.005)
            elif fail(job):
                api.store.fail(job.id, job.attempt, "generation_failed", "The card said no.")
            else:
                files = files_of(job, job.attempt, "video_")
                for key in files.values():
                    api.outputs.put_bytes(key, clip_of(job.request.seed))
                timings = {"wait": 5.0, "condition": 0.5, "denoise": 1.0, "decode": 0.25, "encode": 3.0}
                recipe = {"parameters": job.request.model_dump()}
                result = {"recipe": recipe, "files": files, "timings": timings}
                assert api.store.complete(job.id, job.attempt, result, None)

    thread = threading.Thread(target=work)
    with listening(api) as server:
        thread.start()
        try:
            yield server
        finally:
            over.set()
            thread.join()


def clip_of(seed: int) -> bytes:
    return f"the clip of {seed}".encode()


def sheet(folder: Path, *rows: dict[str, Any]) -> Path:
    """Those rows as CSV, with a picture for each."""
    folder.mkdir(parents=True, exist_ok=True)
    columns = list(dict.fromkeys(name for row in rows for name in row))
    path = folder / "sheet.csv"
    with path.open("w", newline="") as file:
        table = csv.DictWriter(file, columns)
        table.writeheader()
        table.writerows(rows)
    for number, row in enumerate(rows):
        if "://" not in row["picture"] and not (folder / row["picture"]).exists():
            (folder / row["picture"]).write_bytes(picture(320 + 8 * number))
    return path


def batch(server: str, source: Path, out: Path, *options: str) -> tuple[int, dict[str, Any]]:
    result = run(server, source, out, *options, "--json")
    told: dict[str, Any] = json.loads(result.stdout)
    return result.exit_code, told


def run(server: str, source: Path, out: Path, *options: str) -> Result:
    return runner.invoke(app, ["batch", str(source), "-o", str(out), "--server", server, *options])


def entries(out: Path) -> dict[str, Entry]:
    with Manifest(out) as manifest:
        return manifest.entries


def test_a_sheet_with_its_own_words_for_each_row(roomy: Api, tmp_path: Path) -> None:
    source = sheet(
        tmp_path / "in",
        {"picture": "a.png", "sku": "A/1 red", "prompt": "zoom in", "seed": "7", "meta.shelf": "3"},
        {"picture": "b.png", "title": "Smart Phone X, 256 GB", "category": "electronics", "num_frames": "9"},
        {"picture": "c.png", "format": "gif"},
    )
    out = tmp_path / "clips"
    with working(roomy) as server:
        code, told = batch(server, source, out, *WORDS, "--num-frames", "8", "--price-per-hour", "36")
    assert (code, told["clips"], told["gpu_seconds"]) == (0, {"completed": 3}, 5.2)
    found = entries(out)
    assert list(found) == ["A-1-red", "b", "c"]
    jobs = {job.id: job for job in roomy.store.list()[0]}
    asked = {name: jobs[entry.video_id].request for name, entry in found.items()}  # type: ignore[index]
    assert (asked["A-1-red"].prompt, asked["A-1-red"].seed, asked["A-1-red"].metadata) == ("zoom in", 7, {"shelf": "3"})
    assert asked["b"].prompt.startswith("camera")
    assert "Smart Phone X" in asked["b"].prompt
    assert [(row.num_frames, row.format, row.priority) for row in asked.values()] == [
        (8, "mp4", "batch"),
        (9, "mp4", "batch"),
        (8, "gif", "batch"),
    ]
    for name, suffix in (("A-1-red", "mp4"), ("b", "mp4"), ("c", "gif")):
        assert (out / f"{name}.{suffix}").read_bytes() == clip_of(found[name].seed) == clip_of(asked[name].seed)
        assert found[name].gpu_seconds == 1.75
        assert found[name].recipe is not None
    assert {path.name for path in out.iterdir()} == {
        *("A-1-red.mp4", "A-1-red.jpg", "b.mp4", "b.jpg", "c.gif", "c.jpg", FILE, "index.html")
    }
    page = (out / "index.html").read_text()
    assert "camera" in page
    assert "0.0525 at 36 an hour" in page


def test_longer_clips_by_the_sheet_and_by_the_command(roomy: Api, tmp_path: Path) -> None:
    source = sheet(
        tmp_path / "in",
        {"picture": "a.png", "segments": "3", "loop": "pingpong"},
        {"picture": "b.png", "angles": "pan left, slowly | zoom in"},
        {"picture": "c.png"},
    )
    options = ["--angle", "pan, to the right", "--angle", "tilt up", "--acceleration", "unipc"]
    with working(roomy) as server:
        code, told = batch(server, source, tmp_path / "clips", *WORDS, *options)
    assert (code, told["clips"]) == (0, {"completed": 3})
    jobs = {job.id: job.request for job in roomy.store.list()[0]}
    asked = {name: jobs[entry.video_id] for name, entry in entries(tmp_path / "clips").items()}  # type: ignore[index]
    assert (asked["a"].segments, asked["a"].angles, asked["a"].loop) == (3, (), "pingpong")
    assert (asked["b"].segments, asked["b"].angles) == (1, ("pan left, slowly", "zoom in"))
    assert asked["c"].angles == ("pan, to the right", "tilt up")
    assert {request.acceleration for request in jobs.values()} == {("unipc",)}


def test_a_second_run_asks_for_nothing_and_more_seeds_only_for_the_new_ones(roomy: Api, tmp_path: Path) -> None:
    source = sheet(tmp_path / "in", {"picture": "a.png"}, {"picture": "b.png"})
    with working(roomy) as server:
        assert batch(server, source, tmp_path / "clips", *WORDS)[0] == 0
        first = {job.id for job in roomy.store.list()[0]}
        clips = {path: path.stat().st_mtime_ns for path in (tmp_path / "clips").glob("*.mp4")}
        assert batch(server, source, tmp_path / "clips", *WORDS) == batch(server, source, tmp_path / "clips", *WORDS)
        assert {job.id for job in roomy.store.list()[0]} == first
        # A manifest that was lost costs nothing either.
        assert batch(server, source, tmp_path / "other", *WORDS)[0] == 0
        assert {job.id for job in roomy.store.list()[0]} == first
        code, told = batch(server, source, tmp_path / "clips", *WORDS, "--seeds", "3")
        assert (code, told["clips"]) == (0, {"completed": 6})
    assert len(roomy.store.list()[0]) == 6
    assert {path: path.stat().st_mtime_ns for path in clips} == clips
    assert {path.name for path in (tmp_path / "clips").glob("a*.mp4")} == {"a.mp4", "a~2.mp4", "a~3.mp4"}
    assert len({entry.seed for entry in entries(tmp_path / "clips").values()}) == 6
    (tmp_path / "clips" / "a.mp4").unlink()
    with working(roomy) as server:
        assert batch(server, source, tmp_path / "clips", *WORDS)[0] == 0
    assert (tmp_path / "clips" / "a.mp4").exists()
    assert len(roomy.store.list()[0]) == 6


def test_a_row_that_changed_is_another_clip(roomy: Api, tmp_path: Path) -> None:
    rows = [{"picture": "a.png", "prompt": "pan left"}, {"picture": "b.png", "prompt": "pan left"}]
    with working(roomy) as server:
        assert batch(server, sheet(tmp_path / "in", *rows), tmp_path / "clips")[0] == 0
        rows[1]["prompt"] = "zoom in"
        assert batch(server, sheet(tmp_path / "in", *rows), tmp_path / "clips")[0] == 0
        assert sorted(job.request.prompt for job in roomy.store.list()[0]) == ["pan left", "pan left", "zoom in"]
        # Who waits, and where it is told, is no other clip.
        assert batch(server, tmp_path / "in" / "sheet.csv", tmp_path / "clips", "--priority", "interactive")[0] == 0
    assert len(roomy.store.list()[0]) == 3


def test_bad_rows_are_named_and_nothing_is_submitted(roomy: Api, tmp_path: Path) -> None:
    source = sheet(
        tmp_path / "in",
        {"picture": "a.png", "num_frames": "99"},
        {"picture": "b.png", "category": "spaceships", "title": "Kettle"},
        {"picture": "good.png"},
        {"picture": "cut.png"},
        {"picture": "https://example.com/d.png"},
        {"picture": "good.png"},
    )
    cut = tmp_path / "in" / "cut.png"
    cut.write_bytes(cut.read_bytes()[:-40])
    (tmp_path / "in" / "a.png").rename(tmp_path / "in" / "gone.png")
    source.write_text(source.read_text() + "gone.png,99,,\nnone.png,,,\n")
    with working(roomy) as server:
        code, told = batch(server, source, tmp_path / "clips", *WORDS)
        assert (code, told["clips"]) == (2, {"waiting": 5})
        assert [(row["row"], row["param"]) for row in told["bad_rows"]] == [
            (2, "picture"),
            (3, "category"),
            (5, "input_reference"),
            (6, "input_reference"),
            (7, "name"),
            (8, "num_frames"),
            (9, "picture"),
        ]
        assert roomy.count() == 0
        code, told = batch(server, source, tmp_path / "clips", *WORDS, "--dry-run")
        assert (code, told["clips"], len(told["bad_rows"]), roomy.count()) == (2, 1, 7, 0)
        code, told = batch(server, source, tmp_path / "clips", *WORDS, "--skip-bad")
        assert (code, told["clips"]["completed"], roomy.count()) == (1, 1, 1)
    reasons = {entry.row: entry.error.message for entry in entries(tmp_path / "clips").values() if entry.error}
    assert set(reasons) == {2, 3, 5, 6, 7, 8, 9}
    assert "99 given" in reasons[8]
    page = (tmp_path / "clips" / "index.html").read_text()
    assert all(f"{name}.png" in page or name in page for name in ("none", "cut"))
    assert "allowed: 8 to 32" in page


def test_what_failed_stays_failed_until_it_is_to_be_tried_again(roomy: Api, tmp_path: Path) -> None:
    source = sheet(tmp_path / "in", {"picture": "a.png", "prompt": "pan left"}, {"picture": "b.png", "prompt": "zoom"})
    with working(roomy, fail=lambda job: job.request.prompt == "zoom") as server:
        assert batch(server, source, tmp_path / "clips")[0] == 1
        code, told = batch(server, source, tmp_path / "clips")
        assert (code, told["clips"], roomy.count()) == (1, {"completed": 1, "failed": 1}, 2)
    assert "The card said no." in (tmp_path / "clips" / "index.html").read_text()
    with working(roomy) as server:
        code, told = batch(server, source, tmp_path / "clips", "--retry-failed")
        assert (code, told["clips"], roomy.count()) == (0, {"completed": 2}, 3)
    seeds = [job.request.seed for job in roomy.store.list()[0] if job.request.prompt == "zoom"]
    assert seeds[0] == seeds[1]


def test_a_dry_run_says_what_it_would_cost(roomy: Api, tmp_path: Path) -> None:
    source = sheet(tmp_path / "in", {"picture": "a.png"}, {"picture": "b.png"})
    with working(roomy) as server:
        code, one = batch(server, source, tmp_path / "clips", *WORDS, "--dry-run", "--price-per-hour", "3600")
        _, four = batch(server, source, tmp_path / "clips", *WORDS, "--dry-run", "--seeds", "4")
        _, first = batch(server, source, tmp_path / "clips", *WORDS, "--dry-run", "--limit", "1")
    assert (code, one["clips"], four["clips"], first["clips"]) == (0, 2, 8, 1)
    assert one["cost"] == pytest.approx(one["gpu_seconds"], abs=0.1)
    assert four["gpu_seconds"] == pytest.approx(4 * one["gpu_seconds"], abs=0.3)
    assert one["gpu_seconds"] > 0
    assert roomy.count() == 0
    assert not (tmp_path / "clips").exists()


def test_a_full_queue_is_waited_for(make_api: Callable[..., Api], tmp_path: Path) -> None:
    api = make_api(max_waiting_jobs=1)
    source = sheet(tmp_path / "in", *({"picture": f"{name}.png"} for name in "abcdefgh"))
    with working(api) as server:
        code, told = batch(server, source, tmp_path / "clips", *WORDS)
    assert (code, told["clips"]) == (0, {"completed": 8})


def test_who_says_when_to_come_back_is_obeyed_and_who_says_nothing_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    stamina.set_testing(False)
    slept: list[float] = []
    full = httpx.Response(503, json=FAULT, headers={"retry-after": "7"})
    answers = [httpx.Response(200, json={}), full, full, httpx.Response(200, json={"gpu_seconds": 1})]

    async def sleep(seconds: float) -> None:
        slept.append(seconds)

    async def ask(patience_s: float) -> dict[str, Any]:
        transport = httpx.MockTransport(lambda request: answers.pop(0) if answers else httpx.Response(502))
        async with Wire("http://service", patience_s=patience_s, transport=transport) as wire:
            await wire.quote({})
            return await wire.quote({})

    monkeypatch.setattr(asyncio, "sleep", sleep)
    assert asyncio.run(ask(patience_s=0)) == {"gpu_seconds": 1}
    assert slept == [7.0, 7.0]
    answers.append(httpx.Response(200, json={}))
    with pytest.raises(ApiError, match="answered 502"):
        asyncio.run(ask(patience_s=0))


def test_exit_codes_for_a_service_out_of_reach_and_one_that_lets_nobody_in(roomy: Api, tmp_path: Path) -> None:
    source = sheet(tmp_path / "in", {"picture": "a.png"})
    code, told = batch("http://127.0.0.1:9", source, tmp_path / "clips", *WORDS)
    assert (code, told["error"]["code"]) == (3, "connection_refused")
    roomy.store.keys.create("shop")
    with working(roomy) as server:
        code, told = batch(server, source, tmp_path / "clips", *WORDS)
    assert (code, told["error"]["code"]) == (3, "invalid_api_key")
    assert batch("http://127.0.0.1:many", source, tmp_path / "clips", *WORDS)[0] == 2
    assert batch("http://127.0.0.1:9", source.with_suffix(".xls"), tmp_path / "clips", *WORDS)[0] == 2


def test_one_run_at_a_time(tmp_path: Path) -> None:
    source = sheet(tmp_path / "in", {"picture": "a.png"})
    with Manifest(tmp_path / "clips"):
        code, told = batch("http://127.0.0.1:9", source, tmp_path / "clips", *WORDS)
    assert (code, told["error"]["param"]) == (2, "output")


def test_a_job_that_the_service_has_forgotten_is_a_failure_and_no_new_clip(roomy: Api, tmp_path: Path) -> None:
    source = sheet(tmp_path / "in", {"picture": "a.png"}, {"picture": "b.png"}, {"picture": "c.png"})
    with working(roomy) as server:
        assert batch(server, source, tmp_path / "clips", *WORDS)[0] == 0
        forgotten = entries(tmp_path / "clips")["b"]
        for path in (tmp_path / "clips").glob("*.mp4"):
            path.unlink()
        httpx.delete(f"{server}/v1/videos/{forgotten.video_id}").raise_for_status()
        code, told = batch(server, source, tmp_path / "clips", *WORDS)
    assert (code, told["clips"], roomy.count()) == (1, {"completed": 2, "failed": 1}, 2)
    (error,) = [entry.error for entry in entries(tmp_path / "clips").values() if entry.error is not None]
    assert error.code == "video_not_found"


class Killed(BaseException):
    """The process is gone."""


class Fate:
    """Kills a run at its n-th event, and loses the answers of the numbered requests."""

    def __init__(self, dies_at: int | None, lost: set[int]) -> None:
        self._left = dies_at
        self._lost = lost
        self._requests = 0

    def event(self) -> bool:
        """One more happens; whether the process dies in it. Whoever is dead does nothing more."""
        if self._left is None:
            return False
        self._left -= 1
        if self._left < 0:
            raise Killed
        return self._left == 0

    @property
    def even(self) -> bool:
        return self._requests % 2 == 0

    def loses(self) -> bool:
        self._requests += 1
        return self._requests in self._lost


class Fragile(httpx.AsyncBaseTransport):
    """A connection that can break before a request goes out, and after its answer is under way."""

    def __init__(self, fate: Fate) -> None:
        self._fate = fate
        self._real = httpx.AsyncHTTPTransport()

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        if self._fate.event():
            raise Killed
        response = await self._real.handle_async_request(request)
        await response.aread()
        if self._fate.event():
            raise Killed
        if self._fate.loses():
            if self._fate.even:
                return httpx.Response(500, json=FAULT, request=request)
            raise httpx.ReadError("lost")
        return response

    async def aclose(self) -> None:
        await self._real.aclose()


class TornManifest(Manifest):
    """Dies in the middle of a line."""

    def __init__(self, folder: Path, fate: Fate) -> None:
        super().__init__(folder)
        self._fate = fate

    def note(self, entry: Entry) -> Entry:
        if self._fate.event():
            self._file.write(entry.model_dump_json().encode()[:40])
            self._file.flush()
            raise Killed
        return super().note(entry)


def once(server: str, source: Path, out: Path, seeds: int, fate: Fate) -> str | None:
    """One run up to its end, or to the kill: None."""
    try:
        with TornManifest(out, fate) as manifest:
            defaults = Defaults(prompt="pan left")
            work = plan_work(
                source, defaults, seeds=seeds, limit=None, entries=manifest.entries, folder=out, retry_failed=False
            )
            batch = Run(out, skip_bad=False, price_per_hour=None, in_flight=3)
            wire = Wire(server, transport=Fragile(fate))
            return batch.carry_out(wire, manifest, work)[0].name
    except BaseExceptionGroup as group:
        if group.split(Killed)[0] is None:
            raise
    except Killed:
        pass
    return None


@pytest.fixture
def busy(roomy: Api) -> Iterator[str]:
    with working(roomy) as server:
        yield server


@settings(max_examples=12, suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture])
@given(
    rows=st.integers(1, 4),
    seeds=st.integers(1, 2),
    kills=st.lists(st.integers(1, 40), max_size=4),
    lost=st.sets(st.integers(2, 40), max_size=4),
)
def test_wherever_it_is_killed_and_whatever_is_lost_each_clip_is_made_once(
    roomy: Api,
    busy: str,
    tmp_path_factory: pytest.TempPathFactory,
    rows: int,
    seeds: int,
    kills: list[int],
    lost: set[int],
) -> None:
    folder = tmp_path_factory.mktemp("batch")
    # Other pictures in each example: the same ones would be the same jobs.
    marks = [f"{folder.name}-{number}" for number in range(rows)]
    source = sheet(folder / "in", *({"picture": f"{mark}.png"} for mark in marks))
    before = set(all_jobs(roomy))
    for kill in kills:
        once(busy, source, folder / "clips", seeds, Fate(kill, lost))
    assert once(busy, source, folder / "clips", seeds, Fate(None, lost)) == "DONE"
    made = {id_: seed for id_, seed in all_jobs(roomy).items() if id_ not in before}
    assert len(made) == rows * seeds == len(set(made.values()))
    found = entries(folder / "clips")
    assert Counter(entry.status for entry in found.values()) == {"completed": rows * seeds}
    for entry in found.values():
        assert entry.file is not None
        assert (folder / "clips" / entry.file).read_bytes() == clip_of(made[entry.video_id])  # type: ignore[index]
        assert made[entry.video_id] == entry.seed  # type: ignore[index]


def all_jobs(api: Api) -> dict[str, int]:
    found: dict[str, int] = {}
    after, more = None, True
    while more:
        page, more = api.store.list(after, 100, False)
        found |= {job.id: job.request.seed for job in page}
        after = page[-1].id if page else None
    return found


@pytest.fixture
def interruptible() -> Iterator[None]:
    """A shell has what it starts in the background ignore SIGINT, and the tests' processes inherit that."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("interruptible")
def test_ctrl_c_leaves_the_jobs_and_says_how_to_go_on(roomy: Api, tmp_path: Path) -> None:
    source = sheet(tmp_path / "in", {"picture": "a.png"}, {"picture": "b.png"})
    with listening(roomy) as server:
        interrupting = threading.Thread(target=interrupt_when, args=(tmp_path / "clips" / FILE, 2))
        interrupting.start()
        code, told = batch(server, source, tmp_path / "clips", *WORDS)
        interrupting.join()
    assert (code, told["clips"]) == (130, {"accepted": 2})
    assert "the same command goes on" in told["summary"]
    with working(roomy) as server:
        assert batch(server, source, tmp_path / "clips", *WORDS)[0] == 0
    assert roomy.count() == 2


def interrupt_when(manifest: Path, accepted: int) -> None:
    """As Ctrl-C does, once so many clips are accepted."""
    while not manifest.exists() or manifest.read_text().count('"accepted"') < accepted:
        time.sleep(0.01)
    signal.raise_signal(signal.SIGINT)
