"""Pool settings as Serve replicas: which model, how many, on which cards."""

from __future__ import annotations

from typing import Any

from deployments.wiring import Wiring
from serving.errors import ConfigurationInvalid
from serving.pools import ServedPool
from serving.presets import BUILTIN, EMULATED, PUBLISHED, profile_for
from serving.scheduling.cards import CARDS
from serving.settings import AUTO, PoolSettings, Settings

CPU = CARDS["cpu"].name
EMULATED_CPUS = 0.01
# A replica renders in a thread, and the C library (glibc) gives threads heaps of their own, which return to the system
# what the next tensor needs again: see `engine.card.keep_freed_memory`. It reads this when a process starts.
ONE_HEAP = {"MALLOC_ARENA_MAX": "1"}
# Ray 2.60 reads this deprecated field and not the variable that is to replace it. A pool that has just gone to zero
# is started again for requests of the look-back period: a long one would load a model several times for nothing.
STATS = {"metrics_interval_s": 1.0, "look_back_period_s": 1.5}


def decide(settings: Settings, gpus: int) -> tuple[ServedPool, ...]:
    """Every pool with its model and its bounds decided, in a cluster that has `gpus` GPUs."""
    decided = []
    for pool in settings.pools:
        model = settings.model_for(pool)
        if model == AUTO:
            model = PUBLISHED if on_gpu(pool, gpus) else BUILTIN
        profile = profile_for(model)
        if model == EMULATED:
            profile = profile.faster(settings.emulation_speed)
        decided.append(ServedPool(pool, model, profile, *bounds(pool, gpus)))
    models: dict[str, str] = {}
    for served in decided:
        if models.setdefault(served.profile.name, served.model) != served.model:
            raise ConfigurationInvalid(
                f"pools: {served.model} and {models[served.profile.name]} are both served as {served.profile.name}; "
                "give one of them a profile.json with a name of its own."
            )
    return tuple(decided)


def on_gpu(pool: PoolSettings, gpus: int) -> bool:
    return gpus > 0 if pool.card == AUTO else pool.card != CPU


def replica_options(served: ServedPool, gpus: int) -> dict[str, Any]:
    """Serve options of the pool's generator: one replica a card."""
    pool = served.settings
    resources: dict[str, Any] = {"num_gpus": 1, "num_cpus": 0}
    if served.model == EMULATED:
        resources = {"num_cpus": EMULATED_CPUS}
    elif not on_gpu(pool, gpus):
        resources = {"num_cpus": 1, "runtime_env": {"env_vars": ONE_HEAP}}
    if pool.label is not None:
        resources["label_selector"] = pool.label
    least, most = bounds(pool, gpus)
    options: dict[str, Any] = {"name": deployment_of(pool), "ray_actor_options": resources}
    if least == most:
        return options | {"num_replicas": most}
    # Serve's delays would come on top of `Sizer`'s own patience.
    delays = {"upscale_delay_s": 0, "downscale_delay_s": 0, "downscale_to_zero_delay_s": 0}
    return options | {"autoscaling_config": {"min_replicas": least, "max_replicas": most, **delays, **STATS}}


def deployment_of(pool: PoolSettings) -> str:
    """The name of the pool's deployment."""
    return f"Generator-{pool.name}"


def bounds(pool: PoolSettings, gpus: int) -> tuple[int, int]:
    """The least and most replicas of the pool in a cluster that has `gpus` GPUs."""
    most = pool.max_replicas or max(pool.min_replicas or 1, gpus if pool.card == AUTO else 1)
    return most if pool.min_replicas is None else pool.min_replicas, most


def scales(settings: Settings, gpus: int) -> bool:
    """Whether any pool's number of replicas may change."""
    return any(low != high for low, high in (bounds(pool, gpus) for pool in settings.pools))


def dispatcher_options(wiring: Wiring) -> dict[str, Any]:
    """Serve takes autoscaling stats only from a deployment that scales itself, if only from one to one."""
    if not scales(wiring.settings, wiring.gpus):
        return {}
    return {"autoscaling_config": {"min_replicas": 1, "max_replicas": 1, **STATS}}
