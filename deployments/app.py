"""`build(args) -> Application`: what serve_config.yaml imports."""

from __future__ import annotations

import secrets
from pathlib import Path
from typing import Any

import ray
from ray.serve import Application
from ray.serve.config import RequestRouterConfig

from deployments.dispatcher import Dispatcher
from deployments.encoder import Encoder
from deployments.generator import Generator
from deployments.ingress import Ingress
from deployments.pools import decide, dispatcher_options, replica_options
from deployments.preprocessor import Preprocessor
from deployments.stopped_last import StoppedLast
from deployments.wiring import Wiring
from serving.logs import new_log_file
from serving.settings import load_settings


def build(args: dict[str, Any]) -> Application:
    """The application from the YAML's `args`, overridden by the environment.

    `i2v serve` adds two of its own, `start` and `log_file`, so that it can tell its own jobs and log.
    """
    args = dict(args)
    start = args.pop("start", None) or secrets.token_hex(4)
    log_file = args.pop("log_file", None)
    settings = load_settings(args)
    gpus = int(ray.cluster_resources().get("GPU", 0))
    path = Path(log_file) if log_file else new_log_file(settings.log_dir)
    return assemble(Wiring(settings, decide(settings, gpus), path, gpus, start))


def assemble(wiring: Wiring) -> Application:
    """The graph: ingress -> preprocessor; dispatcher -> a generator for each pool -> encoder."""
    settings = wiring.settings
    encoder = Encoder.options(num_replicas=settings.encoders).bind(wiring)
    # A freed card is noticed within this back-off; Serve's own half second would leave cards idle between jobs.
    router = RequestRouterConfig(request_router_class=StoppedLast, initial_backoff_s=0.01, max_backoff_s=0.02)
    generators = {
        pool.settings.name: Generator.options(request_router_config=router, **replica_options(pool, wiring.gpus)).bind(
            wiring, pool, encoder
        )
        for pool in wiring.pools
    }
    dispatcher = Dispatcher.options(**dispatcher_options(wiring)).bind(wiring, generators)
    preprocessor = Preprocessor.options(num_replicas=settings.preprocessors).bind(wiring)
    return Ingress.options(num_replicas=settings.ingress_replicas).bind(wiring, preprocessor, dispatcher)
