"""One service for all clients."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from deployments.child import ChildService


@pytest.fixture(scope="session")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ChildService]:
    running = ChildService(tmp_path_factory.mktemp("service"))
    running.start()
    yield running
    running.stop()
