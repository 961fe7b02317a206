"""The VAE: a quarter of the size, four channels, and latents that warp as pictures do.

A third of each batch is decoded from warped latents and compared with the warped picture, so that the UNet, which
must move latents about, works in a space where that is moving pixels about.
"""

from __future__ import annotations

import random
import time

import torch
import torch.nn.functional as F  # noqa: N812
from diffusers import AutoencoderKL
from torch import Tensor

from serving.training.capture import Recorded
from serving.training.checkpoint import Checkpoint
from serving.training.frames import Gallery
from serving.training.masters import Masters

LATENT_NOISE = 0.06


def means(vae: AutoencoderKL, pixels: Tensor) -> Tensor:
    """(B, 4, h, w) latent means of (B, 3, H, W) pixels."""
    moments: Tensor = vae.quant_conv(vae.encoder(pixels))
    return moments[:, :4]


def decoded(vae: AutoencoderKL, latents: Tensor) -> Tensor:
    """(B, 3, H, W) pixels of (B, 4, h, w) latents."""
    pixels: Tensor = vae.decoder(vae.post_quant_conv(latents))
    return pixels


def standardised(latents: Tensor) -> Tensor:
    """Latents with this batch's mean and spread removed, a channel at a time."""
    wide = latents.float()
    centred = wide - wide.mean((0, 2, 3), keepdim=True)
    return (centred / (wide.std((0, 2, 3), keepdim=True) + 1e-4)).to(latents.dtype)


def distance(made: Tensor, wanted: Tensor) -> Tensor:
    """How far pictures are from the wanted ones: pixels, edges, and means at three scales."""
    error = made.float() - wanted.float()
    edges_x, edges_y = error[..., 1:] - error[..., :-1], error[..., 1:, :] - error[..., :-1, :]
    total = error.abs().mean() + 2 * error.square().mean() + 0.5 * (edges_x.abs().mean() + edges_y.abs().mean())
    for size in (2, 4, 8):
        total = total + 0.5 * F.avg_pool2d(error, size).abs().mean()
    return total


def train_vae(
    vae: AutoencoderKL, gallery: Gallery, checkpoint: Checkpoint, *, seconds: float, batch: int = 48, side: int = 128
) -> None:
    """Train in place for `seconds` in all, then fold the latents' standardisation into the 1x1 convolutions."""
    device = gallery.pictures.device
    kind = torch.bfloat16 if device.type == "cuda" else torch.float32
    vae.to(device, kind).to(memory_format=torch.channels_last).train()
    masters = Masters(vae, rate=1.2e-3, average=0.999)
    before_s = masters.resume(checkpoint)
    rng = random.Random(masters.steps)  # noqa: S311 - warps, not secrets
    turned = batch // 3

    def loss(pixels: Tensor, noise: Tensor, matrices: Tensor) -> Tensor:
        latents = standardised(means(vae, pixels.to(kind)))
        warped = F.grid_sample(
            latents[:turned].float(), F.affine_grid(matrices, list(latents[:turned].shape), align_corners=False),
            mode="bilinear", padding_mode="reflection", align_corners=False,
        )  # fmt: skip
        wanted = F.grid_sample(
            pixels[:turned], F.affine_grid(matrices, list(pixels[:turned].shape), align_corners=False),
            mode="bicubic", padding_mode="reflection", align_corners=False,
        )  # fmt: skip
        latents = torch.cat([warped.to(kind), latents[turned:]]) + noise
        return distance(decoded(vae, latents), torch.cat([wanted, pixels[turned:]]))

    inputs = {
        "pixels": gallery.cut(batch, side, side),
        "noise": torch.zeros(batch, 4, side // 4, side // 4, device=device, dtype=kind),
        "matrices": torch.zeros(turned, 2, 3, device=device),
    }
    step = Recorded(vae, loss, inputs)
    started = time.monotonic() - before_s
    while (elapsed := time.monotonic() - started) < seconds:
        pixels = gallery.cut(batch, side, side, least=0.35, most=0.8)
        noise = torch.randn_like(inputs["noise"]) * LATENT_NOISE * torch.rand(batch, 1, 1, 1, device=device, dtype=kind)
        value, grads = step(pixels=pixels, noise=noise, matrices=_warps(rng, turned).to(device))
        masters.step(grads, elapsed / seconds)
        if masters.steps % 500 == 1:
            print(f"vae {masters.steps}: loss {value.item():.4f}, {elapsed:.0f} s", flush=True)
        if checkpoint.due:
            checkpoint.save(masters.state(elapsed))
    masters.finish()
    vae.to(torch.float32).to(memory_format=torch.contiguous_format).eval()
    fold(vae, gallery)
    print(f"vae: {masters.steps} steps", flush=True)


def _warps(rng: random.Random, count: int) -> Tensor:
    """(count, 2, 3) small shifts, turns and magnifications."""
    matrices = torch.zeros(count, 2, 3)
    for row in matrices:
        scale, angle = rng.uniform(0.85, 1.15), rng.uniform(-0.15, 0.15)
        row[0, 0] = row[1, 1] = scale
        row[0, 1], row[1, 0] = angle, -angle
        row[0, 2], row[1, 2] = rng.uniform(-0.25, 0.25), rng.uniform(-0.25, 0.25)
    return matrices


@torch.no_grad()
def fold(vae: AutoencoderKL, gallery: Gallery) -> None:
    """Make `encode` give standardised latents with no posterior spread, and `decode` take them."""
    latents = torch.cat([means(vae, gallery.cut(16, 256, 256)) for _ in range(16)])
    mean, spread = latents.mean((0, 2, 3)), latents.std((0, 2, 3))
    inward, outward = vae.quant_conv, vae.post_quant_conv
    inward.weight[:4] /= spread[:, None, None, None]
    inward.bias[:4] = (inward.bias[:4] - mean) / spread
    inward.weight[4:], inward.bias[4:] = 0.0, -30.0
    # Training standardised before post_quant_conv already, so its input is as it was.
    assert outward.weight.shape[1] == len(mean)
