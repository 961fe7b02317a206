"""A Serve application of this package, up until SIGINT or SIGTERM: what the service is compared with."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable
from typing import Any

from deployments.launch import LOGGING, QUIET, SWIFT


def serve_until_stopped(build: Callable[[], Any], name: str, *, alike: bool = True) -> None:
    """Serve what `build` gives, an application, where `I2V_HOST` and `I2V_PORT` say.

    What Serve logs of each request is as in the service, so that neither side is slower for it.

    Args:
        alike: so is how Serve passes requests on, and what Ray and Serve do beside; else as they come.
    """
    if alike:
        os.environ.update({name: value for name, value in (QUIET | SWIFT).items() if name not in os.environ})
    import ray
    from ray import serve

    stop = threading.Event()
    ray.init(address="local", include_dashboard=False, log_to_driver=False, logging_level="ERROR")
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    try:
        listen = {"host": os.environ["I2V_HOST"], "port": int(os.environ["I2V_PORT"])}
        serve.start(http_options=listen, logging_config=LOGGING)
        serve.run(build(), name=name, route_prefix="/", logging_config=LOGGING)
        stop.wait()
    finally:
        ray.shutdown()
