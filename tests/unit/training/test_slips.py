"""A prompt as it is typed says the same move, with at most one letter wrong and never in a short word."""

from __future__ import annotations

import random

from serving.training.slips import typed

SAID = "the camera glides past the glittering clock face"


def words(text: str) -> list[str]:
    return text.lower().removesuffix(", 4k").rstrip(".!").split()


def test_one_word_at_most_is_wrong_and_only_a_long_one() -> None:
    rng, wrong = random.Random(0), 0
    for _ in range(2000):
        found, meant = words(typed(rng, SAID)), words(SAID)
        differing = [(a, b) for a, b in zip(meant, found, strict=True) if a != b]
        assert len(differing) <= 1
        for meant_word, word in differing:
            assert meant_word in ("camera", "glides", "glittering")
            assert abs(len(word) - len(meant_word)) <= 1
            assert word[-1] == meant_word[-1]
            wrong += 1
    assert 20 < wrong < 200


def test_hyphens_come_and_go() -> None:
    rng = random.Random(1)
    drawn = [typed(rng, "zoom in, then turn counter-clockwise").lower() for _ in range(1000)]
    assert 30 < sum("zoom-in" in text for text in drawn) < 150
    assert 10 < sum("counter clockwise" in text for text in drawn) < 100


def test_most_prompts_keep_every_word() -> None:
    rng = random.Random(2)
    assert sum(words(typed(rng, SAID)) == words(SAID) for _ in range(1000)) > 900
