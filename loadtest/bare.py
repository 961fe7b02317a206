"""A Serve application that does nothing, as a measure of what Serve itself costs: `python -m loadtest.bare`.

It listens where `I2V_HOST` and `I2V_PORT` say, and answers every path with a small JSON object, up to Ctrl-C.
"""

from __future__ import annotations

import os
import signal
import threading
from typing import Any


def main() -> None:
    import ray
    from ray import serve

    @serve.deployment(max_ongoing_requests=500, ray_actor_options={"num_cpus": 0})
    class Bare:
        async def __call__(self, request: Any) -> dict[str, str]:
            return {"object": "video", "status": "queued"}

    stop = threading.Event()
    ray.init(address="local", include_dashboard=False, log_to_driver=False, logging_level="ERROR")
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    try:
        serve.start(http_options={"host": os.environ["I2V_HOST"], "port": int(os.environ["I2V_PORT"])})
        serve.run(Bare.bind(), name="bare", route_prefix="/")
        stop.wait()
    finally:
        ray.shutdown()


if __name__ == "__main__":
    main()
