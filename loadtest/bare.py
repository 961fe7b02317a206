"""A Serve application that does nothing, as a measure of what Serve itself costs: `python -m loadtest.bare [--alike]`.

By Serve's defaults, or alike to the service's settings of Serve. It listens where `I2V_HOST` and `I2V_PORT` say, and
answers every path with a small JSON object, up to Ctrl-C.
"""

from __future__ import annotations

import sys
from typing import Any

from loadtest.plain import serve_until_stopped


def main() -> None:
    from ray import serve

    @serve.deployment(max_ongoing_requests=500, ray_actor_options={"num_cpus": 0})
    class Bare:
        async def __call__(self, request: Any) -> dict[str, str]:
            return {"object": "video", "status": "queued"}

    serve_until_stopped(Bare.bind, "bare", alike="--alike" in sys.argv[1:])


if __name__ == "__main__":
    main()
