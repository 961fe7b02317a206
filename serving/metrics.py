"""What the service measures: the table of metrics as data, and the protocol that records them.

Names follow Prometheus: base units (seconds, bytes), `_total` at the end of a counter, and labels with few values:
never a job's id, a prompt or an address. Knows nothing of Ray, HTTP or how a value reaches Prometheus.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

GIB = 2**30


@dataclass(frozen=True)
class Metric:
    """One row of the table."""

    name: str
    help: str
    labels: tuple[str, ...]


@dataclass(frozen=True)
class Counter(Metric):
    """Only grows; starts again at zero with its process."""


@dataclass(frozen=True)
class Gauge(Metric):
    """The last value counts. To be set again every few seconds: a backend may forget one that is not."""


@dataclass(frozen=True)
class Histogram(Metric):
    """How many observations lie at or under each of `buckets`."""

    buckets: tuple[float, ...]


HTTP_SECONDS = Histogram(
    "i2v_http_request_duration_seconds",
    "From a request's arrival to the start of its answer.",
    ("route", "method", "status"),
    (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10),
)
REFUSALS = Counter(
    "i2v_refusals_total",
    "Answers with an error, by its code; /readyz answers so until a card is ready.",
    ("route", "code"),
)
FOLLOWERS = Gauge("i2v_followers", "Requests that follow a video or wait for one.", ())
SUBMISSIONS = Counter("i2v_submissions_total", "Jobs accepted into the queue.", ("model", "priority"))
CANCELS = Counter("i2v_cancels_total", "Cancels granted, by whether a card had the job (in_progress).", ("status",))
QUEUE_JOBS = Gauge(
    "i2v_queue_jobs", "Jobs waiting; one that several pools can take counts in each.", ("pool", "priority")
)
QUEUE_SECONDS = Gauge(
    "i2v_queue_gpu_seconds", "Card seconds that the waiting jobs are expected to need.", ("pool", "priority")
)
CARDS = Gauge("i2v_cards", "Cards that are loaded and alive.", ("pool",))
WAIT_SECONDS = Histogram(
    "i2v_wait_seconds",
    "From a job's acceptance to its first claim by a card.",
    ("pool", "priority"),
    (0.5, 1, 2, 5, 10, 30, 60, 120, 300, 600, 1800, 3600, 7200, 14400, 28800),
)
ATTEMPTS = Counter("i2v_attempts_total", "Claims of a job by a card.", ("pool", "model"))
FAILURES = Counter(
    "i2v_attempt_failures_total", "Attempts that ended without a clip, by error code; cancels apart.", ("model", "code")
)
OUT_OF_MEMORY = Counter("i2v_out_of_memory_total", "Times a card ran out of memory on a job.", ("pool",))
BUSY_SECONDS = Counter(
    "i2v_card_busy_seconds_total", "Seconds cards worked on a job; its rate is the busy share.", ("pool",)
)
STEPS = Counter("i2v_steps_total", "Denoising steps done.", ("pool",))
KERNELS = Counter(
    "i2v_kernels_compiled_total", "Kernels that a card had to compile, as they were not in its cache.", ("pool",)
)
GENERATION_SECONDS = Histogram(
    "i2v_generation_seconds",
    "Seconds of a card for one clip, by stage: condition, denoise, decode.",
    ("pool", "stage"),
    (0.1, 0.25, 0.5, 1, 2, 5, 10, 20, 30, 45, 60, 90, 120, 180, 300, 600),
)
PEAK_MEMORY = Histogram(
    "i2v_card_peak_memory_bytes",
    "Most GPU memory one clip took, weights included.",
    ("pool",),
    tuple(float(gib * GIB) for gib in (4, 6, 8, 10, 12, 14, 16, 20, 24, 32, 40, 48, 64, 80, 96, 141)),
)
ENCODING_SECONDS = Histogram(
    "i2v_encoding_seconds",
    "From a clip's frames to its files in storage.",
    ("format",),
    (0.1, 0.25, 0.5, 1, 2, 5, 10, 30, 60, 120),
)
COMPLETION_SECONDS = Histogram(
    "i2v_completion_seconds",
    "From a job's acceptance to its finished clip.",
    ("model", "priority"),
    (2, 5, 10, 20, 30, 45, 60, 90, 120, 180, 300, 600, 1800, 3600, 7200, 14400, 28800),
)
WEBHOOKS = Counter(
    "i2v_webhook_deliveries_total",
    "Deliveries of webhooks, by how they ended: delivered, failed (tried again later) or dead.",
    ("outcome",),
)

TABLE: tuple[Metric, ...] = (
    HTTP_SECONDS,
    REFUSALS,
    FOLLOWERS,
    SUBMISSIONS,
    CANCELS,
    QUEUE_JOBS,
    QUEUE_SECONDS,
    CARDS,
    WAIT_SECONDS,
    ATTEMPTS,
    FAILURES,
    OUT_OF_MEMORY,
    BUSY_SECONDS,
    STEPS,
    KERNELS,
    GENERATION_SECONDS,
    PEAK_MEMORY,
    ENCODING_SECONDS,
    COMPLETION_SECONDS,
    WEBHOOKS,
)


class Metrics(Protocol):
    """Records measurements; never blocks, and may be called from any thread.

    Every method raises ValueError where `labels` are not exactly the metric's.
    """

    def add(self, counter: Counter, value: float = 1.0, /, **labels: str) -> None:
        """Raise `counter` by `value`, zero or more."""

    def set(self, gauge: Gauge, value: float, /, **labels: str) -> None:
        """Let `gauge` say `value` from now on."""

    def observe(self, histogram: Histogram, value: float, /, **labels: str) -> None:
        """Count `value`, in the metric's unit."""


class Unmeasured:
    """Metrics that nobody records."""

    def add(self, counter: Counter, value: float = 1.0, /, **labels: str) -> None:
        pass

    def set(self, gauge: Gauge, value: float, /, **labels: str) -> None:
        pass

    def observe(self, histogram: Histogram, value: float, /, **labels: str) -> None:
        pass


UNMEASURED = Unmeasured()


def check_labels(metric: Metric, labels: Mapping[str, str]) -> None:
    """Raises ValueError where `labels` are not exactly the metric's."""
    if set(labels) != set(metric.labels):
        raise ValueError(f"{metric.name} has the labels {metric.labels}, not {tuple(labels)}")
