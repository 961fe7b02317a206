"""The grammar means what it says, and the shipped text encoder hears it."""

from __future__ import annotations

import random
from collections import Counter
from pathlib import Path

import pytest
from transformers import CLIPTextModel, CLIPTokenizer

from serving.training.folder import BUILTIN
from serving.training.moves import BY_NAME, FULL, GENTLE, MOVES
from serving.training.phrases import MOVE_PHRASES, draw
from serving.training.text import heard
from serving.training.unseen import FIRST, LISTS, SECOND, THIRD, prompts

TEMPLATES = {
    "a person slowly turning around wearing the dress": ("pan left", GENTLE),
    "camera orbiting around the smartphone, showing all sides": ("pan right", GENTLE),
    "gentle pan across the sofa, soft lighting": ("pan right", GENTLE),
    "steam rising from the hot coffee, close-up view": ("zoom in", GENTLE),
}


TERSE = {
    "The camera slides to the left": "pan left",
    "slow push in": "zoom in",
    "the image turns counter-clockwise": "rotate counter-clockwise",
    "slow camera push in on the handbag, showing the texture of the leather": "zoom in",
    "camera sliding past the phone from left to right, shallow focus": "pan right",
}
"""Named by people and by our own templates; in none of them is the whole prompt one that was drawn."""


NO_MOVE = (
    "a sleepy cat on a sofa, cozy",
    "Leather handbag on a marble table, studio light",
    "waves crashing on the rocks at sunset",
    "A man playing the guitar in the rain, cinematic",
    "the dog runs through the snow",
    "sushi platter with chopsticks, top view",
    "birds flying over the lake, golden hour",
    "bicycle leaning against a yellow wall",
    "clouds drifting over wheat fields",
    "woman in a trench coat walking through the city",
    "a lighthouse in a storm",
    "toy car on a wooden floor",
)
"""Some have motion in them, none of the camera's."""

LEAST_HEARD = {FIRST: 0.97, SECOND: 0.93, THIRD: 0.95}
"""Of each list's prompts, the share that the shipped encoder puts to the right move."""


@pytest.fixture(scope="module")
def tokenizer() -> CLIPTokenizer:
    return CLIPTokenizer.from_pretrained(BUILTIN / "tokenizer")


@pytest.fixture(scope="module")
def encoder() -> CLIPTextModel:
    return CLIPTextModel.from_pretrained(BUILTIN / "text_encoder").float().eval()


def test_every_move_has_phrases_and_draws_itself() -> None:
    rng = random.Random(0)
    assert set(MOVE_PHRASES) == set(BY_NAME)
    for move in BY_NAME:
        phrases = [draw(rng, move=move) for _ in range(20)]
        assert {phrase.move for phrase in phrases} == {BY_NAME[move]}
        assert {phrase.strength for phrase in phrases} <= {GENTLE, FULL}


def test_the_same_seed_draws_the_same_prompts() -> None:
    assert [draw(random.Random(3)) for _ in range(5)] == [draw(random.Random(3)) for _ in range(5)]


def test_prompts_fit_the_tokens(tokenizer: CLIPTokenizer) -> None:
    assert len(tokenizer) == 2048
    assert tokenizer.model_max_length == 77
    assert all(len(tokenizer(template).input_ids) <= 16 for template in TEMPLATES)
    rng = random.Random(1)
    assert max(len(tokenizer(draw(rng).text).input_ids) for _ in range(300)) < 77


def test_any_text_has_tokens(tokenizer: CLIPTokenizer) -> None:
    ids = tokenizer("镜头向左 é 🙂").input_ids
    assert ids[1:-1]
    assert tokenizer.unk_token_id not in ids[1:-1]


@pytest.mark.parametrize("template", TEMPLATES)
def test_the_encoder_hears_the_templates(template: str, encoder: CLIPTextModel, tokenizer: CLIPTokenizer) -> None:
    move, strength = TEMPLATES[template]
    assert heard(encoder, tokenizer, [template]) == [(BY_NAME[move], strength)]


def test_the_encoder_hears_drawn_prompts(encoder: CLIPTextModel, tokenizer: CLIPTokenizer) -> None:
    rng = random.Random(12345)
    phrases = [draw(rng) for _ in range(90)]
    found = heard(encoder, tokenizer, [phrase.text for phrase in phrases])
    right = sum((p.move, p.strength) == said for p, said in zip(phrases, found, strict=True))
    assert right >= 88, [(p.text, MOVES[s[0]].name) for p, s in zip(phrases, found, strict=True) if p.move != s[0]]


@pytest.mark.parametrize("prompt", TERSE)
def test_the_encoder_hears_what_people_say(prompt: str, encoder: CLIPTextModel, tokenizer: CLIPTokenizer) -> None:
    ((move, _),) = heard(encoder, tokenizer, [prompt])
    assert MOVES[move].name == TERSE[prompt]


def test_prompts_without_a_move_mean_a_gentle_zoom(encoder: CLIPTextModel, tokenizer: CLIPTokenizer) -> None:
    assert heard(encoder, tokenizer, NO_MOVE) == [(BY_NAME["zoom in"], GENTLE)] * len(NO_MOVE)


@pytest.mark.parametrize("file", LEAST_HEARD, ids=lambda file: file.stem)
def test_the_encoder_hears_prompts_that_it_never_saw(
    file: Path, encoder: CLIPTextModel, tokenizer: CLIPTokenizer
) -> None:
    said = prompts(file)
    found = heard(encoder, tokenizer, [prompt for _, prompt in said])
    right = sum(move == wanted for (wanted, _), (move, _) in zip(said, found, strict=True))
    assert right >= LEAST_HEARD[file] * len(said)


def test_every_move_has_unseen_prompts_and_none_is_drawn() -> None:
    for file, count in zip(LISTS, (14, 16, 16), strict=True):
        assert Counter(move for move, _ in prompts(file)) == dict.fromkeys(range(len(MOVES)), count)
    rng = random.Random(2)
    drawn = {draw(rng).text.lower() for _ in range(20_000)}
    both = [prompt for _, prompt in prompts(*LISTS) if prompt.lower() in drawn]
    assert all(len(prompt.split()) <= 3 for prompt in both)  # "pan up" can be said in few other ways


def test_the_two_lists_share_nothing_but_the_shortest() -> None:
    times = Counter(prompt.lower() for _, prompt in prompts(*LISTS))
    both = {prompt for prompt, count in times.items() if count > 1}
    assert all(len(prompt.split()) <= 3 for prompt in both), both
