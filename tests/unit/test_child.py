"""A child that is no service: what is said of one that does not start, and that none is left."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from deployments import child
from deployments.child import ChildService
from serving.client import ApiError

STUBBORN = """
import http.server, os, signal, subprocess, sys
signal.signal(signal.SIGINT, signal.SIG_IGN)
signal.signal(signal.SIGTERM, lambda *_: sys.exit(7))
class Ready(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
http.server.HTTPServer(("127.0.0.1", int(os.environ["I2V_PORT"])), Ready).serve_forever()
"""

OBEDIENT = STUBBORN.replace("signal.SIG_IGN", "signal.default_int_handler").replace("subprocess.Popen", "str")
PARENT = """
import asyncio, sys, time
from pathlib import Path
from deployments.child import ChildService
one, other = (ChildService(Path(folder)) for folder in sys.argv[2:4])
pids = lambda: print(*(process.pid for service in (one, other) for process in service.processes()), flush=True)
async def wait():
    pids()
    await asyncio.sleep(600)
with one.running(sys.executable, "-c", sys.argv[1]), other.running(sys.executable, "-c", sys.argv[1]):
    asyncio.run(wait()) if sys.argv[4] == "loop" else (pids(), time.sleep(600))
"""


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(child, "STOP_LIMIT_S", 0.5)
    monkeypatch.setattr(child, "LEFT_S", 0.5)


def test_one_that_does_not_start_says_why(tmp_path: Path) -> None:
    service = ChildService(tmp_path, I2V_MODEL="unheard-of")
    with pytest.raises(ApiError, match="no unheard-of here") as refused:
        service.start(sys.executable, "-c", "import os; exit(f\"no {os.environ['I2V_MODEL']} here\")")
    assert refused.value.code == "not_started"
    assert service.stop() is None


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_what_does_not_stop_is_killed_and_leaves_no_process(tmp_path: Path, number: signal.Signals) -> None:
    """It ignores the one, and leaves a process of its own after the other."""
    service = ChildService(tmp_path)
    service.start(sys.executable, "-c", STUBBORN)
    processes = service.processes()
    assert len(processes) == 2
    assert service.stop(number) is None
    assert psutil.wait_procs(processes, timeout=60)[1] == []


@pytest.mark.parametrize(("number", "where"), [(signal.SIGINT, "loop"), (signal.SIGTERM, "call")])
def test_a_signal_to_the_parent_stops_all_in_one_line(tmp_path: Path, number: signal.Signals, where: str) -> None:
    folders = [tmp_path / "one", tmp_path / "other"]
    for folder in folders:
        folder.mkdir()
    command = [sys.executable, "-c", PARENT, OBEDIENT, *map(str, folders), where]
    environment = os.environ | {"PYTHONPATH": str(child.ROOT)}
    pipe = subprocess.PIPE
    parent = subprocess.Popen(command, env=environment, stdout=pipe, stderr=pipe, text=True)
    try:
        assert parent.stdout is not None
        started = [psutil.Process(int(pid)) for pid in parent.stdout.readline().split()]
        assert len(started) == 2
        parent.send_signal(number)
        _, said = parent.communicate(timeout=120)
    finally:
        parent.kill()
    assert (parent.returncode, said) == (128 + number, f"{number.name}: stopping\n")
    assert not any(process.is_running() for process in started)
