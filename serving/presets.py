"""What a model allows: legal sizes, ranges, defaults and presets, one row each.

A model ships its own `profile.json` beside its weights; the published I2VGen-XL folder has none, so its row stands
here. Knows nothing of requests, HTTP or the engine.
"""

from __future__ import annotations

from pathlib import Path

from pydantic import BaseModel, ConfigDict, field_validator

from serving.scheduling.accelerations import ACCELERATIONS

PROFILE_FILE = "profile.json"
BUILTIN = "builtin"
BUILTIN_FOLDER = Path(__file__).parent / "models" / "builtin"
PUBLISHED = "ali-vilab/i2vgen-xl"
RANDOM = "random-i2vgen-xl"
"""The full architecture with random weights, for benchmarks alone."""
EMULATED = "emulated"
"""No model at all: a card that is as busy as I2VGen-XL would keep it, for load tests alone."""
ASPECT_LIMIT = 16 / 9  # sides may differ by this factor, either way round
SIDE_MULTIPLE = 8


class _Row(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Range(_Row):
    """Inclusive bounds and the default of one parameter."""

    low: float
    high: float
    default: float


class Preset(_Row):
    """Values used where the request names none."""

    resolution: str
    num_frames: int
    num_inference_steps: int
    fps: int


class Advice(_Row):
    """A warning for guidance scales over, or under, a bound; of the rows that apply the first one speaks."""

    warning: str
    suggestion: str | None = None
    code: str = "guidance"
    over: float | None = None
    under: float | None = None

    def applies(self, guidance_scale: float) -> bool:
        return (self.over is not None and guidance_scale > self.over) or (
            self.under is not None and guidance_scale < self.under
        )


class Cost(_Row):
    """Work and memory of one denoising step, by counts of the model.

    With N megapixel-frames and S megapixels a frame, a guided step takes `N * (tflop_linear + tflop_spatial * S)`
    TFLOP and holds `weights_gib + activation_gib * N` GiB; decoding takes `tflop_decode * N`. Memory is that of the
    tensors alive at once in half precision; what libraries take beside is `scheduling.plans`' business.
    """

    tflop_linear: float
    tflop_spatial: float
    tflop_decode: float
    weights_gib: float
    activation_gib: float
    offloaded_gib: float = 0.0
    """GiB of the weights that denoising does not need: the encoders and the VAE."""
    vae_gib: float = 0.0
    """GiB of the VAE's among them."""
    one_half_gib: float | None = None
    """As `activation_gib`, of a step of one guidance half; half as much where left out."""
    in_pieces_gib: tuple[float, float, float] | None = None
    """The same where a few frames are taken at once: of both halves and of one, for a megapixel-frame, and of a piece,
    for a megapixel. None where it saves nothing."""
    encode_gib: float = 0.0
    """GiB that encoding a picture of a megapixel holds."""
    unguided_share: float = 0.5
    """Of a guided step's work, what a step without guidance does: over half, as the halves share their beginning."""
    decode_gib: float = 0.0
    """GiB that decoding one frame of a megapixel holds."""
    cached_linear: float = 1.0
    """Of the operations that are linear in the pixels, what a step on cached features (deepcache) still does."""
    cached_spatial: float = 1.0
    """The same of attention within a frame."""
    cached_gib: float = 0.0
    """GiB of those features, of both halves, for a megapixel-frame."""
    float8_gib: float = 0.0
    """GiB of the weights that fp8 holds beside the exact ones."""

    @property
    def half_gib(self) -> float:
        """GiB that a step of one guidance half holds, for a megapixel-frame."""
        return self.activation_gib / 2 if self.one_half_gib is None else self.one_half_gib

    @property
    def chunked_gib(self) -> float:
        """As `activation_gib`, of what is whole where a few frames are taken at once."""
        return self.activation_gib if self.in_pieces_gib is None else self.in_pieces_gib[0]

    @property
    def chunked_half_gib(self) -> float:
        """As `half_gib`, the same."""
        return self.half_gib if self.in_pieces_gib is None else self.in_pieces_gib[1]

    @property
    def piece_gib(self) -> float:
        """GiB that those frames hold beside it, for a megapixel."""
        return 0.0 if self.in_pieces_gib is None else self.in_pieces_gib[2]


class Distance(_Row):
    """How far an acceleration's clip was from the exact one where both were made (`python -m loadtest.accelerations`).

    None where nobody has measured it on these weights.
    """

    psnr_db: float | None = None
    """Of the frames, in dB."""
    latent_error: float | None = None
    """Of the latents before decoding, relative to them."""
    speed_up: float | None = None
    """Of the whole clip; None where the device did not really have it."""
    clip: str | None = None
    """Which clips these are, and on what."""


class ModelProfile(_Row):
    """One model's table of ranges, defaults and presets."""

    name: str
    default_resolution: str
    resolutions: dict[str, int]
    """Area class: name to the side, in pixels, of the square with that area."""
    num_frames: Range
    fps: Range
    num_inference_steps: Range
    guidance_scale: Range
    negative_prompt: str | None
    """The default; None where the model takes no negative prompt."""
    guidance_advice: tuple[Advice, ...] = ()
    presets: dict[str, Preset]
    accelerations: dict[str, Distance] = {}
    """Those that may be asked for; a profile that names none offers none."""
    cost: Cost

    @field_validator("accelerations")
    @classmethod
    def _known(cls, value: dict[str, Distance]) -> dict[str, Distance]:
        if unknown := set(value) - set(ACCELERATIONS):
            raise ValueError(f"unknown: {', '.join(sorted(unknown))}; there are {', '.join(ACCELERATIONS)}")
        return value

    def side(self, resolution: str) -> int:
        return self.resolutions[resolution]

    def faster(self, times: float) -> ModelProfile:
        """The same model with a `times`-th of the work; its memory stays."""
        cost = self.cost
        work = {name: getattr(cost, name) / times for name in ("tflop_linear", "tflop_spatial", "tflop_decode")}
        return self.model_copy(update={"cost": cost.model_copy(update=work)})

    @property
    def area_limits(self) -> tuple[int, int]:
        """Smallest and largest legal area in pixels: the classes' own, with a tenth of tolerance."""
        sides = self.resolutions.values()
        return int(min(sides) ** 2 * 0.9), int(max(sides) ** 2 * 1.1)


def target_size(side: int, aspect: float) -> tuple[int, int]:
    """The (width, height) of about `side` squared pixels nearest to `aspect` = width / height.

    Sides are multiples of 8; aspects beyond 9:16 and 16:9 are clamped.
    """
    aspect = min(max(aspect, 1 / ASPECT_LIMIT), ASPECT_LIMIT)
    width = side * aspect**0.5
    height = side / aspect**0.5
    return round(width / SIDE_MULTIPLE) * SIDE_MULTIPLE, round(height / SIDE_MULTIPLE) * SIDE_MULTIPLE


def read_profile(folder: Path) -> ModelProfile:
    """The profile beside the weights in `folder`, else the published model's."""
    path = folder / PROFILE_FILE
    return ModelProfile.model_validate_json(path.read_text()) if path.is_file() else I2VGEN_XL


def profile_for(model: str) -> ModelProfile:
    """The profile of a model setting, without touching weights or network."""
    if model in (RANDOM, EMULATED):
        return I2VGEN_XL.model_copy(update={"name": model})
    return read_profile(BUILTIN_FOLDER if model == BUILTIN else Path(model).expanduser())


_RECOMMENDED = "Take 9 to 11."
I2VGEN_XL = ModelProfile(
    name="i2vgen-xl",
    default_resolution="512p",
    resolutions={"256p": 256, "512p": 512, "768p": 768, "1024p": 1024},
    num_frames=Range(low=8, high=32, default=16),
    fps=Range(low=4, high=24, default=8),
    num_inference_steps=Range(low=10, high=100, default=50),
    guidance_scale=Range(low=1.0, high=20.0, default=9.0),
    # The model's published list.
    negative_prompt=(
        "Distorted, discontinuous, Ugly, blurry, low resolution, motionless, static, disfigured, "
        "disconnected limbs, Ugly faces, incomplete arms"
    ),
    guidance_advice=(
        Advice(
            code="guidance_drifts", under=7.0, warning="the motion may drift from the prompt", suggestion=_RECOMMENDED
        ),
        Advice(code="guidance_distorts", over=16.0, warning="the picture may distort", suggestion=_RECOMMENDED),
        Advice(code="guidance_stiffens", over=12.0, warning="the motion may stiffen", suggestion=_RECOMMENDED),
    ),
    presets={
        "preview": Preset(resolution="512p", num_frames=8, num_inference_steps=30, fps=8),
        "standard": Preset(resolution="512p", num_frames=16, num_inference_steps=50, fps=8),
        "high": Preset(resolution="768p", num_frames=24, num_inference_steps=80, fps=12),
        "extreme": Preset(resolution="1024p", num_frames=32, num_inference_steps=100, fps=8),
    },
    # Their distance on the published weights has not been measured.
    accelerations={name: Distance() for name in ACCELERATIONS},
    # Fitted to the operations counted at 256p/8 to 1024p/32 (4.95 to 428 TFLOP a guided step, within 3%); decoding
    # takes 9.5 to 10.0 TFLOP a megapixel by the same count. Memory is what `engine.footprint` counts on the layers.
    cost=Cost(
        tflop_linear=9.22,
        tflop_spatial=3.38,
        tflop_decode=9.6,
        weights_gib=4.81,
        activation_gib=0.2,
        one_half_gib=0.104,
        in_pieces_gib=(0.103, 0.056, 0.3),
        offloaded_gib=2.0,
        vae_gib=0.16,
        unguided_share=0.52,  # by the count of the operations before the first attention to the prompt
        encode_gib=1.43,
        decode_gib=1.44,
        # By count too: 12.0 of 33.5 TFLOP at 512p/16, where deepcache is then 1.47 times as fast (256p/8: 1.52,
        # 1024p/32: 1.35), and 500 million weights.
        cached_linear=0.298,
        cached_spatial=0.864,
        cached_gib=0.0373,
        float8_gib=0.465,
    ),
)
