"""How well the warnings and the crop do on their labelled cases: `python tests/unit/precision.py`."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cache
from typing import Any

import labelled_crops
import labelled_pictures
import labelled_sentences

from serving.picture import Picture
from serving.picture_warnings import has_small_subject, has_text
from serving.prompts.english import is_english
from serving.prompts.lint import lint_prompt
from serving.prompts.tokens import estimate
from serving.subject import best_window

WHOLE = 0.98
"""The share of a subject that counts as kept."""


@dataclass(frozen=True)
class Measured:
    """What a warning said of labelled cases."""

    warned: int
    """Of those that deserve it."""
    deserving: int
    wrongly: int
    """Warnings of those that do not."""
    others: int

    @property
    def precision(self) -> float:
        return self.warned / max(1, self.warned + self.wrongly)

    @property
    def recall(self) -> float:
        return self.warned / self.deserving


def measure(warns: Callable[[Any], bool], deserving: Iterable[Any], others: Iterable[Any]) -> Measured:
    said, silent = [warns(case) for case in deserving], [warns(case) for case in others]
    return Measured(sum(said), len(said), sum(silent), len(silent))


@cache
def pictures(later: bool) -> dict[str, Measured]:
    """By the warning's code."""
    drawn = labelled_pictures
    if later:
        subjects = drawn.later_small_subjects(), drawn.later_no_small_subjects()
        texts = drawn.later_texts(), drawn.later_no_texts()
    else:
        subjects, texts = (drawn.small_subjects(), drawn.no_small_subjects()), (drawn.texts(), drawn.no_texts())
    return {
        "small_subject": measure(lambda case: has_small_subject(case[1]), *subjects),
        "text_in_picture": measure(lambda case: has_text(case[1]), *texts),
    }


def prompts(later: bool) -> dict[str, Measured]:
    """By the warning's code."""
    told = labelled_sentences
    english, foreign = (told.ENGLISH_LATER, told.FOREIGN_LATER) if later else (told.ENGLISH, told.FOREIGN)
    strange = [sentence for text in foreign.values() for sentence in told.lines(text)]
    found = {"not_english": measure(lambda text: not is_english(text), strange, told.lines(english))}
    labelled = told.PROMPTS_LATER if later else told.PROMPTS
    for code in ("abstract_words", "many_actions", "no_motion"):
        deserving = [text for text, codes in labelled if code in codes]
        others = [text for text, codes in labelled if code not in codes]
        found[code] = measure(lambda text, code=code: code in codes_of(text), deserving, others)
    return found


def codes_of(prompt: str) -> set[str]:
    return {caution.code for caution in lint_prompt(prompt, estimate)}


@cache
def crops(later: bool, *, centred: bool = False) -> tuple[float, ...]:
    """The share of each case's subject that a square crop keeps."""
    shares = []
    for _, image, box in labelled_crops.later_cases() if later else labelled_crops.cases():
        centre = (0.5, 0.5) if centred else best_window(image, 1.0)
        left, top, right, bottom = Picture(image, None).window((512, 512), centre)
        window = (left * image.width, top * image.height, right * image.width, bottom * image.height)
        shares.append(labelled_crops.kept(box, window))
    return tuple(shares)


def main() -> None:
    print(f"{'warning':<16} {'set':<6} {'deserving':>9} {'others':>6} {'precision':>9} {'recall':>6}")
    for later in (False, True):
        for code, found in (pictures(later) | prompts(later)).items():
            numbers = f"{found.deserving:>9} {found.others:>6} {found.precision:>9.2f} {found.recall:>6.2f}"
            print(f"{code:<16} {'later' if later else 'first':<6} {numbers}")
    for later in (False, True):
        for centred in (True, False):
            shares = crops(later, centred=centred)
            whole, mean = sum(share >= WHOLE for share in shares), sum(shares) / len(shares)
            how, which = "center" if centred else "auto", "later" if later else "first"
            print(
                f"crop, focus {how:<6} {which}: {whole} of {len(shares)} subjects whole, {mean:.0%} of them on average"
            )


if __name__ == "__main__":
    main()
