"""A service of its own in a child process: on a free port, in a folder; started, watched, killed and stopped."""

from __future__ import annotations

import logging
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

import psutil

from serving.client import ApiError, Client
from serving.presets import BUILTIN

START_LIMIT_S = 240.0
STOP_LIMIT_S = 60.0
LEFT_S = 10.0
"""How long its processes may outlive the command that started them."""
ROOT = Path(__file__).parents[1]
ENDS = (signal.SIGINT, signal.SIGTERM)


class ChildService:
    """`i2v serve` on this machine's loopback address, with no other settings than those given.

    Its data, clips and logs lie in the folder, which a second `start` uses again. Processes that it does not own it
    never touches.
    """

    def __init__(self, folder: Path, **environment: str) -> None:
        """`environment` is set for the child; of the parent's own, `I2V_*` is not. The model is the built-in one, and
        there is no page."""
        self.folder = folder
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.outputs = folder / "outputs"
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("I2V_")}
        paths = (str(ROOT), *filter(None, [inherited.get("PYTHONPATH")]))
        own = {"I2V_HOST": "127.0.0.1", "I2V_PORT": str(self.port), "I2V_MODEL": BUILTIN, "I2V_PAGE": "0"}
        self.environment = inherited | {"PYTHONPATH": os.pathsep.join(paths)} | own | environment
        self._console = folder / "console.log"
        self._process: subprocess.Popen[bytes] | None = None

    @contextmanager
    def running(self, *command: str) -> Iterator[None]:
        """Started, as by `start`, and stopped at the end of the block, which SIGINT and SIGTERM end too.

        They end this process as well, with one line; but not before all that it has started so is stopped.
        """
        with _ended_by_signals():
            try:
                self.start(*command)
                yield
            finally:
                with _signals(signal.SIG_IGN):
                    self.stop()

    def start(self, *command: str) -> None:
        """Start `i2v serve`, or `command`, and wait until it can take work.

        Raises:
            ApiError: it did not start; with what it wrote, and no process left.
        """
        argv = command or (sys.executable, "-m", "deployments", "serve", "--config", "none.yaml")
        with self._console.open("ab") as console:
            # A session of its own: Ctrl-C reaches the parent alone, which then stops the service in order.
            self._process = subprocess.Popen(
                argv, cwd=self.folder, env=self.environment, stdout=console, stderr=console, start_new_session=True
            )
        deadline = time.monotonic() + START_LIMIT_S
        with Client(self.url) as client:
            while not client.ready():
                if self._process.poll() is not None or time.monotonic() > deadline:
                    self.kill_everything()
                    raise ApiError(f"The service did not start:\n{self.console()}", code="not_started")
                time.sleep(0.25)

    def console(self) -> str:
        """All that its starts wrote."""
        return self._console.read_text()

    def processes(self) -> list[psutil.Process]:
        """Every live process of this start, the command itself first."""
        if self._process is None:
            return []
        try:
            root = psutil.Process(self._process.pid)
            return [root, *root.children(recursive=True)]
        except psutil.NoSuchProcess:
            return []

    def replicas(self, deployment: str) -> list[psutil.Process]:
        """The live processes of the deployment's replicas."""
        return self.actors(f"ServeReplica:i2v:{deployment}")

    def actors(self, name: str) -> list[psutil.Process]:
        """The live processes of Ray actors whose names begin so."""
        return [process for process in self.processes() if _title(process).startswith(f"ray::{name}")]

    def kill_everything(self) -> None:
        """SIGKILL to every process at once, as a power cut would."""
        processes = self.processes()
        for process in processes:
            process.suspend()
        for process in processes:
            process.kill()
        if self._process is not None:
            self._process.wait(30)

    def stop(self, number: signal.Signals = signal.SIGINT) -> int | None:
        """Ask it to stop, as Ctrl-C does; its exit code, or None where it or a process of its own had to be killed."""
        if self._process is None or self._process.poll() is not None:
            return None
        processes = self.processes()
        self._process.send_signal(number)
        try:
            code = self._process.wait(STOP_LIMIT_S)
        except subprocess.TimeoutExpired:
            self.kill_everything()
            return None
        _, left = psutil.wait_procs(processes, timeout=LEFT_S)
        for process in left:
            process.kill()
        return None if left else code


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def _ended_by_signals() -> Iterator[None]:
    """The outermost block counts: within another there is nothing to do, and in other threads than the first."""
    if threading.current_thread() is not threading.main_thread() or signal.getsignal(signal.SIGTERM) is _end:
        yield
        return
    with _signals(_end):
        yield


@contextmanager
def _signals(handler: Any) -> Iterator[None]:
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.signal(number, handler) for number in ENDS}
    try:
        yield
    finally:
        for number, one in before.items():
            signal.signal(number, one)


def _end(number: int, _frame: FrameType | None) -> None:
    for one in ENDS:
        signal.signal(one, signal.SIG_IGN)
    # Of tasks that are broken off by this there is nothing to be told.
    logging.getLogger("asyncio").setLevel(logging.CRITICAL)
    print(f"{signal.Signals(number).name}: stopping", file=sys.stderr, flush=True)
    # Not an exception of our own: these alone pass through event loops.
    raise SystemExit(128 + number)


def _title(process: psutil.Process) -> str:
    try:
        return " ".join(process.cmdline())
    except psutil.Error:  # it has just ended
        return ""
