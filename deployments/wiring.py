"""What every deployment is given, and the connections each replica opens from it."""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field
from pathlib import Path

from deployments.metrics import RayMetrics
from serving.courier import Courier
from serving.jobs.store import JobStore, open_store
from serving.logs import JOBS, log_to, show_on_console
from serving.metrics import Metrics
from serving.pools import ServedPool
from serving.settings import Settings
from serving.storage import Storage, open_storage


@dataclass(frozen=True)
class Wiring:
    """One start of the service: settings, pools with their models decided, and the start's log file."""

    settings: Settings
    pools: tuple[ServedPool, ...]
    log_file: Path
    gpus: int = 0
    """GPUs in the cluster when the service started."""
    start: str = field(default_factory=lambda: secrets.token_hex(4))
    """Names this start in the jobs its workers hold."""

    def worker(self, pool: ServedPool, replica: str) -> str:
        """The name of a card's replica in the job store."""
        return f"{self.start}/{pool.settings.name}/{replica}"

    def open_log(self) -> None:
        log_to(self.log_file, self.settings.log_level)
        show_on_console()

    def metrics(self) -> Metrics:
        """To be called in a replica, whose name Ray adds to each metric."""
        return RayMetrics()

    def open_store(self) -> JobStore:
        self.settings.data_dir.mkdir(parents=True, exist_ok=True)
        return open_store(self.settings.database, max_attempts=self.settings.max_attempts)

    def courier(self, store: JobStore, metrics: Metrics) -> Courier | None:
        """None where no webhooks are sent."""
        secret = self.settings.webhook_secret
        if secret is None:
            return None
        private = self.settings.webhook_private_addresses
        lease_s = self.settings.lease_s
        return Courier(store.outbox, secret, lease_s=lease_s, private_addresses=private, metrics=metrics)

    def pictures(self) -> Storage:
        return open_storage(self.settings.pictures)

    def job_logs(self) -> Storage:
        """This machine's."""
        return open_storage(self.settings.log_dir / JOBS)

    def outputs(self) -> Storage:
        return open_storage(self.settings.outputs)
