"""`i2v serve`: the whole service on this machine, in a Ray cluster of its own that ends with it."""

from __future__ import annotations

import json
import logging
import os
import secrets
import signal
import threading
import time
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.markup import escape

from deployments import demo
from deployments.autoscaling import POLICY
from deployments.proxy import CALLBACK
from serving.cli import MARKS, app
from serving.client import Client
from serving.console import AsJson, err, fail, out
from serving.doctor import Level, examine, models_of
from serving.errors import ConfigurationInvalid, I2VError
from serving.jobs.store import open_store
from serving.logs import log_to, new_log_file
from serving.settings import PAGE, Settings, load_settings, read_config

logger = logging.getLogger(__name__)
APPLICATION, PAGE_APPLICATION = "i2v", "ui"
OBJECT_STORE_BYTES = 512 * 2**20  # five 1024p clips of 32 frames on their way to the encoder
SLOW_START_S = 60.0
# Of each request Ray would write two lines, at a cost that a status read feels; the metrics say more.
LOGGING = {"enable_access_log": False}
SEVERITIES = {Level.OK: logging.INFO, Level.WARN: logging.WARNING, Level.FAIL: logging.ERROR}
# By Ray's defaults what is over 100 KiB, so every prepared picture, goes through the object store, and every process
# reports its tasks each second, which only a dashboard would show, and times each event of its loops; by Serve's the
# controller and the replicas' counters work ten times a second. An idle service took a fifth of a core so, and takes
# a sixth.
QUIET = {
    "RAY_max_direct_call_object_size": str(2**22),
    "RAY_enable_timeline": "0",
    "RAY_event_stats": "0",
    "RAY_task_events_report_interval_ms": "0",
    "RAY_SERVE_CONTROL_LOOP_INTERVAL_S": "0.25",
    "RAY_SERVE_METRICS_EXPORT_INTERVAL_MS": "5000",
}
# Serve's switches for throughput, but those that would move its proxy or send clips without the object store: a request
# changes threads less often inside a replica, where nothing of ours blocks the loop, and reaches it by gRPC. A status
# read takes half the processor time so.
SWIFT = {
    "RAY_SERVE_RUN_USER_CODE_IN_SEPARATE_THREAD": "0",
    "RAY_SERVE_RUN_ROUTER_IN_SEPARATE_LOOP": "0",
    "RAY_SERVE_PROXY_USE_GRPC": "1",
    "RAY_SERVE_REPLICA_GRPC_MAX_MESSAGE_LENGTH": "-1",
}
# Serve's defaults take half a minute to notice a dead proxy, obey clients' headers, and report usage to its makers.
ENVIRONMENT = (
    QUIET
    | SWIFT
    | {
        "RAY_SERVE_HTTP_PROXY_CALLBACK_IMPORT_PATH": CALLBACK,
        "RAY_SERVE_PROXY_HEALTH_CHECK_PERIOD_S": "1",
        "RAY_SERVE_PROXY_HEALTH_CHECK_TIMEOUT_S": "2",
        "RAY_USAGE_STATS_ENABLED": "0",
    }
)


@app.command()
def serve(
    config: Annotated[Path, typer.Option(help="Deployment file.")] = Path("serve_config.yaml"),
    port: Annotated[int | None, typer.Option(help="Port of the API; I2V_PORT, else 8000.")] = None,
    as_json: AsJson = False,
) -> None:
    """Start the service here and stay up until Ctrl-C."""
    try:
        if port is not None:
            os.environ["I2V_PORT"] = str(port)
        args = read_config(config)
        settings = load_settings(args)
        log_file = new_log_file(settings.log_dir)
        log_to(log_file, settings.log_level)
        _check(settings, as_json)
        Service(settings, args, log_file, as_json).run()
    except I2VError as error:
        raise fail(error.message, code=error.code, param=None, as_json=as_json) from None


app.command(name="demo")(demo.demo)


class Service:
    """One start: a local Ray cluster, the application on it, and the end of both."""

    def __init__(self, settings: Settings, args: dict[str, Any], log_file: Path, as_json: bool) -> None:
        """`args` are those that `settings` come from; the replicas read the environment again."""
        self._settings = settings
        self._args = args
        self._start = secrets.token_hex(4)
        self._log_file = log_file
        self._as_json = as_json
        self._stop = threading.Event()

    def run(self) -> None:
        """Serve until SIGINT or SIGTERM; leaves no process behind.

        Raises:
            ConfigurationInvalid: a deployment could not start, with Serve's reason.
        """
        os.environ.update({name: value for name, value in ENVIRONMENT.items() if name not in os.environ})
        import ray

        logging.getLogger("ray.serve").setLevel(logging.ERROR)
        ray.init(
            address="local",
            include_dashboard=False,
            object_store_memory=OBJECT_STORE_BYTES,
            log_to_driver=False,
            logging_level="ERROR",
            _metrics_export_port=self._settings.metrics_port,
        )
        # After ray.init, which puts handlers of its own in place.
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda *_: self._stop.set())
        try:
            self._deploy()
            if self._wait_until_ready():
                where = PAGE if self._settings.page else "/docs"
                self._say("ready", f"ready: http://{self._settings.host}:{self._settings.port}{where}")
                self._stop.wait()
            self._say("stopping", "stopping")
        finally:
            # Not serve.shutdown(): it would wait for the running jobs, which the queue keeps anyway.
            ray.shutdown()
            _release_jobs_of(self._start, self._settings)

    def _deploy(self) -> None:
        # The way of `serve run`: only a deployment document can name an application-level autoscaling policy.
        from ray.serve._private.api import serve_start
        from ray.serve.schema import ServeDeploySchema

        applications: list[dict[str, Any]] = [
            {
                "name": APPLICATION,
                "route_prefix": "/",
                "import_path": "deployments.app:build",
                "args": {**self._args, "start": self._start, "log_file": str(self._log_file)},
                "autoscaling_policy": {"policy_function": POLICY},
            }
        ]
        if self._settings.page:
            page = {"name": PAGE_APPLICATION, "route_prefix": PAGE, "import_path": "deployments.ui:build"}
            applications.append(page | {"args": self._args})
        listen = {"host": self._settings.host, "port": self._settings.port}
        document = {"http_options": listen, "logging_config": LOGGING, "applications": applications}
        serve_start(http_options=listen, global_logging_config=LOGGING).deploy_apps(
            ServeDeploySchema.model_validate(document)
        )

    def _wait_until_ready(self) -> bool:
        from ray import serve

        began, told = time.monotonic(), ""
        with Client(f"http://{self._settings.host}:{self._settings.port}") as client:
            while not self._stop.is_set():
                applications = serve.status().applications
                status = applications.get(APPLICATION)
                if status is not None and status.status.value in ("DEPLOY_FAILED", "UNHEALTHY"):
                    raise ConfigurationInvalid(f"The service did not start: {status.message}")
                page = applications.get(PAGE_APPLICATION)
                failed = page is not None and page.status.value == "DEPLOY_FAILED"
                # A page that fails does not hold up the API.
                page_is_settled = page is None or failed or page.status.value == "RUNNING"
                if status is not None and status.status.value == "RUNNING" and page_is_settled and client.ready():
                    if failed:
                        logger.error("the page did not start: %s", page.message)
                    return True
                deployments = {name: d for one in applications.values() for name, d in one.deployments.items()}
                waiting = [name for name, d in deployments.items() if d.status.value != "HEALTHY"]
                if ", ".join(waiting) != told:
                    told = ", ".join(waiting)
                    self._say("starting", f"starting: {told or 'the first card'}")
                if time.monotonic() - began > SLOW_START_S:
                    began = time.monotonic()
                    missing = told or "the first card"
                    self._say("starting", f"still waiting for {missing}: is there a node with its card and label?")
                self._stop.wait(0.3)
        return False

    def _say(self, event: str, text: str) -> None:
        if self._as_json:
            out.print_json(json.dumps({"event": event, "detail": text, "port": self._settings.port}), indent=None)
        else:
            out.print(text, soft_wrap=True, highlight=False, markup=False)


def _check(settings: Settings, as_json: bool) -> None:
    failed, missing_weights = [], False
    for finding in examine(settings):
        logger.log(SEVERITIES[finding.level], "%s: %s", finding.check, finding.detail, extra={"check": finding.check})
        if finding.check == "weights" and finding.level == Level.WARN:
            missing_weights = True
        if finding.level == Level.FAIL:
            failed.append(f"{finding.check}: {finding.detail}")
        if not as_json:
            err.print(f"{MARKS[finding.level]} {finding.check:<10} {escape(finding.detail)}", soft_wrap=True)
    if failed:
        raise ConfigurationInvalid("The service cannot run here. " + " ".join(failed))
    if missing_weights:
        from serving.engine.weights import locate

        # Here, where its progress can be seen, rather than in the first replica.
        for model in models_of(settings):
            locate(model, settings.revision)


def _release_jobs_of(start: str, settings: Settings) -> None:
    """Put back what this start's cards were working on, so that the next start need not wait for leases to lapse."""
    store = open_store(settings.database)
    for job in store.held_by(f"{start}/"):
        store.release(job.id, job.attempt, reason_code="drained", reason="The service was stopped.", charge=False)
    store.close()


def main() -> None:
    """The `i2v` command with the verbs that need Ray beside those that do not."""
    app()
