"""Hands for the tests of `i2v batch`: sheets, a worker that is quick, the command and what it left."""

from __future__ import annotations

import csv
import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from hands import Api, listening, picture
from typer.testing import CliRunner, Result

from serving.batch.manifest import Entry, Manifest
from serving.cli import app
from serving.jobs.job import Job
from serving.publishing import files_of

runner = CliRunner()
WORDS = ["--prompt", "pan left"]
FAULT = {"error": {"message": "It broke.", "type": "server_error", "code": "server_error", "param": None}}


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
