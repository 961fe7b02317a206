"""Hands for the tests of the HTTP API: a client, a worker's part, and pictures to send."""

from __future__ import annotations

import io
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import uvicorn
from fastapi.testclient import TestClient
from PIL import Image

from serving.jobs.job import Job
from serving.jobs.lease import JobLease
from serving.jobs.store import JobStore
from serving.publishing import Publisher
from serving.settings import Settings
from serving.storage import Storage
from serving.testing import InMemoryMetrics

URL = "/v1/videos"


@dataclass
class Api:
    """The application's client, and hands to play the worker with."""

    http: TestClient
    store: JobStore
    outputs: Storage
    settings: Settings
    metrics: InMemoryMetrics

    def submit(self, **fields: Any) -> dict[str, Any]:
        response = self.http.post(URL, data={"prompt": "pan left", **fields}, files={"input_reference": picture()})
        assert response.status_code == 200, response.text
        body: dict[str, Any] = response.json()
        return body

    def claim(self) -> Job:
        job = self.store.claim("default", "builtin", worker="test", lease_s=30)
        assert job is not None
        return job

    def finish(self) -> Job:
        """Claim the next job and publish a grey clip for it."""
        job = self.claim()
        assert self.publish(job)
        return self.store.get(job.id)

    def publish(self, job: Job) -> bool:
        """A grey clip for it; False where it was cancelled meanwhile."""
        shape = (job.request.num_frames, job.request.height, job.request.width, 3)
        with JobLease(self.store, job) as lease:
            parameters = job.request.model_dump(exclude={"metadata", "priority", "deadline_s"})
            recipe = {"id": job.id, "parameters": parameters, "timings_s": {"denoise": 1.0}}
            publisher = Publisher(self.store, self.outputs, "video_", self.settings.retention_s, self.metrics)
            return publisher.publish(job, np.full(shape, 90, np.uint8), recipe, lease)

    def count(self) -> int:
        return len(self.store.list()[0])


def wait_for(condition: Callable[[], object]) -> None:
    """Until it is true; for as long as a busy machine may take."""
    deadline = time.monotonic() + 120
    while not condition():
        assert time.monotonic() < deadline, "it never was"
        time.sleep(0.01)


@contextmanager
def finishing(api: Api) -> Iterator[None]:
    """Every job that waits is finished meanwhile, as if there were a card."""
    over = threading.Event()

    def work() -> None:
        while not over.wait(0.02):
            if job := api.store.claim("default", "builtin", worker="test", lease_s=30):
                api.publish(job)

    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


@contextmanager
def listening(api: Api) -> Iterator[str]:
    """The application behind a real server, for clients of their own and for answers that are read as they come."""
    with closing(socket.socket()) as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        server = uvicorn.Server(uvicorn.Config(api.http.app, log_level="error", lifespan="off"))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [taken]})
        thread.start()
        try:
            yield f"http://127.0.0.1:{taken.getsockname()[1]}"
        finally:
            server.should_exit = True
            thread.join()


def picture(width: int = 320, height: int = 240, kind: str = "PNG") -> bytes:
    ramp = np.linspace(0, 255, width, dtype=np.uint8)
    pixels = np.broadcast_to(ramp[None, :, None], (height, width, 3))
    file = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(pixels)).save(file, kind)
    return file.getvalue()
