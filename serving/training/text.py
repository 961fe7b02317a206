"""The text encoder, trained alone to say which camera move a prompt means, then frozen.

Trained jointly with the UNet it collapses: the UNet learns to ignore it before it says anything. So each prompt has a
fixed code, a sum of orthogonal vectors for its move and its strength, and the states from the end mark on (padding is
end marks too, and sees the whole prompt) are drawn to it. The UNet then meets the same few codes whatever the words.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import replace

import torch
from transformers import CLIPTextModel, CLIPTokenizer

from serving.training.architecture import PROMPT_TOKENS, WIDTH
from serving.training.checkpoint import Checkpoint
from serving.training.moves import FULL, GENTLE, MOVES
from serving.training.phrases import Phrase, draw

STRENGTHS = (GENTLE, FULL)


def codebook() -> torch.Tensor:
    """(moves * 2 + 1, WIDTH) codes of unit mean square, `move * 2 + strength`; the last is the empty prompt's."""
    basis, _ = torch.linalg.qr(torch.randn(WIDTH, WIDTH, generator=torch.Generator().manual_seed(7)))
    rows = [basis[move] + 0.7 * basis[40 + level] for move in range(len(MOVES)) for level in range(2)]
    codes = torch.stack([*rows, basis[50]])
    return codes / codes.square().mean(1, keepdim=True).sqrt()


def code_index(phrase: Phrase) -> int:
    return 2 * phrase.move + STRENGTHS.index(phrase.strength)


def tokenize(tokenizer: CLIPTokenizer, texts: Sequence[str]) -> torch.Tensor:
    """(texts, 77) token ids, padded and cut as the pipeline does."""
    tokens = tokenizer(
        list(texts), padding="max_length", max_length=PROMPT_TOKENS, truncation=True, return_tensors="pt"
    )
    ids: torch.Tensor = tokens.input_ids
    return ids


def states(encoder: CLIPTextModel, ids: torch.Tensor) -> torch.Tensor:
    """(texts, 77, WIDTH) states as the pipeline takes them: the layer before the last, through the final norm."""
    hidden = encoder(ids, output_hidden_states=True).hidden_states[-2]
    normed: torch.Tensor = encoder.final_layer_norm(hidden)
    return normed


def train_text_encoder(
    encoder: CLIPTextModel,
    tokenizer: CLIPTokenizer,
    checkpoint: Checkpoint,
    *,
    steps: int,
    batch: int = 128,
    seed: int = 0,
) -> None:
    """Draw the states of drawn prompts to their codes, in place; one prompt in 40 is empty."""
    codes, end = codebook().to(encoder.device), tokenizer.eos_token_id
    optimizer = torch.optim.AdamW(encoder.parameters(), lr=1.5e-3, betas=(0.9, 0.98), weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 1.5e-3, total_steps=steps, pct_start=0.05)
    begun = 0
    if (state := checkpoint.load()) is not None:
        encoder.load_state_dict(state["encoder"])
        optimizer.load_state_dict(state["optimizer"])
        schedule.load_state_dict(state["schedule"])
        begun = state["step"]
    rng = random.Random(seed + begun)  # noqa: S311 - prompts, not secrets
    encoder.train()
    drawn: list[tuple[list[Phrase], torch.Tensor]] = []
    for step in range(begun, steps):
        drawn = drawn or _batches(rng, tokenizer, batch)
        phrases, ids = drawn.pop()
        wanted = torch.tensor(
            [code_index(phrase) if phrase.text else len(codes) - 1 for phrase in phrases], device=encoder.device
        )
        ids = ids.to(encoder.device)
        # Sixteen end marks stand for all: the rest of the padding repeats them.
        length = min(PROMPT_TOKENS, int((ids != end).sum(1).max()) + 16)
        said = (ids[:, :length] == end).float()
        outputs = encoder(ids[:, :length], output_hidden_states=True)
        target = codes[wanted][:, None]
        loss = torch.zeros((), device=encoder.device)
        for hidden in outputs.hidden_states[-2:]:
            error = (encoder.final_layer_norm(hidden) - target).square().mean(-1)
            loss = loss + (error * said).sum() / said.sum()
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(encoder.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        if step % 100 == 0 or step == steps - 1:
            print(f"text {step}: loss {loss.item():.4f}", flush=True)
        if checkpoint.due:
            trained = {"encoder": encoder, "optimizer": optimizer, "schedule": schedule}
            checkpoint.save({name: part.state_dict() for name, part in trained.items()} | {"step": step + 1})
    encoder.eval()


def _batches(rng: random.Random, tokenizer: CLIPTokenizer, batch: int) -> list[tuple[list[Phrase], torch.Tensor]]:
    """Eight batches of prompts and token ids, each of about one length: a longer prompt would pad the others."""
    phrases = [draw(rng) for _ in range(8 * batch)]
    phrases = [replace(phrase, text="") if rng.random() < 0.025 else phrase for phrase in phrases]
    ids = tokenize(tokenizer, [phrase.text for phrase in phrases])
    shortest_first = (ids != tokenizer.eos_token_id).sum(1).argsort().tolist()
    batches = [shortest_first[begin : begin + batch] for begin in range(0, len(phrases), batch)]
    rng.shuffle(batches)
    return [([phrases[index] for index in chosen], ids[chosen]) for chosen in batches]


@torch.no_grad()
def heard(encoder: CLIPTextModel, tokenizer: CLIPTokenizer, texts: Sequence[str]) -> list[tuple[int, float]]:
    """The (move, strength) whose code each prompt's last state is nearest to."""
    last = states(encoder, tokenize(tokenizer, texts).to(encoder.device))[:, -1].float()
    nearest = torch.cdist(last, codebook()[:-1].to(last.device)).argmin(1).tolist()
    return [(index // 2, STRENGTHS[index % 2]) for index in nearest]
