"""A pool's model, loaded onto the card that Ray gave this replica."""

from __future__ import annotations

import os

from serving.engine import kernel_cache
from serving.engine.contract import LoadedModel
from serving.engine.kernel_cache import OnCompile
from serving.pools import ServedPool
from serving.presets import EMULATED
from serving.scheduling.cards import CARDS
from serving.settings import Settings


def load(pool: ServedPool, settings: Settings, on_compile: OnCompile) -> LoadedModel:
    """The model of `pool`; one that is emulated takes no card, and no PyTorch.

    Args:
        on_compile: told of each kernel that was not found in the kernel cache.

    Raises:
        WeightsUnavailable, InsufficientGpuMemory: as the engine does.
    """
    if pool.model == EMULATED:
        from serving.testing import EmulatedPipeline

        return EmulatedPipeline(pool.profile, CARDS[pool.settings.card])
    import ray
    import torch

    from serving.engine.pipeline import Pipeline
    from serving.engine.weights import locate

    kernel_cache.keep_in(settings.kernels)
    kernel_cache.tell(on_compile)
    device = "cuda" if ray.get_gpu_ids() else "cpu"
    if device == "cpu":
        # Ray allows a CPU actor one thread; the card of a CPU pool is the whole machine.
        torch.set_num_threads(settings.cpu_threads or os.cpu_count() or 1)
    return Pipeline.load(locate(pool.model, settings.revision), device=device)
