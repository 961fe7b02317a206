"""`build(args) -> Application`: what serve_config.yaml imports."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import ray
from ray.serve import Application
from ray.serve.config import RequestRouterConfig

from deployments.dispatcher import Dispatcher
from deployments.encoder import Encoder
from deployments.generator import Generator
from deployments.ingress import Ingress
from deployments.pools import decide, replica_options
from deployments.preprocessor import Preprocessor
from deployments.wiring import Wiring
from serving.logs import new_log_file
from serving.settings import Settings, load_settings


def build(args: dict[str, Any]) -> Application:
    """The application from the YAML's `args`, overridden by the environment."""
    settings = load_settings(args)
    return assemble(wire(settings, new_log_file(settings.log_dir)))


def wire(settings: Settings, log_file: Path) -> Wiring:
    return Wiring(settings, decide(settings, _gpus()), log_file)


def assemble(wiring: Wiring) -> Application:
    """The graph: ingress -> preprocessor; dispatcher -> a generator for each pool -> encoder."""
    settings = wiring.settings
    encoder = Encoder.options(num_replicas=settings.encoders).bind(wiring)
    # A freed card is noticed within this back-off; Serve's own half second would leave cards idle between jobs.
    router = RequestRouterConfig(max_backoff_s=0.05)
    generators = {
        pool.settings.name: Generator.options(
            request_router_config=router, **replica_options(pool.settings, _gpus())
        ).bind(wiring, pool, encoder)
        for pool in wiring.pools
    }
    dispatcher = Dispatcher.bind(wiring, generators)
    preprocessor = Preprocessor.options(num_replicas=settings.preprocessors).bind(wiring)
    return Ingress.options(num_replicas=settings.ingress_replicas).bind(wiring, preprocessor, dispatcher)


def _gpus() -> int:
    return int(ray.cluster_resources().get("GPU", 0))
