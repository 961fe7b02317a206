"""`i2v demo`: a service of its own, one clip through it, and its end."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from rich.table import Table

import serving
from serving.cli import AsJson, err, fail, generate_at, out
from serving.client import ApiError, Client
from serving.presets import BUILTIN

PICTURE = Path(serving.__file__).parent / "assets" / "demo.jpg"
PROMPT = "A blue ceramic mug and two lemons on a wooden table, the camera pans to the left, soft light"
START_LIMIT_S = 120.0


def demo(as_json: AsJson = False) -> None:
    """Start a service with embedded defaults, animate a picture that ships with the project, stop everything."""
    began = time.perf_counter()
    with tempfile.TemporaryDirectory(prefix="i2v-demo-") as folder:
        server = _Server(Path(folder))
        try:
            server.wait_until_ready()
            started = time.perf_counter()
            err.print(f"[green]service ready[/] after {started - began:.1f} s at {server.url}")
            with Client(server.url) as client:
                name = time.strftime("demo_%Y%m%d_%H%M%S.mp4")
                video = generate_at(client, PICTURE, {"prompt": PROMPT, "seed": 1}, Path("outputs") / name)
            finished = time.perf_counter()
        except ApiError as error:
            raise fail(str(error), code=error.code, param=error.param, as_json=as_json) from None
        finally:
            server.stop()
    stages = {"start": started - began, "request": finished - started, "stop": time.perf_counter() - finished}
    if as_json:
        out.print_json(json.dumps({"path": video["path"], "stages_s": stages, "video": video}))
        return
    out.print(_table(video, stages))
    out.print(f"clip: {Path(video['path']).absolute()}", soft_wrap=True, highlight=False, markup=False)


class _Server:
    """`i2v serve` in a process of its own, on a free port, with the built-in model."""

    def __init__(self, folder: Path) -> None:
        port = _free_port()
        self.url = f"http://127.0.0.1:{port}"
        self._log = folder / "serve.log"
        environment = {name: value for name, value in os.environ.items() if not name.startswith("I2V_")}
        environment |= {"I2V_PORT": str(port), "I2V_MODEL": BUILTIN, "I2V_DATA_DIR": str(folder / "data")}
        environment |= {"I2V_OUTPUT_DIR": str(folder / "outputs"), "I2V_HOST": "127.0.0.1"}
        command = [sys.executable, "-m", "deployments", "serve", "--config", str(folder / "none.yaml")]
        with self._log.open("w") as log:
            # A session of its own: Ctrl-C reaches this process alone, which then stops the service in order.
            self._process = subprocess.Popen(
                command, env=environment, stdout=log, stderr=subprocess.STDOUT, start_new_session=True
            )

    def wait_until_ready(self) -> None:
        deadline = time.monotonic() + START_LIMIT_S
        with Client(self.url) as client, err.status("starting the service"):
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


def _table(video: dict[str, Any], stages: dict[str, float]) -> Table:
    table = Table("stage", "seconds", title=f"{video['size']}, {video['parameters']['num_frames']} frames, CPU")
    table.add_row("start the service", f"{stages['start']:.1f}")
    table.add_row("request, of which", f"{stages['request']:.1f}")
    for stage, seconds in video["timings"].items():
        table.add_row(f"  {stage}", f"{seconds:.1f}")
    table.add_row("stop the service", f"{stages['stop']:.1f}")
    return table
