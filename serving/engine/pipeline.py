"""One model on one device: `load`, `warm_up`, `generate`.

Knows nothing of HTTP, Ray, jobs or MP4.
"""

from __future__ import annotations

import logging
import time
from functools import partial
from typing import Any

import torch
from PIL import Image

from serving.engine import card, decoding, kernels, sampler
from serving.engine.conditioning import condition, generator_for
from serving.engine.contract import Clip, OnStep, ShouldStop, Source
from serving.engine.decoder import Decoder
from serving.engine.replay import Replay
from serving.engine.unet import UNet
from serving.engine.weights import Modules, Weights, default_dtype, load
from serving.errors import DoesNotFit, InsufficientGpuMemory
from serving.request import VideoParameters, VideoRequest, resolve
from serving.scheduling.accelerations import lacking, steps
from serving.scheduling.plans import PLANS, MemoryPlan, largest_fitting, smaller_plans

logger = logging.getLogger(__name__)


class Pipeline:
    """A loaded model. One request at a time: it is not for several threads."""

    def __init__(
        self, weights: Weights, modules: Modules, device: torch.device, *, decode_chunk: int | None = None
    ) -> None:
        self.weights = weights
        self.modules = modules
        self.device = device
        self.decode_chunk = decode_chunk
        self.card = card.describe(device)
        self.replay = Replay(UNet(modules.unet))

    @classmethod
    def load(
        cls,
        weights: Weights,
        *,
        device: torch.device | str,
        dtype: torch.dtype | None = None,
        decode_chunk: int | None = None,
    ) -> Pipeline:
        """Load `weights` onto `device`.

        Args:
            dtype: by default float16 on CUDA and float32 elsewhere.
            decode_chunk: frames the VAE decodes at once; by default what the free memory holds.

        Raises:
            WeightsUnavailable: a file does not fit its configuration.
            InsufficientGpuMemory: the card cannot hold the weights.
        """
        device = torch.device(device)
        if device.type == "cpu":
            card.keep_freed_memory()
        try:
            modules = load(weights, device, default_dtype(device) if dtype is None else dtype)
        except RuntimeError as error:
            if not card.is_out_of_memory(error):
                raise
        else:
            card.release(device)  # what casting left behind
            return cls(weights, modules, device, decode_chunk=decode_chunk)
        card.release(device)
        raise InsufficientGpuMemory(f"The card has too little free memory for the weights of {weights.name!r}.")

    @property
    def source(self) -> Source:
        dtype = str(self.modules.unet.dtype).removeprefix("torch.")
        scheduler = type(self.modules.scheduler).__name__
        return Source(self.weights.name, self.weights.revision, dtype, kernels.path(self.device), scheduler)

    def warm_up(self) -> None:
        """Run one step of the shortest, smallest legal clip, so that the first job does not pay for first use."""
        profile = self.weights.profile
        smallest = VideoParameters(
            prompt="a slow pan",
            resolution=min(profile.resolutions, key=profile.side),
            num_frames=int(profile.num_frames.low),
        )
        request = resolve(smallest, profile, seed=0).model_copy(update={"num_inference_steps": 1})
        self.generate(Image.new("RGB", (request.width, request.height), "grey"), request)

    def plan_for(self, request: VideoRequest) -> MemoryPlan:
        """The fastest plan expected to fit this card; on a CPU, where memory is no limit, the first."""
        if self.device.type != "cuda":
            return PLANS[0]
        fitting = largest_fitting(request.shape, self.weights.profile.cost, self.card.memory_bytes / 2**30)
        return PLANS[-1] if fitting is None else fitting

    def generate(
        self,
        picture: Image.Image,
        request: VideoRequest,
        *,
        on_step: OnStep | None = None,
        should_stop: ShouldStop | None = None,
        plan: MemoryPlan = PLANS[0],
    ) -> Clip:
        """The clip of one request.

        Where the card runs out of memory the clip is begun anew by the next smaller plan.

        Args:
            picture: RGB, best of exactly the request's (width, height); else its middle is taken.
            on_step: told (steps done, steps in all) after each step.
            should_stop: asked before each step and before each chunk of frames is decoded.
            plan: the memory plan to begin with.

        Raises:
            Cancelled: `should_stop` said so.
            DoesNotFit: the card cannot do one of the request's accelerations.
            InsufficientGpuMemory: the card ran out of memory by every plan; it is freed for the next request.
            GenerationFailed: the frames are not finite.
        """
        if beyond := lacking(request.acceleration, self.card.compute_capability):
            have = f"this {self.card.name} has {self.card.compute_capability:g}"
            raise DoesNotFit(f"acceleration: {beyond}; {have}.", param="acceleration")
        for attempt in (plan, *smaller_plans(plan, request.guided)):
            try:
                return self._generate(picture, request, on_step or _ignore, should_stop or _never, attempt)
            except RuntimeError as error:
                if not card.is_out_of_memory(error):
                    raise
            # Outside the handler: inside it the error's traceback would keep every activation alive.
            self.replay.clear()
            card.release(self.device)
            logger.warning("out of memory by plan %s: %s x %d", attempt.name, request.size, request.num_frames)
        raise InsufficientGpuMemory(
            f"The card ran out of memory on this job: {request.size} with {request.num_frames} frames does not fit "
            f"into the {self.card.memory_bytes / 2**30:.0f} GiB of this {self.card.name}; fewer frames or a lower "
            "resolution may."
        )

    @torch.inference_mode()
    def _generate(
        self, picture: Image.Image, request: VideoRequest, on_step: OnStep, should_stop: ShouldStop, plan: MemoryPlan
    ) -> Clip:
        modules, generator = self.modules, generator_for(request.seed)
        card.start_peak(self.device)
        started = self._now()
        self._move(modules.text_encoder, modules.image_encoder, modules.vae, to=self.device)
        conditioning = condition(modules, picture, request, generator)
        if plan.offload:
            self._move(modules.text_encoder, modules.image_encoder, modules.vae, to=torch.device("cpu"))
            card.release(self.device)
        self.replay.use_float8("fp8" in request.acceleration)
        conditioned = self._now()
        latents = sampler.denoise(
            sampler.unet_predictor(self.replay, conditioning, sequential=plan.sequential),
            conditioning.noise,
            sampler.scheduler_for(modules.scheduler, request.acceleration),
            num_inference_steps=request.num_inference_steps,
            guidance_scale=request.guidance_scale,
            generator=generator,
            on_step=on_step,
            should_stop=should_stop,
            steps=partial(steps, names=request.acceleration),
        )
        denoised = self._now()
        self._move(modules.vae, to=self.device)
        # Of weights where they are now. On a CPU the module itself is the faster one.
        decoder = Decoder(modules.vae) if self.device.type == "cuda" else decoding.stock(modules.vae)
        chunk = self.decode_chunk
        if chunk is None:
            chunk = decoding.chunk_for(modules.vae, request.width, request.height)
        frames = decoding.decode(decoder, latents / modules.vae.config.scaling_factor, chunk, should_stop)
        timings = {
            "condition": conditioned - started,
            "denoise": denoised - conditioned,
            "decode": self._now() - denoised,
        }
        return Clip(frames, timings, card.peak_bytes(self.device), plan.name)

    def _move(self, *modules: Any, to: torch.device) -> None:
        for module in modules:
            # Always: a move that ran out of memory leaves a module in two places. torch's own `to`, as that of
            # diffusers warns of every move.
            torch.nn.Module.to(module, to)

    def _now(self) -> float:
        """Seconds, once the device has done what it was given."""
        card.synchronize(self.device)
        return time.perf_counter()


def _ignore(step: int, total: int) -> None:
    pass


def _never() -> bool:
    return False
