"""The operations of a forward by the engine: what each computes, moves and, on a CUDA card, takes.

What the fused kernels do is seen by their names in `serving.engine.kernels`, all else as PyTorch dispatches it: of
exact steps, not of those in 8-bit floats. What is overwritten in place counts as read, too. Knows nothing of rates.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import flop_registry

from serving.engine import kernels
from serving.engine.footprint import laid_out

OTHER = "other"
_LIBRARY = {"mm": "linear", "addmm": "linear", "convolution": "convolution"}


@dataclass(frozen=True)
class Operation:
    kind: str
    shapes: str
    """Of the tensors that it takes."""
    flop: float
    moved: float
    """Bytes of what it reads and writes, each tensor once for every pass over it."""
    spent: tuple[torch.cuda.Event, torch.cuda.Event] | None
    """Its beginning and end; None without a card."""

    @property
    def ms(self) -> float:
        """On the card, which must have ended."""
        assert self.spent is not None
        begin, end = self.spent
        return float(begin.elapsed_time(end))


class Operations(TorchDispatchMode):
    """Those done while it is entered, in their order."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.done: list[Operation] = []
        self._within = False
        self._own = {name: getattr(kernels, name) for name in KINDS}

    def __enter__(self) -> Operations:
        for name, function in self._own.items():
            setattr(kernels, name, partial(self._kernel, name, function))
        super().__enter__()  # type: ignore[no-untyped-call]
        return self

    def __exit__(self, *about: Any) -> None:
        super().__exit__(*about)  # type: ignore[no-untyped-call]
        for name, function in self._own.items():
            setattr(kernels, name, function)

    def _kernel(self, name: str, function: Callable[..., Any], *args: Any, **options: Any) -> Any:
        self._within = True
        try:
            with _watched(args) as spent:
                result = function(*args, **options)
        finally:
            self._within = False
        kind, flop = KINDS[name](result, *args)
        given = _storages(args, options)
        moved = _bytes(args, options, [x for x in _tensors(result) if x.untyped_storage()._cdata not in given])
        if name == "group_norm" and options.get("moments") is None:
            moved += result[1].nbytes  # what is normed is read once more than its statistics
        self.done.append(Operation(kind, _shapes(args), flop, moved, spent))
        return result

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        options = kwargs or {}
        if self._within:
            return func(*args, **options)
        with _watched(args) as spent:
            result = func(*args, **options)
        if func is torch.ops.aten.convolution.default and result.is_meta:
            result = laid_out(result, args[1])
        given = _storages(args, options)
        made = [x for x in _tensors(result) if func._schema.is_mutable or x.untyped_storage()._cdata not in given]
        name = func.overloadpacket.__name__.removesuffix("_")
        if made and "empty" not in name:
            formula = flop_registry.get(getattr(torch.ops.aten, name, None))
            flop = 0.0 if formula is None else float(formula(*args, **options, out_val=result))
            self.done.append(
                Operation(_LIBRARY.get(name, OTHER), _shapes(args), flop, _bytes(args, options, made), spent)
            )
        return result


@contextmanager
def _watched(args: Any) -> Iterator[tuple[torch.cuda.Event, torch.cuda.Event] | None]:
    if not any(x.is_cuda for x in _tensors(args)):
        yield None
        return
    begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))  # type: ignore[no-untyped-call]
    begin.record()
    yield begin, end
    end.record()


def _tensors(values: Any) -> list[torch.Tensor]:
    return [x for x in tree_leaves(values) if isinstance(x, torch.Tensor)]


def _shapes(args: Any) -> str:
    return ", ".join("x".join(map(str, x.shape)) for x in _tensors(args))


def _storages(*values: Any) -> set[int]:
    return {x.untyped_storage()._cdata for x in _tensors(values)}


def _bytes(*values: Any) -> float:
    # One that is expanded is no larger than its storage.
    return float(sum(min(x.nbytes, x.untyped_storage().nbytes()) for x in _tensors(values)))


def _geglu(_: Any, x: torch.Tensor, weight: torch.Tensor, *__: Any) -> tuple[str, float]:
    return "linear and GEGLU", 2.0 * x.numel() * len(weight)


def _frame_conv(_: Any, x: torch.Tensor, weight: torch.Tensor) -> tuple[str, float]:
    return "temporal convolution", 2.0 * x.numel() * weight[:, 0].numel()


def _doubled_conv(y: torch.Tensor, x: torch.Tensor, *_: Any) -> tuple[str, float]:
    return "upsampling", 2.0 * 4 * y.numel() * x.shape[-1]


def _frame_attention(y: torch.Tensor, *_: Any) -> tuple[str, float]:
    return "temporal attention", 4.0 * y.numel() * y.shape[1]


def _attention(y: torch.Tensor, query: torch.Tensor, key: torch.Tensor, *_: Any) -> tuple[str, float]:
    kind = "self-attention" if query.shape[1] == key.shape[1] else "cross-attention"
    return kind, 4.0 * y.numel() * key.shape[1]


KINDS: dict[str, Callable[..., tuple[str, float]]] = {
    "group_norm": lambda *_: ("GroupNorm", 0.0),
    "layer_norm": lambda *_: ("LayerNorm", 0.0),
    "geglu": _geglu,
    "frame_conv": _frame_conv,
    "doubled_conv": _doubled_conv,
    "frame_attention": _frame_attention,
    "attention": _attention,
}
"""The kind, and the operations that count, of each kernel: of its result and its arguments."""
