"""Open-loop load against the whole HTTP application over a real server, with cards that finish at once."""

from __future__ import annotations

import asyncio
import errno
import itertools
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from subprocess import PIPE, STDOUT

import pytest
from hands import Api, finishing, listening, picture, wait_for
from typer.testing import CliRunner

from loadtest import hammer
from loadtest.__main__ import app
from loadtest.knee import trial
from loadtest.measured import measure
from loadtest.openloop import Player, Progress
from loadtest.plan import promise
from loadtest.recording import record
from loadtest.rows import Recorded, Row, read
from loadtest.scenarios import Request, Scenario, Stream
from loadtest.server import Server, Target
from loadtest.soak import Sample, growth, memory
from serving.jobs.job import JobStatus

SMALL = {"resolution": "256p", "num_frames": 8, "num_inference_steps": 4}


@pytest.fixture
def still(tmp_path: Path) -> Path:
    path = tmp_path / "still.png"
    path.write_bytes(picture())
    return path


def every(seconds: float, count: int, **fields: str | int | float) -> list[Request]:
    return [Request(n * seconds, "small", "somebody", {**SMALL, **fields}) for n in range(count)]


def test_every_request_is_written_down_with_its_phases(api: Api, still: Path, tmp_path: Path) -> None:
    with listening(api) as url, finishing(api):
        record(tmp_path / "run", Target(url, still), every(0.1, 6), {"scenario": "six"}, patience_s=120)
    run = read(tmp_path / "run")
    assert [row.outcome for row in run.rows] == ["completed"] * 6
    for row in run.rows:
        assert row.at == pytest.approx(0.1 * row.number)
        assert row.at <= row.sent <= row.accepted <= row.began <= row.done <= row.downloaded  # type: ignore[operator]
        assert row.bytes > 1000
        # The phases hold the whole, and besides the answer's way back and the card's second, which nobody spent.
        beyond_s = row.answered - row.accepted + row.card_s  # type: ignore[operator]
        assert -0.01 < sum(row.phases.values()) - row.whole_s < beyond_s + 0.01  # type: ignore[operator]
    found = measure(run, [promise("p95=30s")])
    assert found.counts == {"completed": 6, "failed": 0, "refused": 0, "unfinished": 0}
    assert found.kept[0].kept
    assert set(found.phases["small"]) == {"submit", "queue", "generation", "encode", "rest", "download", "whole"}


def test_refusals_are_counted_by_reason_and_break_promises(api: Api, still: Path, tmp_path: Path) -> None:
    """Five may wait here, no card takes any, and two requests are nonsense."""
    asked = [*every(0.02, 7), *(Request(0.2, "odd", "", {"num_frames": 999}) for _ in range(2))]
    never = Request(3600.0, "never", "", SMALL)

    def all_answered(progress: Progress) -> bool:
        return progress.accepted + progress.refused == len(asked)

    with listening(api) as url:
        run = record(tmp_path / "run", Target(url, still), [*asked, never], {"scenario": "full"}, all_answered)
        assert api.count() == 0  # what was left unfinished is deleted
    found = measure(run, [promise("p95=30s")])
    assert found.counts == {"completed": 0, "failed": 0, "refused": 4, "unfinished": 5}
    assert found.refusals == {"server_overloaded": 2, "invalid_parameter": 2}
    assert (found.kept[0].asked, found.kept[0].good, found.kept[0].kept) == (9, 0, False)


def test_a_peer_gets_the_standards_fields_alone(api: Api, still: Path, tmp_path: Path) -> None:
    target = Target("", still, standard=True, extra={"seconds": "2", "size": "256x256"})
    with listening(api) as url, finishing(api):
        asked = [Request(0.0, "preview", "", {"preset": "preview", "priority": "batch"})]
        run = record(tmp_path / "run", Target(url, still, (), True, target.extra), asked, {}, patience_s=120)
    assert [row.outcome for row in run.rows] == ["completed"]
    (job,) = api.store.list()[0]
    assert (job.request.size, job.request.preset, job.request.priority) == ("256x256", None, "interactive")


SENT, ANSWERED = 40, 10


class Stalling(BaseHTTPRequestHandler):
    """Answers so many at once, and the others when all of them have come."""

    came: Iterator[int]
    all_came: threading.Event
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["content-length"]))
        number = next(self.came)
        if number == SENT:
            self.all_came.set()
        if number > ANSWERED:
            self.all_came.wait(60)
            self.all_came.set()  # one that waits for answers waits once
        self.answer(b'{"id": "video_%d", "status": "completed"}' % number)

    def do_GET(self) -> None:
        self.answer(b"clip")

    def answer(self, body: bytes) -> None:
        self.send_response(200)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def stalling() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Stalling) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        Stalling.came, Stalling.all_came = itertools.count(1), threading.Event()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()
        thread.join()


def test_a_server_that_stalls_does_not_get_fewer_requests_nor_better_figures(still: Path, tmp_path: Path) -> None:
    with stalling() as url:
        run = record(tmp_path / "run", Target(url, still), every(0.05, SENT), {}, patience_s=120)
    last = max(row.sent for row in run.rows)
    in_stall = [row for row in run.rows if int(row.id.removeprefix("video_")) > ANSWERED]
    assert len(in_stall) == SENT - ANSWERED
    # All were sent while nobody was answered; and who was due in the stall waited until its end.
    for row in in_stall:
        assert row.whole_s is not None
        assert row.answered is not None
        assert row.sent <= last <= row.answered <= row.at + row.whole_s
    phases = measure(run).phases["all"]
    assert phases["whole"].p90 > 0.05 * (SENT - ANSWERED) * 0.8
    assert phases["whole"].count == SENT


def test_a_sender_that_sees_enough_stops_and_leaves_nothing(
    make_api: Callable[..., Api], still: Path, tmp_path: Path
) -> None:
    api = make_api(max_waiting_jobs=1000)

    def enough(progress: Progress) -> bool:
        return progress.open >= 3

    with listening(api) as url:
        run = record(tmp_path / "run", Target(url, still), every(0.1, 600), {}, enough)
        assert api.count() == 0
    assert 3 <= len(run.rows) < 600


def test_more_than_a_queue_takes_is_named_as_what_gave(api: Api, still: Path, tmp_path: Path) -> None:
    calm = Scenario("calm", "", (Stream("small", SMALL, [(0.0, 1.0), (10.0, 1.0)]),))
    with listening(api) as url:
        tried = trial(tmp_path / "1", Target(url, still), calm, 30.0, 1.0, [promise("p95=2s")], lambda progress: False)
    assert not tried.held
    assert tried.limits[0].name == "refusals"
    assert "server_overloaded" in tried.limits[0].detail


def test_rows_that_cannot_be_written_end_the_run_and_leave_nothing(
    make_api: Callable[..., Api], still: Path, tmp_path: Path
) -> None:
    """The first row is of what is refused; the others wait by then."""
    api = make_api(max_waiting_jobs=1000)
    asked = [*every(0.0, 3), Request(0.5, "odd", "", {"num_frames": 999}), Request(3600.0, "never", "", SMALL)]

    def full(row: Row) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    async def play(url: str) -> None:
        async with Server(Target(url, still)) as server:
            await Player(server, full).play(asked)

    with listening(api) as url:
        with pytest.raises(OSError, match="No space left"):
            asyncio.run(play(url))
        assert api.count() == 0
    (tmp_path / "requests.jsonl").symlink_to("/dev/full")
    with pytest.raises(OSError, match="No space left"):
        record(tmp_path, Target("http://127.0.0.1:1", still), asked, {})


def test_ctrl_c_leaves_rows_and_a_report(make_api: Callable[..., Api], still: Path, tmp_path: Path) -> None:
    api, folder = make_api(max_waiting_jobs=1000), tmp_path / "run"

    def interrupt() -> None:
        wait_for(lambda: api.count() >= 2)
        signal.raise_signal(signal.SIGINT)

    with listening(api) as url:
        pressing = threading.Thread(target=interrupt)
        pressing.start()
        common = ["run", "--url", f"{url}/v1", "--scenario", "mix", "--times", "30", "--picture", str(still)]
        done = CliRunner().invoke(app, [*common, "--standard", "--set", "size=256x256", "-o", str(folder)])
        pressing.join()
        assert api.count() == 0
        assert (done.exit_code, "interrupted" in done.stderr) == (130, True), done.output
        assert len(read(folder).rows) >= 2
        assert "Broken off" in (folder / "report.html").read_text()
        # Nobody's rows are written over.
        again = CliRunner().invoke(app, [*common, "-o", str(folder)])
        assert (again.exit_code, "holds a run already" in again.stderr) == (2, True)


@pytest.mark.parametrize(
    ("argv", "told"),
    [
        (["run", "--url", "http://127.0.0.1:9", "--scenario", "mix"], "cannot be reached"),
        (["run", "--url", "localhost:8000", "--scenario", "mix"], "http:// or https://"),
        (["run", "--url", "http://127.0.0.1:9", "--scenario", "mix", "--from-hour", "99"], "asks for nothing"),
        (
            ["run", "--url", "http://127.0.0.1:9", "--scenario", "mix", "--slo", "256:p95=1s"],
            "'256' given",
        ),
        (["plan", "--scenario", "sale", "--slo", "preveiw:p95=1s"], "'preveiw' given; allowed: batch standard"),
        (["plan", "--scenario", "sale", "--slo", "p95=1s", "--price", "h100=cheap"], "such as rtx4090=0.35"),
        (["plan", "--scenario", "sale", "--slo", "p95=1s", "-o", "/proc/plan"], "cannot be written"),
        (["simulate", "--scenario", "sale", "--pool", "rtx4090"], "such as rtx4090=0-12"),
        (["simulate", "--scenario", "sale", "--pool", "h100=1", "--pool", "h100=2"], "h100 given twice"),
        (["knee", "--slo", "p95=1s", "--hold", "10"], "too few to judge by"),
    ],
)
def test_what_cannot_be_done_is_said_before_anything_is(
    argv: list[str], told: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    done = CliRunner().invoke(app, argv)
    assert (done.exit_code, told in " ".join(done.stderr.split())) == (2, True), done.output
    assert list(tmp_path.iterdir()) == []


def test_run_report_and_comparison(api: Api, still: Path, tmp_path: Path) -> None:
    folders = [tmp_path / "one", tmp_path / "two"]
    with listening(api) as url, finishing(api):
        for folder in folders:
            common = ["run", "--url", url, "--scenario", "mix", "--times", "30", "--minutes", "0.02", "--no-download"]
            small = ["--set", "size=256x256", "--set", "seconds=1", "--standard", "--picture", str(still)]
            done = CliRunner().invoke(app, [*common, *small, "--slo", "p50=30s", "-o", str(folder)])
            assert done.exit_code == 0, done.output
    again = CliRunner().invoke(app, ["report", str(folders[0]), "--slo", "p99=0.001s"])
    assert again.exit_code == 1
    assert (folders[0] / "report.png").read_bytes().startswith(b"\x89PNG")
    assert "data:image/png;base64," in (folders[0] / "report.html").read_text()
    both = CliRunner().invoke(app, ["compare", *map(str, folders), "-o", str(tmp_path / "both")])
    assert both.exit_code == 0, both.output
    assert "A one" in both.stdout
    assert "B two" in both.stdout
    # By the promise that both were made with; the same requests were sent to both.
    assert "interactive latency p50 within 30 s" in both.stdout
    assert "NOT the same" not in both.stdout
    assert (tmp_path / "both" / "report.html").is_file()


def test_locust_plays_the_same_scenario(api: Api) -> None:
    command = [sys.executable, "-m", "locust", "-f", "loadtest/locustfile.py", "--headless", "--users", "1"]
    options = ["--scenario", "mix", "--times", "30", "--standard", "--stop-timeout", "1", "--only-summary"]
    with listening(api) as url, finishing(api):
        played = subprocess.Popen([*command, *options, "--host", url], stdout=PIPE, stderr=STDOUT, text=True)
        try:
            # The summary is of what it has seen: enough, once it has come back for one more.
            wait_for(lambda: sum(job.status is JobStatus.COMPLETED for job in api.store.list()[0]) >= 8)
        finally:
            played.terminate()
            told = played.communicate(timeout=120)[0]
    assert re.search(r"^video +256p +\d+ +0\(0.00%\)", told, re.MULTILINE), told


def test_reads_on_open_connections_are_counted_and_leave_memory_flat(api: Api) -> None:
    """What `loadtest soak` does for hours, in short and within this process."""
    path = f"/v1/videos/{api.submit(**SMALL)['id']}"
    import psutil

    samples: list[Sample] = []
    with listening(api) as url:
        asyncio.run(hammer.rate(url, path, 1.0, connections=4))
        for moment in range(8):
            assert asyncio.run(hammer.rate(url, path, 0.25, connections=4)) > 0
            samples.append((moment + 0.5, memory([psutil.Process()])))
        with pytest.raises(ValueError, match="not always answered with 200"):
            asyncio.run(hammer.rate(url, "/v1/videos/video_0", 0.1, connections=1))
    (grown,) = growth(samples, 8.0)
    assert grown.flat, grown


def test_memory_is_of_what_stays() -> None:
    samples: list[Sample] = [(float(at), {"Ingress": 200.0}) for at in range(80)]
    samples[45] = (45.0, {"Ingress": 200.0, "ffmpeg": 6.0})
    samples[75] = (75.0, {"Ingress": 200.0, "ffmpeg": 60.0})
    assert [(grown.kind, grown.flat) for grown in growth(samples, 80.0)] == [("Ingress", True)]
    leak: list[Sample] = [(at, {"Ingress": 200.0 + at}) for at, _ in samples]
    assert [(grown.kind, grown.flat) for grown in growth(leak, 80.0)] == [("Ingress", False)]


def test_no_run_no_report(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="holds no requests"):
        read(tmp_path)
    with pytest.raises(ValueError, match="no request"):
        measure(Recorded({}, ()))
