"""The UNet, trained to turn noise, a picture and words into the clip of the picture making the move named.

v-prediction over the zero-SNR schedule of the folder. Clips are rendered, encoded and kept in a short ring, so that
each is met about twice, with other noise and another prompt of the same meaning. The text and picture encoders are
frozen; so is the VAE.
"""

from __future__ import annotations

import math
import random
import time
from dataclasses import dataclass

import torch
from torch import Tensor

from serving.training.architecture import LATENT_FACTOR, WIDTH, Parts
from serving.training.autoencoder import means
from serving.training.capture import Recorded
from serving.training.checkpoint import Checkpoint
from serving.training.fast import quicken
from serving.training.frames import Gallery
from serving.training.masters import Masters
from serving.training.moves import MOVES, render
from serving.training.phrases import draw
from serving.training.text import STRENGTHS, code_index, states, tokenize
from serving.training.vision import clip_pixels

FORGOTTEN = 0.06
"""How often prompt and picture embedding are left out, so that guidance means something."""
PURE_NOISE = 0.25
"""How often a step is the sampler's first, where the whole clip is decided; oftener of larger shapes."""
DOUBTFUL = 400
"""The first time whose noise hides enough for a clip that moves too little to pass for the right one."""


@dataclass(frozen=True)
class Shape:
    """A kind of batch: `share` of the steps have `clips` clips of this shape."""

    frames: int
    height: int
    width: int
    clips: int
    share: float

    @property
    def shift(self) -> float:
        """How many times more noise hides as much as at 256p: noise is averaged over a larger picture's pixels."""
        return max(1.0, math.sqrt(self.height * self.width) / 256)


SHAPES = (
    Shape(8, 256, 256, 12, 0.64),
    Shape(16, 256, 256, 6, 0.12),
    Shape(8, 192, 344, 12, 0.12),
    Shape(8, 344, 192, 12, 0.12),
)
LARGE_SHAPES = (
    Shape(8, 512, 512, 4, 0.34),
    Shape(16, 512, 512, 2, 0.06),
    Shape(8, 384, 680, 4, 0.08),
    Shape(8, 680, 384, 4, 0.08),
    Shape(8, 384, 384, 6, 0.1),
    Shape(8, 256, 256, 12, 0.18),
    Shape(16, 256, 256, 6, 0.06),
    Shape(8, 192, 344, 12, 0.05),
    Shape(8, 344, 192, 12, 0.05),
)
"""What a UNet that knows 256p learns 512p from; a third of the steps are of what it knows."""
TINY = (Shape(4, 32, 32, 4, 0.5), Shape(4, 32, 40, 4, 0.5))


class Prompts:
    """Text states of many drawn prompts, by what they mean."""

    def __init__(self, parts: Parts, count: int, device: torch.device, *, seed: int) -> None:
        rng = random.Random(seed)  # noqa: S311 - prompts, not secrets
        phrases = [draw(rng) for _ in range(count)]
        self.by_code: dict[int, list[int]] = {}
        for index, phrase in enumerate(phrases):
            self.by_code.setdefault(code_index(phrase), []).append(index)
        texts = [*(phrase.text for phrase in phrases), ""]
        encoder = parts.text_encoder.to(device)
        with torch.no_grad():
            rows = [states(encoder, tokenize(parts.tokenizer, texts[at : at + 256]).to(device)).bfloat16()
                    for at in range(0, len(texts), 256)]  # fmt: skip
        self.states = torch.cat(rows)

    def pick(self, codes: list[int], rng: random.Random) -> Tensor:
        """(codes, 77, WIDTH): one prompt for each code; -1 is the empty prompt."""
        rows = [rng.choice(self.by_code[code]) if code >= 0 else len(self.states) - 1 for code in codes]
        return self.states[rows]


class Ring:
    """The last clips of one shape: latents, picture embeddings, and what each one does."""

    def __init__(self, shape: Shape, parts: Parts, gallery: Gallery, *, length: int = 20) -> None:
        self.shape, self.parts, self.gallery, self.at = shape, parts, gallery, 0
        size, device = length * shape.clips, gallery.pictures.device
        high, wide = shape.height // LATENT_FACTOR, shape.width // LATENT_FACTOR
        self.latents = torch.zeros(size, 4, shape.frames, high, wide, device=device, dtype=torch.bfloat16)
        self.embeddings = torch.zeros(size, 1, WIDTH, device=device, dtype=torch.bfloat16)
        self.codes = [0] * size

    @torch.no_grad()
    def renew(self, vae: torch.nn.Module, rng: random.Random) -> None:
        """Replace the oldest clips."""
        shape, count = self.shape, self.shape.clips
        codes = [_any_code(rng) for _ in range(count)]
        pictures = self.gallery.cut(count, shape.height, shape.width)
        strengths = [STRENGTHS[code % 2] for code in codes]
        clips = render(pictures, [code // 2 for code in codes], strengths, shape.frames)
        kind = next(vae.parameters()).dtype
        latents = means(vae, clips.flatten(0, 1).to(kind).contiguous(memory_format=torch.channels_last))
        rows = slice(self.at, self.at + count)
        self.latents[rows] = latents.view(count, shape.frames, *latents.shape[1:]).transpose(1, 2)
        self.embeddings[rows] = self.parts.image_encoder(clip_pixels(pictures)).image_embeds[:, None]
        self.codes[rows] = codes
        self.at = (self.at + count) % len(self.codes)


def _any_code(rng: random.Random) -> int:
    """A move and a strength; full moves, which show more, are likelier, and so are those that are learned last."""
    move = rng.choices(range(len(MOVES)), [0.06, *[0.08] * 4, *[0.155] * 4])[0]
    return 2 * move + (1 if move == 0 or rng.random() < 0.7 else 0)


def image_latents(first: Tensor, frames: int) -> Tensor:
    """(B, 4, F, h, w): the picture's latents, then how far along each later frame is, as the pipeline makes them."""
    progress = torch.arange(1, frames, device=first.device, dtype=first.dtype) / (frames - 1)
    later = progress[None, None, :, None, None].expand(*first.shape[:2], -1, *first.shape[2:])
    return torch.cat([first[:, :, None], later], 2)


def train_unet(
    parts: Parts,
    gallery: Gallery,
    checkpoint: Checkpoint,
    *,
    seconds: float,
    shapes: tuple[Shape, ...] = SHAPES,
    rate: float = 8e-4,
    least: float = 0.02,
    doubt: float = 0.0,
    seed: int = 0,
) -> None:
    """Train in place for `seconds` in all, those before the checkpoint counted in.

    The learning rate falls from `rate` to `least` of it. `doubt` is how often, of the steps that are noisy enough, the
    noise lies over a clip that moves too little, as it does where the sampler began so: the move is in the words.
    """
    device = gallery.pictures.device
    kind = torch.bfloat16 if device.type == "cuda" else torch.float32
    unet = parts.unet.to(device).eval()
    masters = Masters(unet, rate=rate, least=least)
    unet.to(kind)
    vae = parts.vae.to(device, kind).to(memory_format=torch.channels_last)
    parts.image_encoder.to(device)
    quicken(unet)
    prompts = Prompts(parts, 6000 if device.type == "cuda" else 300, device, seed=seed)
    alphas = parts.scheduler.alphas_cumprod.to(device).float()
    before_s = masters.resume(checkpoint)
    rng = random.Random(seed + masters.steps)  # noqa: S311 - training, not secrets

    def loss(clean: Tensor, seen: Tensor, noise: Tensor, time_: Tensor, picture: Tensor, embedding: Tensor,
             text: Tensor, fps: Tensor) -> Tensor:  # fmt: skip
        signal, sigma = (a[:, None, None, None, None] for a in (alphas[time_].sqrt(), (1 - alphas[time_]).sqrt()))
        noisy, wanted = posed(clean, seen, noise, signal, sigma)
        made = unet(noisy.to(kind), time_, fps, picture, embedding, text, return_dict=False)[0]
        error: Tensor = ((made.float() - wanted).square() * sigma).mean()
        return error

    rings = [Ring(shape, parts, gallery, length=20 if device.type == "cuda" else 2) for shape in shapes]
    steps: list[Recorded] = []
    for ring in rings:
        for _ in range(len(ring.codes) // ring.shape.clips):
            ring.renew(vae, rng)
        beside = steps[0] if steps else None
        steps.append(Recorded(unet, loss, _batch(ring, prompts, rng, kind, doubt), beside=beside))
    started = time.monotonic() - before_s
    print(f"unet: ready at step {masters.steps}", flush=True)
    while (elapsed := time.monotonic() - started) < seconds:
        chosen = rng.choices(range(len(shapes)), [shape.share for shape in shapes])[0]
        if masters.steps % 2 == 0:
            rings[chosen].renew(vae, rng)
        value, grads = steps[chosen](**_batch(rings[chosen], prompts, rng, kind, doubt))
        masters.step(grads, elapsed / seconds)
        if masters.steps % 100 == 0 or masters.steps < 3:
            print(f"unet {masters.steps}: loss {value.item():.4f}, {elapsed:.0f} s", flush=True)
        if checkpoint.due:
            checkpoint.save(masters.state(elapsed))
    unet.to(torch.float32)
    masters.finish()
    print(f"unet: {masters.steps} steps", flush=True)


def posed(clean: Tensor, seen: Tensor, noise: Tensor, signal: Tensor, sigma: Tensor) -> tuple[Tensor, Tensor]:
    """The noise over the clip seen, and the v that leads from there to the clean one; the usual v if that was seen."""
    return signal * seen + sigma * noise, signal * noise - sigma * clean + signal.square() / sigma * (seen - clean)


def time_of(rng: random.Random, shape: Shape) -> int:
    """A time to train at: pure noise, or any from 10 on, towards more noise the larger the shape."""
    if rng.random() < min(0.9, PURE_NOISE * math.sqrt(shape.shift)):
        return 999
    even = rng.random()
    return max(10, int(1000 * shape.shift * even / (1 + (shape.shift - 1) * even)))


def lagging(clean: Tensor, shares: list[float]) -> Tensor:
    """Clips (B, 4, F, h, w) with so much of each one's first frame mixed into all: 0 leaves a clip, 1 stands still."""
    share = torch.tensor(shares, device=clean.device)[:, None, None, None, None]
    return clean.lerp(clean[:, :, :1].expand_as(clean), share)


def _batch(ring: Ring, prompts: Prompts, rng: random.Random, kind: torch.dtype, doubt: float) -> dict[str, Tensor]:
    """One training batch from a ring, in the shapes `loss` takes."""
    clips, device = ring.shape.clips, ring.latents.device
    rows = rng.sample(range(len(ring.codes)), clips)
    forgotten = [rng.random() < FORGOTTEN for _ in rows]
    clean = ring.latents[rows].float()
    text = prompts.pick([-1 if gone else ring.codes[row] for row, gone in zip(rows, forgotten, strict=True)], rng)
    kept = torch.tensor([0.0 if gone else 1.0 for gone in forgotten], device=device)[:, None, None]
    times = [time_of(rng, ring.shape) for _ in rows]
    # Where the words are forgotten nothing but the clip seen can tell the move.
    lag = [rng.random() if time >= DOUBTFUL and not gone and rng.random() < doubt else 0.0
           for time, gone in zip(times, forgotten, strict=True)]  # fmt: skip
    return {
        "clean": clean,
        "seen": lagging(clean, lag),
        "noise": torch.randn_like(clean),
        "time_": torch.tensor(times, device=device),
        "picture": image_latents(clean[:, :, 0], ring.shape.frames).to(kind),
        "embedding": (ring.embeddings[rows] * kept).to(kind),
        "text": text.to(kind),
        "fps": torch.tensor([rng.randint(4, 24) for _ in rows], device=device),
    }
