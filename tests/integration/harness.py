"""A real service under test, and where its parts are."""

from loadtest.service import PICTURE, START_S, Service, free_port, wait_for

__all__ = ["PICTURE", "START_S", "Service", "free_port", "wait_for"]
