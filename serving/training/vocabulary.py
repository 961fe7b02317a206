"""A CLIP tokenizer with 2,048 tokens, learned from our own prompts.

Bytes alone would pass 77 tokens at 75 characters; with these merges a template takes about 20.
"""

from __future__ import annotations

import json
from pathlib import Path

from tokenizers import Tokenizer, models, pre_tokenizers, trainers
from transformers import CLIPTokenizer

from serving.training.architecture import PROMPT_TOKENS, VOCABULARY
from serving.training.phrases import corpus

START, END = "<|startoftext|>", "<|endoftext|>"


def learn_tokenizer(*, seed: int = 0, texts: int = 20_000) -> CLIPTokenizer:
    """CLIP's own normalisation and splitting, with merges of the corpus. The same seed gives the same tokenizer."""
    pattern = CLIPTokenizer()._tokenizer
    learner = Tokenizer(models.BPE(end_of_word_suffix="</w>"))
    learner.normalizer = pattern.normalizer
    learner.pre_tokenizer = pattern.pre_tokenizer
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY + len(alphabet),  # more than needed: what is over is cut below
        initial_alphabet=alphabet,
        end_of_word_suffix="</w>",
        show_progress=False,
    )
    learner.train_from_iterator(corpus(texts, seed=seed), trainer)
    merges = [tuple(pair) for pair in json.loads(learner.to_str())["model"]["merges"]]
    # Every byte, alone and at a word's end, so that any text has tokens; then the merges; then the two marks, last.
    tokens = [*alphabet, *(letter + "</w>" for letter in alphabet)]
    tokens += [token for token in (left + right for left, right in merges) if token not in set(tokens)]
    tokens = [*tokens[: VOCABULARY - 2], START, END]
    known = set(tokens)
    vocabulary = {token: index for index, token in enumerate(tokens)}
    kept = [f"{left} {right}" for left, right in merges if left + right in known]
    return CLIPTokenizer(
        vocab=vocabulary, merges=[tuple(pair.split()) for pair in kept], model_max_length=PROMPT_TOKENS
    )


def save_tokenizer(tokenizer: CLIPTokenizer, folder: Path) -> None:
    """The tokenizer's folder, with the vocab.json and merges.txt of the published layout beside tokenizer.json."""
    tokenizer.save_pretrained(folder)
    model = json.loads(tokenizer.backend_tokenizer.to_str())["model"]
    (folder / "vocab.json").write_text(json.dumps(model["vocab"], ensure_ascii=False) + "\n")
    lines = [pair if isinstance(pair, str) else " ".join(pair) for pair in model["merges"]]
    (folder / "merges.txt").write_text("#version: 0.2\n" + "\n".join(lines) + "\n")
