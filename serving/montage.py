"""How one clip is put together from parts: how many, with which words, seeds and frames, and in which order they play.

A clip is one part, or segments, each of which begins with the last frame of the one before, or angles, which all
begin with the picture. Knows nothing of requests, models or pixels.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from serving.errors import InvalidParameter, InvalidPrompt
from serving.limits import MAX_PROMPT_CHARACTERS, out_of_range, text

MAX_SEGMENTS = 8
ANGLES = (2, 6)
MAX_ANGLE_CHARACTERS = 500
MAX_FRAMES = 256
"""In one clip: at 1024p they are 0.8 GB on their way from the card to the encoder."""
SEEDS = 2**63

Loop = Literal["none", "pingpong"]


@dataclass(frozen=True)
class Montage:
    """What of a request decides its parts; by default there is one, which is the clip."""

    segments: int = 1
    angles: tuple[str, ...] = ()
    loop: Loop = "none"

    @property
    def parts(self) -> int:
        return len(self.angles) or self.segments

    @property
    def chained(self) -> bool:
        """Whether each part begins with the last frame of the one before."""
        return self.segments > 1

    @property
    def plain(self) -> bool:
        """Whether the clip is one part, as the model gives it."""
        return self.parts == 1 and self.loop == "none"

    def prompts(self, prompt: str) -> tuple[str, ...]:
        """Of each part: the clip's, and what its angle adds to it."""
        if not self.angles:
            return (prompt,) * self.parts
        return tuple(f"{prompt.rstrip(' ,.;')}, {angle}" for angle in self.angles)

    def seeds(self, seed: int) -> tuple[int, ...]:
        """Of each part: the clip's, and one more for each further part; after the largest seed comes 0."""
        return tuple((seed + index) % SEEDS for index in range(self.parts))

    def dropped(self, part: int) -> int:
        """Frames left out of a part, counted from 0: one that begins with a frame already shown repeats it first."""
        return int(self.chained and part > 0)

    def total(self, each: int) -> int:
        """Frames of the whole clip, of parts of `each`. A pingpong, which can be played for ever, shows neither of its
        end frames twice."""
        forward = self.parts * each - (self.parts - 1 if self.chained else 0)
        return forward if self.loop == "none" else max(1, 2 * forward - 2)

    def each(self, total: float) -> float:
        """Frames that each part would need for a clip of `total`; seldom a whole number."""
        forward = total if self.loop == "none" else (total + 2) / 2
        return (forward + (self.parts - 1 if self.chained else 0)) / self.parts


def montage_of(segments: int | None, angles: list[str] | None, loop: Loop | None) -> Montage:
    """As asked for; what is left out is one part, played forward.

    Raises:
        InvalidParameter, InvalidPrompt: naming the field at fault.
    """
    segments = 1 if segments is None else segments
    if not 1 <= segments <= MAX_SEGMENTS:
        raise out_of_range("segments", segments, f"1 to {MAX_SEGMENTS}")
    if angles and segments > 1:
        raise InvalidParameter("angles: cannot be given together with segments.", param="angles")
    if angles and not ANGLES[0] <= len(angles) <= ANGLES[1]:
        raise out_of_range("angles", len(angles), f"{ANGLES[0]} to {ANGLES[1]} of them")
    said = tuple(text("angles", angle, most=MAX_ANGLE_CHARACTERS) for angle in angles or ())
    return Montage(segments, said, loop or "none")


def check_words(montage: Montage, prompt: str) -> None:
    """
    Raises:
        InvalidPrompt: with what an angle adds, the prompt is too long.
    """
    longest = max(map(len, montage.prompts(prompt)))
    if longest > MAX_PROMPT_CHARACTERS:
        message = f"{longest} characters with the prompt; at most {MAX_PROMPT_CHARACTERS} are allowed"
        raise InvalidPrompt(f"angles: {message}.", param="angles")


def check_length(montage: Montage, each: int) -> None:
    """
    Raises:
        InvalidParameter: the whole clip, of parts of `each` frames, has too many; it names what makes it so long.
    """
    total = montage.total(each)
    if total > MAX_FRAMES:
        field = "loop" if montage.loop != "none" else "angles" if montage.angles else "segments"
        message = f"with {montage.parts} x {each} frames the clip has {total}; at most {MAX_FRAMES} are allowed"
        raise InvalidParameter(f"{field}: {message}.", param=field)
