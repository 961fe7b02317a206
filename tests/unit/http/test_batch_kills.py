"""No clip of `i2v batch` is lost or made twice, wherever a run is killed and whichever answers are lost."""

from __future__ import annotations

import signal
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from batch_hands import FAULT, WORDS, batch, clip_of, entries, sheet, working
from hands import Api, listening
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from serving.batch.manifest import FILE, Entry, Manifest
from serving.batch.sheet import Defaults
from serving.batch.wire import Wire
from serving.batch.work import plan_work
from serving.batch_commands import Run

pytestmark = pytest.mark.usefixtures("quick")


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


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
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
