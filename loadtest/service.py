"""A real service to be watched, killed and stopped: `i2v serve` in a process of its own, on a free port.

It has a folder of its own, with its data, clips and logs, and knows of no process but its own.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil

from serving import fault_points
from serving.client import Client

START_S = 120.0
ROOT = Path(__file__).parents[1]
PICTURE = ROOT / "serving" / "assets" / "demo.jpg"


class Service:
    """Starts, watches, kills and stops one service; a second `start` uses the same folder."""

    def __init__(self, folder: Path, **environment: str) -> None:
        self.folder = folder
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.outputs = folder / "outputs"
        clean = {name: value for name, value in os.environ.items() if not name.startswith("I2V_")}
        self.environment = clean | {"I2V_PORT": str(self.port), "I2V_MODEL": "builtin"} | environment
        self.environment["PYTHONPATH"] = os.pathsep.join((str(ROOT), *filter(None, [clean.get("PYTHONPATH")])))
        self._faults = folder / "faults"
        self._faults.mkdir(exist_ok=True)
        self.environment |= {fault_points.FOLDER: str(self._faults)}
        self._process: subprocess.Popen[bytes] | None = None

    def start(self, *command: str) -> None:
        """Start `i2v serve`, or `command`, and wait until it can take work."""
        argv = command or (sys.executable, "-m", "deployments", "serve", "--config", "none.yaml")
        with (self.folder / "console.log").open("ab") as log:
            self._process = subprocess.Popen(
                argv, cwd=self.folder, env=self.environment, stdout=log, stderr=log, start_new_session=True
            )
        with Client(self.url) as client:
            try:
                wait_for(lambda: self._process.poll() is not None or client.ready(), START_S, self.console)
                assert self._process.poll() is None, self.console()
            except AssertionError:
                self.kill_everything()
                raise

    def console(self) -> str:
        return (self.folder / "console.log").read_text()

    def log(self) -> str:
        """The log of its starts."""
        return "".join(path.read_text() for path in sorted((self.folder / "logs").glob("app_*.log")))

    def arm(self, point: str, fault: str) -> None:
        """Have the first process that reaches this point of the code "kill" itself, or "hang"."""
        (self._faults / f"{point}.new").write_text(fault)
        (self._faults / f"{point}.new").rename(self._faults / point)

    def fault_taken(self, point: str) -> bool:
        return not (self._faults / point).exists()

    def processes(self) -> list[psutil.Process]:
        """Every live process of this start, the command itself first."""
        assert self._process is not None
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
        assert self._process is not None
        self._process.wait(30)

    def stop(self, number: signal.Signals = signal.SIGINT) -> int:
        """Ask it to stop, as Ctrl-C does; its exit code. No process may be left."""
        assert self._process is not None
        processes = self.processes()
        self._process.send_signal(number)
        code = self._process.wait(60)
        _, alive = psutil.wait_procs(processes, timeout=10)
        for process in alive:
            process.kill()
        assert [process.name() for process in alive] == []
        return code


def _title(process: psutil.Process) -> str:
    try:
        return " ".join(process.cmdline())
    except psutil.Error:  # it has just ended
        return ""


def wait_for(condition: Callable[[], Any], seconds: float, explain: Callable[[], object] = lambda: "") -> Any:
    """What `condition` gives once it is true; fails with `explain` after `seconds`."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if found := condition():
            return found
        time.sleep(0.1)
    raise AssertionError(f"not within {seconds} s: {explain()}")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
