"""Prompts are trained on in batches of about one length, each prompt beside its own tokens."""

from __future__ import annotations

import itertools
import random

import pytest
import torch
from transformers import CLIPTokenizer

from serving.training.folder import BUILTIN
from serving.training.phrases import Phrase
from serving.training.text import _batches, tokenize

SIZE = 16


@pytest.fixture(scope="module")
def tokenizer() -> CLIPTokenizer:
    return CLIPTokenizer.from_pretrained(BUILTIN / "tokenizer")


@pytest.fixture(scope="module")
def drawn(tokenizer: CLIPTokenizer) -> list[tuple[list[Phrase], torch.Tensor]]:
    return _batches(random.Random(0), tokenizer, SIZE)


def lengths(ids: torch.Tensor, tokenizer: CLIPTokenizer) -> list[int]:
    return (ids != tokenizer.eos_token_id).sum(1).tolist()


def test_every_prompt_lies_beside_its_tokens(
    drawn: list[tuple[list[Phrase], torch.Tensor]], tokenizer: CLIPTokenizer
) -> None:
    assert [(len(phrases), len(ids)) for phrases, ids in drawn] == [(SIZE, SIZE)] * 8
    for phrases, ids in drawn:
        assert torch.equal(ids, tokenize(tokenizer, [phrase.text for phrase in phrases]))


def test_a_batch_is_of_about_one_length(
    drawn: list[tuple[list[Phrase], torch.Tensor]], tokenizer: CLIPTokenizer
) -> None:
    spans = sorted((min(found), max(found)) for _, ids in drawn for found in [lengths(ids, tokenizer)])
    assert all(longest <= shortest for (_, longest), (shortest, _) in itertools.pairwise(spans))
    assert spans[0][0] < spans[-1][1]


def test_lengths_come_in_no_order(drawn: list[tuple[list[Phrase], torch.Tensor]], tokenizer: CLIPTokenizer) -> None:
    longest = [max(lengths(ids, tokenizer)) for _, ids in drawn]
    assert longest not in (sorted(longest), sorted(longest, reverse=True))


def test_some_prompts_are_empty_and_few(tokenizer: CLIPTokenizer) -> None:
    batches = _batches(random.Random(1), tokenizer, 64)
    empty = sum(phrase.text == "" for phrases, _ in batches for phrase in phrases)
    assert 3 <= empty <= 30  # 13 of 512
