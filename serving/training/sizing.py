"""The model's profile.json: its ranges and presets, and a cost row counted on its own UNet.

Operations are counted on tensors without storage (the meta device); memory by following every tensor the forward
makes until it is freed, in fp16, which needs no card either.
"""

from __future__ import annotations

import torch
from diffusers import AutoencoderKL, I2VGenXLUNet
from torch.utils.flop_counter import FlopCounterMode

from serving.engine.footprint import PeakMemory
from serving.presets import Cost, Distance, ModelProfile, Preset, Range
from serving.scheduling.accelerations import ACCELERATIONS
from serving.training.architecture import LATENT_FACTOR, Parts
from serving.training.folder import WEIGHTS

GIB = 2**30
UNGUIDED_SHARE = 0.66
"""Of a guided clip's seconds on a CPU, as `i2v calibrate` measured them (0.64 to 0.71). By operations it is 0.57, but
what the halves share runs at full size, where memory takes the time."""
CACHED_SHARE = 0.43
"""Of a step's seconds on a CPU, those of one on cached features (measured, 0.40 to 0.46): by operations it is 0.29, but
what is left runs at full size."""
SHAPES = ((8, 256), (16, 256), (8, 512), (16, 512))  # frames, side


def guided_step(unet: I2VGenXLUNet, num_frames: int, side: int) -> tuple[float, float]:
    """(TFLOP, GiB of activations) of one step with guidance, counted on a copy of `unet` on the meta device."""
    width, context = side // LATENT_FACTOR, int(unet.config.cross_attention_dim)
    latents = torch.empty(2, 4, num_frames, width, width, device="meta", dtype=torch.float16)
    inputs = {
        "timestep": torch.empty((), device="meta", dtype=torch.int64),
        "fps": torch.empty(2, device="meta", dtype=torch.int64),
        "image_latents": latents,
        "image_embeddings": torch.empty(2, 1, context, device="meta", dtype=torch.float16),
        "encoder_hidden_states": torch.empty(2, 77, context, device="meta", dtype=torch.float16),
    }
    with torch.no_grad(), FlopCounterMode(display=False) as flops:
        unet(latents, **inputs)
    with torch.no_grad(), PeakMemory() as memory:
        unet(latents, **inputs)
    return flops.get_total_flops() / 1e12, memory.peak / GIB


def decoding(vae: AutoencoderKL, side: int = 256) -> tuple[float, float]:
    """(TFLOP, GiB) of decoding one frame of a megapixel, counted on a copy of `vae` on the meta device."""
    bare = AutoencoderKL.from_config(vae.config).to("meta", torch.float16).eval()
    width = side // LATENT_FACTOR
    latents = torch.empty(1, 4, width, width, device="meta", dtype=torch.float16)
    with torch.no_grad(), FlopCounterMode(display=False) as flops:
        bare.decode(latents)
    with torch.no_grad(), PeakMemory() as memory:
        bare.decode(latents)
    megapixels = side * side / 1e6
    return flops.get_total_flops() / 1e12 / megapixels, memory.peak / GIB / megapixels


def fit_cost(parts: Parts) -> Cost:
    """Least squares over SHAPES of the two FLOP terms, and the memory of a megapixel-frame."""
    bare = I2VGenXLUNet.from_config(parts.unet.config).to("meta", torch.float16).eval()
    rows, tflops, per_frame = [], [], []
    for frames, side in SHAPES:
        megapixels = side * side / 1e6
        work, memory = guided_step(bare, frames, side)
        rows.append([frames * megapixels, frames * megapixels**2])
        tflops.append(work)
        if side == SHAPES[0][1]:
            # Attention without a card makes its scores, which fused kernels never do; at the small size they are few.
            per_frame.append(memory / (frames * megapixels))
    solution = torch.linalg.lstsq(torch.tensor(rows), torch.tensor(tflops)[:, None]).solution.flatten()
    gib = {name: sum(w.numel() * 2 for w in getattr(parts, name).parameters()) / GIB for name in WEIGHTS}
    tflop_decode, decode_gib = decoding(parts.vae)
    return Cost(
        tflop_linear=round(float(solution[0]), 4),
        tflop_spatial=round(float(solution[1]), 4),
        tflop_decode=round(tflop_decode, 4),
        weights_gib=round(sum(gib.values()), 4),
        activation_gib=round(max(per_frame), 4),
        offloaded_gib=round(sum(gib.values()) - gib["unet"], 4),
        decode_gib=round(decode_gib, 4),
        unguided_share=UNGUIDED_SHARE,
        cached_linear=CACHED_SHARE,
        cached_spatial=0.0,  # the outermost level attends to nothing
        # The next level's channels at the outermost one's size, of both halves.
        cached_gib=round(1e6 / LATENT_FACTOR**2 * parts.unet.config.block_out_channels[1] * 2 * 2 / GIB, 4),
    )


def profile(cost: Cost) -> ModelProfile:
    """The built-in model's table."""
    return ModelProfile(
        name="builtin",
        default_resolution="256p",
        resolutions={"256p": 256, "512p": 512},
        num_frames=Range(low=8, high=32, default=8),
        fps=Range(low=4, high=24, default=8),
        num_inference_steps=Range(low=4, high=50, default=6),
        guidance_scale=Range(low=1.0, high=5.0, default=1.0),
        negative_prompt=None,
        presets={
            "preview": Preset(resolution="256p", num_frames=8, num_inference_steps=4, fps=8),
            "standard": Preset(resolution="256p", num_frames=8, num_inference_steps=6, fps=8),
            "high": Preset(resolution="256p", num_frames=16, num_inference_steps=10, fps=8),
        },
        # How far they are is of the very weights: `python -m loadtest.accelerations --model FOLDER`.
        accelerations={name: Distance() for name, row in ACCELERATIONS.items() if not row.compute_capability},
        cost=cost,
    )
