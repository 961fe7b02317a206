"""The page's Serve application, `build(args) -> Application`: one replica, as Gradio keeps its sessions in memory."""

from __future__ import annotations

from typing import Any

from ray import serve
from ray.serve import Application
from starlette.types import ASGIApp

from serving.settings import Settings, load_settings


@serve.deployment(name="Page", max_ongoing_requests=1000, health_check_period_s=2, ray_actor_options={"num_cpus": 0})
@serve.ingress()
class Page:
    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    def __serve_build_asgi_app__(self) -> ASGIApp:
        # Here, as Gradio takes seconds to be imported.
        from serving.ui.app import create_page

        at = self._settings
        return create_page(at.reached_at, at.data_dir / "page", max_upload_bytes=at.max_upload_bytes)


def build(args: dict[str, Any]) -> Application:
    """The application from the YAML's `args`, overridden by the environment."""
    application: Application = Page.bind(load_settings(args))
    return application
