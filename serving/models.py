"""The models that are served: their profiles by name, and what there is to say about a request to one.

Knows nothing of jobs, HTTP or Ray.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from serving.cautions import Caution
from serving.errors import ModelNotFound
from serving.pools import ServedPool
from serving.presets import ModelProfile
from serving.prompts.lint import lint
from serving.prompts.tokens import tokenizer_of
from serving.request import VideoRequest


class Models:
    """Those of the deployed pools."""

    def __init__(self, pools: Sequence[ServedPool], revision: str | None) -> None:
        self._pools = pools
        self._revision = revision
        self.profiles: Mapping[str, ModelProfile] = {pool.profile.name: pool.profile for pool in pools}

    def profile(self, model: str | None) -> ModelProfile:
        """Of the model of that name, the first one by default; raises ModelNotFound."""
        if model is None:
            return self._pools[0].profile
        if model not in self.profiles:
            served = ", ".join(self.profiles)
            raise ModelNotFound(f"model: {model[:100]!r} is not served here; served: {served}.", param="model")
        return self.profiles[model]

    def named(self, name: str) -> str:
        """The model of that name, or of that place on the hub.

        Raises:
            ModelNotFound: there is none.
        """
        found = [pool.profile.name for pool in self._pools if name in (pool.profile.name, pool.model)]
        return found[0] if found else self.profile(name).name

    def lint(self, request: VideoRequest) -> tuple[Caution, ...]:
        """What there is to say about its words and its guidance."""
        model = next(pool.model for pool in self._pools if pool.profile.name == request.model)
        return lint(request, self.profiles[request.model], tokenizer_of(model, self._revision))
