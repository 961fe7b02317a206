"""Card classes: memory and speed, one row each. Knows nothing of jobs, models or drivers."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class CardClass:
    """One class of card.

    `tflops` is the sustained fp16 rate of a call of the model, in TFLOP/s, apart from what any call costs
    (`cost.CALL_S`). A card that was measured has a `cost.Speed` instead.
    """

    name: str
    memory_gib: float
    tflops: float
    compute_capability: float = 0.0
    """As NVIDIA counts; 0 of a CPU, and where it is not known."""
    marks: tuple[str, ...] = ()
    """Words that the driver's name for such a card holds, in lower case."""


# Seeds until a card is measured: with 450 TFLOP/s and `cost.CALL_S` the steps on an H200 come out within 12% from
# 256p/8 (14 ms) to 1024p/32 (937 ms; `python -m loadtest.engine`); the H100 computes like it; 43 is a reported 50 s for
# 512p/16/50 on an RTX 4090; the others are a fifth of their dense fp16 peak.
CARDS: dict[str, CardClass] = {
    card.name: card
    for card in (
        CardClass("rtx4060", 8, 12, 8.9, ("rtx 4060",)),
        CardClass("rtx3060", 12, 10, 8.6, ("rtx 3060",)),
        CardClass("rtx3090", 24, 28, 8.6, ("rtx 3090",)),
        CardClass("rtx4090", 24, 43, 8.9, ("rtx 4090",)),
        CardClass("rtx5090", 32, 60, 12.0, ("rtx 5090",)),
        CardClass("a6000", 48, 31, 8.6, ("rtx a6000",)),
        CardClass("l40s", 48, 72, 8.9, ("l40s",)),
        CardClass("a100-40gb", 40, 62, 8.0, ("a100",)),
        CardClass("a100-80gb", 80, 62, 8.0, ("a100",)),
        CardClass("h100", 80, 420, 9.0, ("h100",)),
        CardClass("h200", 141, 450, 9.0, ("h200",)),
        CardClass("cpu", 0, 0.08),
    )
}


def recognise(device_name: str, memory_gib: float) -> CardClass:
    """The class of a card by its driver's name and memory; one of its own, at a cautious speed, where none matches."""
    name = device_name.lower()
    alike = [card for card in CARDS.values() if any(mark in name for mark in card.marks)]
    if alike:
        return min(alike, key=lambda card: abs(card.memory_gib - memory_gib))
    if memory_gib == 0:
        return CARDS["cpu"]
    return CardClass(name=device_name, memory_gib=memory_gib, tflops=CARDS["rtx3060"].tflops)
