"""One model on one device: `load`, `warm_up`, `generate`.

Knows nothing of HTTP, Ray, jobs or MP4.
"""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass
from functools import partial

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image

from serving.engine import card, decoding, kernels, partner, sampler
from serving.engine.conditioning import Reading, condition, read
from serving.engine.contract import Clip, GiveWay, OnHalf, OnStep, ShouldStop, Source
from serving.engine.decoder import Decoder
from serving.engine.encoders import Encoders
from serving.engine.link import Link, Meeting
from serving.engine.modules import Modules, default_dtype, load
from serving.engine.partner import Partner
from serving.engine.pause import Pauses
from serving.engine.replay import Replay
from serving.engine.residence import Residence
from serving.engine.unet import UNet
from serving.engine.weights import Weights
from serving.errors import DoesNotFit, InsufficientGpuMemory
from serving.parameters import VideoParameters
from serving.request import VideoRequest, resolve
from serving.scheduling.accelerations import lacking, steps
from serving.scheduling.plans import PLANS, MemoryPlan, decode_chunk, largest_fitting, needed_gib, smaller_plans

logger = logging.getLogger(__name__)
OFFLOADED = ("text_encoder", "image_encoder", "vae")


class Pipeline:
    """A loaded model. One request at a time, or one between two steps of another: it is not for several threads."""

    def __init__(
        self, weights: Weights, modules: Modules, device: torch.device, *, decode_chunk: int | None = None
    ) -> None:
        self.weights = weights
        self.modules = modules
        self.device = device
        self.decode_chunk = decode_chunk
        self.card = card.describe(device)
        self.replay = Replay(UNet(modules.unet))
        self.encoders = Encoders(modules)
        self._residence = Residence(modules, device)

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
        if device.type == "cuda":
            card.grow_in_place()
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
        if self._memory_gib is None:
            return PLANS[0]
        return largest_fitting(request.shape, self.weights.profile.cost, self._memory_gib) or PLANS[-1]

    def read(self, picture: Image.Image, request: VideoRequest) -> Reading:
        """The part of `generate` that needs no card, to be given to it in the picture's place; for any thread."""
        return read(self.modules, picture, request)

    @torch.inference_mode()
    def generate(
        self,
        picture: Image.Image | Reading,
        request: VideoRequest,
        *,
        on_step: OnStep | None = None,
        should_stop: ShouldStop | None = None,
        plan: MemoryPlan = PLANS[0],
        meeting: Meeting | None = None,
        give_way: GiveWay | None = None,
    ) -> Clip:
        """The clip of one request.

        Where the card runs out of memory while it denoises, the clip is begun anew, without a second card: by the same
        plan if graphs held memory, else by the next smaller one. What is denoised is kept: decoding takes fewer frames
        at once, or what it does not need leaves the card.

        Args:
            picture: RGB, best of exactly the request's (width, height), else its middle is taken; or what `read`
                made of it and this request.
            on_step: told (steps done, steps in all) after each step.
            should_stop: asked before each step and before each chunk of frames is decoded.
            plan: the memory plan to begin with.
            meeting: where a second card waits to `assist` with a guided request; it need not be there, nor stay.
            give_way: asked between two steps for what is to be done first, such as `generate` of another request: this
                one then goes on where it was, to the same frames.

        Raises:
            Cancelled: `should_stop` said so.
            DoesNotFit: the card cannot do one of the request's accelerations.
            InsufficientGpuMemory: the card ran out of memory by every plan; it is freed for the next request.
            GenerationFailed: the frames are not finite.
        """
        if beyond := lacking(request.acceleration, self.card.compute_capability):
            have = f"this {self.card.name} has {self.card.compute_capability:g}"
            raise DoesNotFit(f"acceleration: {beyond}; {have}.", param="acceleration")
        should_stop = should_stop or _never
        pauses = Pauses(self.device, give_way)
        reading = picture if isinstance(picture, Reading) else self.read(picture, request)
        self._leave_room(plan, request)
        attempts = [plan, *smaller_plans(plan, request.guided)]
        if self.replay.held_bytes:
            attempts.insert(0, plan)
        with partner.met(meeting if request.guided and not request.acceleration else None, self.source) as second:
            for number, attempt in enumerate(attempts, 1):
                paused_s = pauses.seconds
                try:
                    denoised = self._denoise(reading, request, on_step or _ignore, should_stop, attempt, second, pauses)
                    break
                except RuntimeError as error:
                    if not card.is_out_of_memory(error):
                        raise
                # Outside the handler: inside it the error's traceback would keep every activation alive.
                self._free()
                if pauses.seconds > paused_s:  # what was done meanwhile may be what took the memory
                    attempts.insert(number, attempt)
                if second is not None:
                    second.leave()
                    second = None
                logger.warning("out of memory by plan %s: %s x %d", attempt.name, request.size, request.num_frames)
            else:
                raise self._too_small_for(request)
        began = self._now()
        card.start_peak(self.device)
        frames = self._decode(denoised.latents, request, should_stop, attempt)
        if frames is None:
            del denoised
            raise self._too_small_for(request)
        timings = denoised.timings | {"decode": self._now() - began}
        peaks = denoised.peaks | self._peak("decode")
        peak = max(peaks.values(), default=None)
        return Clip(frames, timings, peak, attempt.name, denoised.shared_steps, peaks, pauses.seconds)

    @torch.inference_mode()
    def assist(
        self,
        link: Link,
        request: VideoRequest,
        *,
        on_half: OnHalf | None = None,
        should_stop: ShouldStop | None = None,
    ) -> int:
        """Predict one guidance half of each step for the card at the other end of `link`, until it needs no more.

        Args:
            request: what that card renders.
            on_half: told after each half how many they are by now.
            should_stop: asked while the other card is waited for.

        Returns:
            How many halves it predicted.

        Raises:
            Cancelled: `should_stop` said so.
            LinkLost: the other card is gone, or computes with something else.
            InsufficientGpuMemory: this card ran out of memory; it is freed for the next request.
        """
        plan = self.plan_for(request)
        self._leave_room(plan, request)
        try:
            self._offload(plan)
            self.replay.use_float8(False)
            self.replay.unet.chunked = plan.chunked
            card.start_peak(self.device)
            return partner.assist(
                self.replay, link, self.source, on_half=on_half or _ignore, should_stop=should_stop or _never
            )
        except RuntimeError as error:
            if not card.is_out_of_memory(error):
                raise
        self._free()
        raise self._too_small_for(request)

    def _leave_room(self, plan: MemoryPlan, request: VideoRequest) -> None:
        """Placement counts on the whole card: graphs keep what a clip leaves over, and no more."""
        needed = needed_gib(plan, request.shape, self.weights.profile.cost) * 2**30
        if self.replay.held_bytes and self.card.memory_bytes - self.replay.held_bytes < needed:
            self.replay.clear()
            card.release(self.device)

    def _offload(self, plan: MemoryPlan) -> None:
        if plan.offload and self._residence.send_away(*OFFLOADED):
            card.release(self.device)

    def _make_ready(self, plan: MemoryPlan, request: VideoRequest) -> None:
        """What denoising by `plan` wants of the model, whatever was done before."""
        self._leave_room(plan, request)
        self._offload(plan)
        self.replay.use_float8("fp8" in request.acceleration)
        self.replay.unet.chunked = plan.chunked

    def _free(self) -> None:
        """Give back what a request that ran out of memory left behind, and what is kept for the next."""
        self.replay.clear()
        self.encoders.clear()
        card.release(self.device)

    def _denoise(
        self,
        reading: Reading,
        request: VideoRequest,
        on_step: OnStep,
        should_stop: ShouldStop,
        plan: MemoryPlan,
        second: Partner | None,
        pauses: Pauses,
    ) -> _Denoised:
        card.start_peak(self.device)
        started = self._now()
        self._residence.bring(*self.encoders.wanted(reading.tokens, reading.sight))
        conditioning = condition(self.encoders, reading, request)
        self._make_ready(plan, request)
        conditioned = self._now()
        peaks = self._peak("condition")
        card.start_peak(self.device)
        paused_s = pauses.seconds
        if second is None:
            predict = sampler.unet_predictor(self.replay, conditioning, sequential=plan.sequential)
        else:
            predict = second.predictor(self.replay, conditioning, should_stop)
        latents = sampler.denoise(
            predict,
            conditioning.noise,
            sampler.scheduler_for(self.modules.scheduler, request.acceleration),
            num_inference_steps=request.num_inference_steps,
            guidance_scale=request.guidance_scale,
            generator=reading.generator.clone_state(),
            on_step=on_step,
            should_stop=should_stop,
            steps=partial(steps, names=request.acceleration),
            give_way=pauses.give_way(partial(self._make_ready, plan, request)),
        )
        denoise_s = self._now() - conditioned - (pauses.seconds - paused_s)
        timings = {"condition": conditioned - started, "denoise": denoise_s}
        if (peak := pauses.peak_bytes()) is not None:
            peaks["denoise"] = peak
        return _Denoised(latents, timings, peaks, 0 if second is None else second.steps)

    def _decode(
        self, latents: torch.Tensor, request: VideoRequest, should_stop: ShouldStop, plan: MemoryPlan = PLANS[0]
    ) -> npt.NDArray[np.uint8] | None:
        """The frames; None where not even one fits into the card's memory."""
        vae = self.modules.vae
        while True:
            try:
                self._residence.bring("vae")
                # Of weights where they are now. On a CPU the module itself is the faster one.
                decoder = Decoder(vae) if self.device.type == "cuda" else decoding.stock(vae)
                chunk = self.decode_chunk
                if chunk is None:
                    chunk = min(
                        decoding.chunk_for(vae, request.width, request.height, self.replay.held_bytes),
                        decode_chunk(plan, request.shape, self.weights.profile.cost, self._memory_gib),
                    )
                return decoding.decode(decoder, latents / vae.config.scaling_factor, chunk, should_stop)
            except RuntimeError as error:
                if not card.is_out_of_memory(error):
                    raise
            logger.warning("out of memory to decode a frame of %s", request.size)
            # What decoding does not need.
            made_room = self.replay.clear() or self._residence.send_away("text_encoder", "image_encoder")
            self.encoders.clear()
            card.release(self.device)
            if not made_room:
                return None

    def _too_small_for(self, request: VideoRequest) -> InsufficientGpuMemory:
        return InsufficientGpuMemory(
            f"The card ran out of memory on this job: {request.size} with {request.num_frames} frames does not fit "
            f"into the {self.card.memory_bytes / 2**30:.0f} GiB of this {self.card.name}; fewer frames or a lower "
            "resolution may."
        )

    @property
    def _memory_gib(self) -> float | None:
        """Of the card; None on a CPU, where memory is no limit."""
        return self.card.memory_bytes / 2**30 if self.device.type == "cuda" else None

    def _peak(self, stage: str) -> dict[str, int]:
        peak = card.peak_bytes(self.device)
        return {} if peak is None else {stage: peak}

    def _now(self) -> float:
        """Seconds, once the device has done what it was given."""
        card.synchronize(self.device)
        return time.perf_counter()


@dataclass(frozen=True)
class _Denoised:
    latents: torch.Tensor
    timings: dict[str, float]
    peaks: dict[str, int]
    shared_steps: int


def _ignore(*progress: int) -> None:
    pass


def _never() -> bool:
    return False
