"""The text and picture encoders of one model, which keep what they made last, on the model's device.

Every prompt and every picture is encoded by itself, so that what is kept is what would be made again, bit by bit.
Knows nothing of requests, seeds or the UNet.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterator
from dataclasses import dataclass
from typing import Generic, TypeVar

import torch

from serving.engine.modules import Modules

T = TypeVar("T")
PROMPTS = 64
"""Prompts kept: 10 MiB of the published model's embeddings."""
PICTURES = 16
"""Pictures kept: 4 MiB at 1024 x 1024."""


@dataclass(frozen=True)
class Sight:
    """A picture as the encoders take it, on the CPU in float32."""

    key: Hashable
    """The same for the same picture and crop alone."""
    clip: torch.Tensor
    """(1, 3, side, side), normalised."""
    vae: torch.Tensor
    """(1, 3, H, W) in -1..1."""


@dataclass(frozen=True)
class Seen:
    """An encoded picture."""

    embedding: torch.Tensor
    """(1, 1, dim)."""
    mean: torch.Tensor
    """(1, C, h, w), as `std`: the VAE's posterior."""
    std: torch.Tensor


class Encoders:
    def __init__(self, modules: Modules) -> None:
        self._modules = modules
        self._prompts: Recent[torch.Tensor] = Recent(PROMPTS)
        self._pictures: Recent[Seen] = Recent(PICTURES)

    @property
    def latent_scale(self) -> float:
        """What the VAE's latents are multiplied by for the UNet."""
        return float(self._modules.vae.config.scaling_factor)

    def wanted(self, tokens: tuple[torch.Tensor, ...], sight: Sight) -> Iterator[str]:
        """The modules that must be on the device to encode these."""
        if any(_key(each) not in self._prompts for each in tokens):
            yield "text_encoder"
        if sight.key not in self._pictures:
            yield from ("image_encoder", "vae")

    def text(self, tokens: torch.Tensor) -> torch.Tensor:
        """(1, n, dim) from (1, n): CLIP's last layer but one, then its final norm, as the UNet was trained."""
        return self._prompts.get(_key(tokens), lambda: self._text(tokens))

    def see(self, sight: Sight) -> Seen:
        return self._pictures.get(sight.key, lambda: self._see(sight))

    def clear(self) -> None:
        """Forget what was kept."""
        self._prompts.clear()
        self._pictures.clear()

    def _text(self, tokens: torch.Tensor) -> torch.Tensor:
        encoder = self._modules.text_encoder
        states = encoder(tokens.to(encoder.device), output_hidden_states=True).hidden_states
        # transformers 5 puts the layers that `text_model` held directly on the encoder.
        norm = getattr(encoder, "text_model", encoder).final_layer_norm
        embeddings: torch.Tensor = norm(states[-2])
        return embeddings

    def _see(self, sight: Sight) -> Seen:
        encoder, vae = self._modules.image_encoder, self._modules.vae
        embedding = encoder(sight.clip.to(encoder.device, encoder.dtype, non_blocking=True)).image_embeds
        posterior = vae.encode(sight.vae.to(vae.device, vae.dtype, non_blocking=True)).latent_dist
        return Seen(embedding.unsqueeze(1), posterior.mean.clone(), posterior.std)


class Recent(Generic[T]):
    """The results that were asked for last."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._results: OrderedDict[Hashable, T] = OrderedDict()

    def __contains__(self, key: Hashable) -> bool:
        return key in self._results

    def get(self, key: Hashable, make: Callable[[], T]) -> T:
        """The result kept under `key`, else a new one, for which the one unused for longest gives way."""
        if key not in self._results:
            self._results[key] = make()
            if len(self._results) > self._most:
                self._results.popitem(last=False)
        self._results.move_to_end(key)
        return self._results[key]

    def clear(self) -> None:
        self._results.clear()


def _key(tokens: torch.Tensor) -> bytes:
    return tokens.numpy().tobytes()
