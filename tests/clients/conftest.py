"""One service for all clients."""

from __future__ import annotations

import time
from collections.abc import Iterator

import httpx
import pytest

from deployments.child import ChildService


@pytest.fixture(scope="session")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ChildService]:
    running = ChildService(tmp_path_factory.mktemp("service"), I2V_PAGE="1")
    running.start()
    while httpx.get(f"{running.url}/ui/").status_code == 503:
        time.sleep(0.2)
    yield running
    running.stop()
