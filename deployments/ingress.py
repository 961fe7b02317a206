"""The HTTP stage: the API over the job store and the preprocessor."""

from __future__ import annotations

import os
from typing import Any

import stamina
from ray import serve
from ray.exceptions import ActorDiedError, ActorUnavailableError, RayTaskError
from ray.serve.exceptions import BackPressureError
from ray.serve.handle import DeploymentHandle
from starlette.types import ASGIApp

from deployments.heap import spare_what_is_loaded
from deployments.metrics import expose
from deployments.wiring import Wiring
from serving.errors import I2VError, ServerOverloaded, ServiceUnavailable
from serving.http.app import create_app
from serving.parameters import VideoParameters
from serving.preprocessing import Prepared
from serving.presets import ModelProfile
from serving.service import VideoService

GRPC_LIMIT = "RAY_SERVE_REPLICA_GRPC_MAX_MESSAGE_LENGTH"


@serve.deployment(name="Ingress", max_ongoing_requests=500, health_check_period_s=2, ray_actor_options={"num_cpus": 0})
@serve.ingress()
class Ingress:
    def __init__(self, wiring: Wiring, preprocessor: DeploymentHandle[Any], dispatcher: DeploymentHandle[Any]) -> None:
        """`dispatcher` is never called: holding its handle makes it part of the application."""
        wiring.open_log()
        self._settings = wiring.settings
        # By gRPC, which for a picture costs less than an actor's call, where it is told to take more than 4 MiB.
        self._preprocessor = preprocessor.options(_by_reference=GRPC_LIMIT not in os.environ)
        self._metrics = wiring.metrics()
        self._service = VideoService(
            settings=wiring.settings,
            pools=wiring.pools,
            store=wiring.open_store(),
            pictures=wiring.pictures(),
            outputs=wiring.outputs(),
            prepare=self._prepare,
            metrics=self._metrics,
        )

    def __serve_build_asgi_app__(self) -> ASGIApp:
        # Serve's proxy puts x-request-id on every answer, and a second one beside it if the application does too.
        app = create_app(self._service, self._settings, metrics=self._metrics, expose=expose, request_ids=False)
        spare_what_is_loaded()
        return app

    async def _prepare(self, data: bytes, parameters: VideoParameters, profile: ModelProfile) -> Prepared:
        try:
            async for attempt in stamina.retry_context(on=(ActorDiedError, ActorUnavailableError), attempts=3):
                with attempt:
                    prepared: Prepared = await self._preprocessor.prepare.remote(data, parameters, profile)
                    return prepared
        except RayTaskError as error:
            if isinstance(error.cause, I2VError):
                raise error.cause from None
            raise
        except BackPressureError:
            raise ServerOverloaded("Too many pictures wait for preprocessing.", retry_after_s=2) from None
        except (ActorDiedError, ActorUnavailableError):
            raise ServiceUnavailable("The preprocessor is restarting; try again.", retry_after_s=5) from None
        raise AssertionError("unreachable")
