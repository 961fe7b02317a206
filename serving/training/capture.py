"""A training step recorded once and replayed, since launching thousands of small kernels costs more than they do.

Without a card the step simply runs.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn


class Recorded:
    """`loss(**inputs)` and its gradients over `module`'s parameters, for inputs of fixed shapes.

    Recordings that share memory (`beside`) may run in any order, one at a time.
    """

    def __init__(
        self,
        module: nn.Module,
        loss: Callable[..., Tensor],
        inputs: dict[str, Tensor],
        *,
        beside: Recorded | None = None,
    ) -> None:
        self.parameters = [p for p in module.parameters() if p.requires_grad]
        self.loss, self.inputs = loss, inputs
        self.graph: torch.cuda.CUDAGraph | None = None
        if self.parameters[0].is_cuda:
            self._record(beside)

    def _run(self) -> None:
        for parameter in self.parameters:
            parameter.grad = None
        self.value = self.loss(**self.inputs)
        self.value.backward()  # type: ignore[no-untyped-call]
        self.grads = [torch.zeros_like(p) if p.grad is None else p.grad for p in self.parameters]

    def _record(self, beside: Recorded | None) -> None:
        stream = torch.cuda.Stream()  # type: ignore[no-untyped-call]
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            for _ in range(3):
                self._run()
        torch.cuda.current_stream().wait_stream(stream)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, pool=beside.graph.pool() if beside and beside.graph else None):
            self._run()
        self.value = self.value.detach()
        self.graph = graph

    def __call__(self, **inputs: Tensor) -> tuple[Tensor, list[Tensor]]:
        """(loss, gradients); both are overwritten by the next call."""
        for name, value in inputs.items():
            self.inputs[name].copy_(value)
        if self.graph is None:
            self._run()
        else:
            self.graph.replay()
        return self.value.detach(), self.grads
