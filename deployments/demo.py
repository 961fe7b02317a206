"""`i2v demo`: a service of its own, one clip through it, and its end."""

from __future__ import annotations

import json
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from rich.table import Table

import serving
from deployments.child import ChildService
from serving.client import ApiError, Client
from serving.console import AsJson, err, fail, out
from serving.following import generate_at

PICTURE = Path(serving.__file__).parent / "assets" / "demo.jpg"
PROMPT = "A blue ceramic mug and two lemons on a wooden table, the camera pans to the left, soft light"


def demo(as_json: AsJson = False) -> None:
    """Start a service with embedded defaults, animate a picture that ships with the project, stop everything."""
    began = time.perf_counter()
    with tempfile.TemporaryDirectory(prefix="i2v-demo-") as folder:
        server = ChildService(Path(folder))
        try:
            with ExitStack() as until_the_end:
                with err.status("starting the service"):
                    until_the_end.enter_context(server.running())
                started = time.perf_counter()
                err.print(f"[green]service ready[/] after {started - began:.1f} s at {server.url}")
                with Client(server.url) as client:
                    name = time.strftime("demo_%Y%m%d_%H%M%S.mp4")
                    video = generate_at(client, PICTURE, {"prompt": PROMPT, "seed": 1}, Path("outputs") / name)
                finished = time.perf_counter()
        except ApiError as error:
            raise fail(str(error), code=error.code, param=error.param, as_json=as_json) from None
    stages = {"start": started - began, "request": finished - started, "stop": time.perf_counter() - finished}
    if as_json:
        out.print_json(json.dumps({"path": video["path"], "stages_s": stages, "video": video}))
        return
    out.print(_table(video, stages))
    out.print(f"clip: {Path(video['path']).absolute()}", soft_wrap=True, highlight=False, markup=False)


def _table(video: dict[str, Any], stages: dict[str, float]) -> Table:
    table = Table("stage", "seconds", title=f"{video['size']}, {video['parameters']['num_frames']} frames, CPU")
    table.add_row("start the service", f"{stages['start']:.1f}")
    table.add_row("request, of which", f"{stages['request']:.1f}")
    for stage, seconds in video["timings"].items():
        table.add_row(f"  {stage}", f"{seconds:.1f}")
    table.add_row("stop the service", f"{stages['stop']:.1f}")
    return table
