"""Training in bf16 with float32 master weights: one optimiser for every part.

The module computes in bf16; steps are taken on float32 copies, of which a moving average is kept for the result.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from serving.training.checkpoint import Checkpoint


class Masters:
    """Float32 weights behind `module`, AdamW over them, and their moving average."""

    def __init__(self, module: nn.Module, *, rate: float, average: float = 0.9995, least: float = 0.02) -> None:
        self.parameters: list[Tensor] = [p for p in module.parameters() if p.requires_grad]
        self.weights = [p.detach().float().clone() for p in self.parameters]
        self.averaged = [w.clone() for w in self.weights]
        self.rate, self.average, self.least, self.steps = rate, average, least, 0
        fused = self.weights[0].is_cuda
        self.adam = torch.optim.AdamW(self.weights, lr=rate, betas=(0.9, 0.99), weight_decay=1e-3, fused=fused)

    def learning_rate(self, progress: float) -> float:
        """A short warm-up in steps, then a cosine over `progress` 0..1 to `least` of the rate."""
        warm = min(1.0, (self.steps + 1) / 200)
        cosine = 0.5 * (1 + math.cos(math.pi * min(progress, 1.0)))
        return self.rate * warm * (self.least + (1 - self.least) * cosine)

    @torch.no_grad()
    def step(self, grads: list[Tensor], progress: float, *, clip: float = 1.0) -> None:
        """One step from bf16 gradients, in the order of the module's parameters."""
        wide = [grad.float() for grad in grads]
        norms = torch._foreach_norm(wide)
        scale = (clip / (torch.stack(norms).norm() + 1e-6)).clamp(max=1.0).nan_to_num(0.0)
        torch._foreach_mul_(wide, scale)
        for weight, grad in zip(self.weights, wide, strict=True):
            weight.grad = grad
        self.adam.param_groups[0]["lr"] = self.learning_rate(progress)
        self.adam.step()
        self.steps += 1
        keep = min(self.average, (1 + self.steps) / (10 + self.steps))
        torch._foreach_lerp_(self.averaged, self.weights, 1 - keep)
        torch._foreach_copy_(self.parameters, self.weights)

    @torch.no_grad()
    def finish(self) -> None:
        """Put the averaged weights into the module."""
        torch._foreach_copy_(self.parameters, self.averaged)

    def resume(self, checkpoint: Checkpoint) -> float:
        """Go on from the checkpoint, if there is one; seconds that had been trained for by then."""
        state = checkpoint.load()
        if state is None:
            return 0.0
        self.load(state)
        return float(state["elapsed"])

    def state(self, elapsed: float) -> dict[str, Tensor]:
        """Everything needed to go on, flat: float32 weights and average, bf16 moments; after `elapsed` seconds."""
        moments = [self.adam.state[w] for w in self.weights]
        return {
            "weights": _flat(self.weights),
            "averaged": _flat(self.averaged),
            "mean": _flat([m["exp_avg"] for m in moments]).bfloat16(),
            "square": _flat([m["exp_avg_sq"] for m in moments]).bfloat16(),
            "steps": torch.tensor([self.steps]),
            "elapsed": torch.tensor([elapsed]),
        }

    @torch.no_grad()
    def load(self, state: dict[str, Tensor]) -> None:
        """Go on from `state()`."""
        self.steps = int(state["steps"])
        start = 0
        for index, weight in enumerate(self.weights):
            part = slice(start, start + weight.numel())
            weight.copy_(state["weights"][part].view_as(weight))
            self.averaged[index].copy_(state["averaged"][part].view_as(weight))
            self.adam.state[weight] = {
                "step": torch.tensor(float(self.steps), device=weight.device if weight.is_cuda else None),
                "exp_avg": state["mean"][part].view_as(weight).to(weight),
                "exp_avg_sq": state["square"][part].view_as(weight).to(weight),
            }
            start += weight.numel()
        torch._foreach_copy_(self.parameters, self.weights)


def _flat(tensors: list[Tensor]) -> Tensor:
    return torch.cat([t.detach().flatten() for t in tensors]).cpu()
