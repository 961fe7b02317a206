"""Every warning's and the crop's measured quality, on labelled cases: the floors of what the README says."""

from __future__ import annotations

import labelled_crops
import labelled_sentences
import precision
import pytest

RECALL = {"text_in_picture": 0.85, "not_english": 0.8, "many_actions": 0.65}
"""On the later sets; 1 where none is given."""


@pytest.mark.parametrize("code", ["small_subject", "text_in_picture"])
def test_warnings_about_pictures_on_the_later_cases(code: str) -> None:
    found = precision.pictures(later=True)[code]
    assert found.precision == 1
    assert found.recall >= RECALL.get(code, 1)


@pytest.mark.parametrize("later", [False, True])
def test_warnings_about_prompts(later: bool) -> None:
    for code, found in precision.prompts(later).items():
        assert found.precision == 1, code
        assert found.recall >= (RECALL.get(code, 1) if later else 1), code


def test_languages_are_judged_on_many_sentences() -> None:
    told = labelled_sentences
    assert len(set(told.FOREIGN) | set(told.FOREIGN_LATER)) >= 25
    foreign = [line for text in (*told.FOREIGN.values(), *told.FOREIGN_LATER.values()) for line in told.lines(text)]
    assert len(foreign) + len(told.lines(told.ENGLISH)) + len(told.lines(told.ENGLISH_LATER)) >= 140


def test_crops_keep_the_subject() -> None:
    for later, whole in ((False, 26), (True, 11)):
        shares = precision.crops(later)
        assert sum(share >= precision.WHOLE for share in shares) >= whole
        assert sum(shares) / len(shares) >= 0.98
        assert max(precision.crops(later, centred=True)) < 0.5


def test_on_a_plain_ground_the_subject_is_kept_whole() -> None:
    names = [name for cases in (labelled_crops.cases(), labelled_crops.later_cases()) for name, _, _ in cases]
    shares = precision.crops(later=False) + precision.crops(later=True)
    plain = ("white", "grey", "cream", "black", "pale blue", "the right edge")
    found = [share for name, share in zip(names, shares, strict=True) if name.endswith(plain)]
    assert len(found) >= 10
    assert min(found) >= precision.WHOLE
