"""Speaks to the service."""

from __future__ import annotations

from collections.abc import Iterator

import httpx
import pytest

from deployments.child import ChildService


@pytest.fixture
def http(service: ChildService) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=service.url, timeout=120) as client:
        yield client
