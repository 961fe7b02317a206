"""A service of its own in a child process: on a free port, in a folder, stopped when its parent is done with it."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

from serving.client import ApiError, Client

START_LIMIT_S = 120.0


class ChildService:
    """`i2v serve` on this machine's loopback address, with no other settings than those given."""

    def __init__(self, folder: Path, **environment: str) -> None:
        """`environment` is set for the child; of the parent's own, `I2V_*` is not."""
        port = _free_port()
        self.url = f"http://127.0.0.1:{port}"
        self._log = folder / "serve.log"
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("I2V_")}
        inherited |= {"I2V_PORT": str(port), "I2V_HOST": "127.0.0.1", "I2V_DATA_DIR": str(folder / "data")}
        inherited |= {"I2V_OUTPUT_DIR": str(folder / "outputs")}
        command = [sys.executable, "-m", "deployments", "serve", "--config", str(folder / "none.yaml")]
        with self._log.open("w") as log:
            # A session of its own: Ctrl-C reaches the parent alone, which then stops the service in order.
            self._process = subprocess.Popen(
                command, env=inherited | environment, stdout=log, stderr=subprocess.STDOUT, start_new_session=True
            )

    def wait_until_ready(self) -> None:
        """Raises ApiError with the child's output where it does not start."""
        deadline = time.monotonic() + START_LIMIT_S
        with Client(self.url) as client:
            while not client.ready():
                if self._process.poll() is not None or time.monotonic() > deadline:
                    raise ApiError(f"The service did not start:\n{self._log.read_text()}", code="not_started")
                time.sleep(0.2)

    def stop(self) -> None:
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGINT)
            try:
                self._process.wait(60)
            except subprocess.TimeoutExpired:
                os.killpg(self._process.pid, signal.SIGKILL)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port
