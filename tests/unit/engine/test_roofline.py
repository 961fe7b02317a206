"""Every operation of a step is seen, counted once and weighed by the card's rates."""

from __future__ import annotations

import io
import json
import sys
from collections import Counter
from pathlib import Path

import pytest
import torch
from rich.console import Console
from rich.table import Table
from torch.nn import functional
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from loadtest import operations as seen
from loadtest import roofline
from loadtest.operations import Operation, Operations
from loadtest.roofline import Rates, Row, Step, furthest, rows_of, table_of
from serving.engine import kernels, random_weights
from serving.engine.conditioning import Conditioning
from serving.engine.unet import UNet
from tests.unit.engine.conftest import PUBLISHED_SHAPE


def test_every_operation_that_computes_is_seen_once() -> None:
    unet = UNet(random_weights.build(PUBLISHED_SHAPE, "cpu")["unet"].eval())
    cells = (1, 4, 3, 16, 16)
    conditioning = Conditioning(
        text=torch.randn(2, 77, 16),
        image=torch.randn(2, 1, 16),
        image_latents=torch.randn(cells).repeat(2, 1, 1, 1, 1),
        fps=torch.full((2,), 8),
        noise=torch.randn(cells),
    )
    step = (torch.randn(cells), torch.tensor(501), unet.prepare(conditioning))
    # PyTorch's own counter knows products, but not those in place.
    in_place = {torch.ops.aten.addmm_: lambda h, x, y, **_: 2 * x[0] * x[1] * y[1]}
    with torch.no_grad():
        with Operations() as operations:
            ours = unet(*step)
        # It counts attention only as the products that it is made of.
        with FlopCounterMode(display=False, custom_mapping=in_place) as counter, sdpa_kernel(SDPBackend.MATH):
            plain = unet(*step)
    torch.testing.assert_close(ours, plain)
    flop: Counter[str] = Counter()
    for operation in operations.done:
        flop[operation.kind] += operation.flop
    assert sum(flop.values()) == counter.get_total_flops()
    assert {kind for kind in flop if not flop[kind]} == {"GroupNorm", "LayerNorm", "other"}


def test_a_folded_convolution_computes_four_ninths() -> None:
    x, weight = torch.empty(3, 8, 4, 4, device="meta"), torch.empty(16, 8, 3, 3, device="meta")
    with FlopCounterMode(display=False) as counter:
        y = functional.conv2d(functional.interpolate(x, scale_factor=2.0), weight, padding=1)
    kind, flop = seen.KINDS["doubled_conv"](y.permute(0, 2, 3, 1), x.permute(0, 2, 3, 1))
    assert (kind, flop) == ("upsampling", counter.get_total_flops() * 4 / 9)


def test_what_moves_is_counted_for_every_pass() -> None:
    x, weight, bias = torch.randn(2, 10, 8), torch.ones(8), torch.zeros(8)
    h, factor = torch.randn(20, 8), torch.randn(8, 8)
    with torch.no_grad(), Operations() as operations:
        kernels.group_norm(x, weight, bias, groups=2, eps=1e-5, silu=True)
        kernels.group_norm(x, weight, bias, groups=2, eps=1e-5, silu=True, residual=x + 0, keep_sum=True)
        kernels.layer_norm(x, weight, bias, eps=1e-5, shift=bias)
        h.view(4, 5, 8).transpose(0, 1)
        h.addmm_(h.clone(), factor)
        functional.linear(h[:1].expand(1000, 8), factor)
    own, all_of_x = 4 * 8, 4 * x.numel()
    assert [(operation.kind, operation.moved) for operation in operations.done] == [
        ("GroupNorm", 3 * all_of_x + 2 * own),
        ("other", 2 * all_of_x),
        ("GroupNorm", 5 * all_of_x + 2 * own),
        ("LayerNorm", 2 * all_of_x + 3 * own),
        ("other", 2 * all_of_x),
        ("linear", 3 * all_of_x + 4 * factor.numel()),
        ("linear", 4 * h.numel() + 4 * factor.numel() + 4 * 1000 * 8),
    ]


def test_an_operation_takes_what_it_computes_or_what_it_moves() -> None:
    operations = Operations()
    operations.done = [
        Operation("linear", "8x8, 8x8", 2e12, 1e9, None),
        Operation("linear", "8x8, 8x8", 0.1e12, 6e9, None),
        Operation("LayerNorm", "8x8", 0.0, 3e9, None),
    ]
    rows = {row.kind: row for row in rows_of([operations], Rates(tflops=1000.0, gbps=1000.0))}
    assert rows["linear"].least_ms == pytest.approx(2 + 6)
    assert rows["LayerNorm"].least_ms == pytest.approx(3)
    assert (rows["linear"].calls, rows["linear"].ms) == (2, None)


def test_what_takes_longest_comes_first() -> None:
    rows = [
        Row("LayerNorm", "8x8", calls=2, tflop=0.0, gb=3.0, least_ms=3.0, ms=4.0),
        Row("linear", "8x8, 8x8", calls=1, tflop=2.0, gb=1.0, least_ms=2.0, ms=2.5),
        Row("linear", "4x8, 8x8", calls=3, tflop=1.0, gb=1.0, least_ms=1.0, ms=3.0),
    ]
    step = Step(rows, ms=9.0)
    lines = [line.split() for line in _printed(table_of("512p/16", step))]
    assert ["linear", "4", "3.00", "2.00", "3.00", "5.50", "55%", "545", "364"] in lines
    assert ["all", "6", "3.00", "5.00", "6.00", "9.50", "63%", "316", "526"] in lines
    assert [line[0] for line in lines[-3:]] == ["linear", "LayerNorm", "all"]
    assert [line[:3] for line in map(str.split, _printed(furthest(step)))][-3:] == [
        ["linear", "4x8,", "8x8"],
        ["LayerNorm", "8x8", "2"],
        ["linear", "8x8,", "8x8"],
    ]


def _printed(table: Table) -> list[str]:
    console = Console(width=120, file=io.StringIO())
    with console.capture() as printed:
        console.print(table)
    return [line for line in printed.get().splitlines() if line.strip()]


def test_the_kernels_are_put_back() -> None:
    own = kernels.layer_norm
    with Operations():
        assert kernels.layer_norm is not own
    assert kernels.layer_norm is own
    with pytest.raises(TypeError), Operations():
        kernels.layer_norm()  # type: ignore[call-arg]
    assert kernels.layer_norm is own


def test_a_step_is_counted_without_a_card(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    output = tmp_path / "roofline.json"
    given = ["roofline", "--tflops", "640", "--gbps", "4200", "--shapes", "256p/8", "--output", str(output)]
    monkeypatch.setattr(sys, "argv", given)
    roofline.main()
    step = json.loads(output.read_text())["steps"]["256p/8"]
    copies = sum(row["calls"] for row in step["rows"] if row["kind"] == "other")
    convolutions = sum(row["calls"] for row in step["rows"] if row["kind"] == "convolution")
    assert (copies, convolutions) == (107, 52)  # a convolution's result lies as the next layer wants it
    # Less than diffusers computes, which is counted with the model.
    assert 4.0 < sum(row["tflop"] for row in step["rows"]) < 4.95
    assert step["ms"] is None


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (["--tflops", "640"], "go together"),
        (["--tflops", "640", "--gbps", "0"], "use numbers above 0"),
        (["--tflops", "640", "--gbps", "4200", "--shapes", "512p/17"], "--shapes: 512p/17"),
        (["--shapes", "512p/16"], "operations of 512p/16 are too short"),
    ],
)
def test_what_cannot_be_looked_at_is_refused(
    given: list[str], said: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["roofline", *given])
    with pytest.raises(SystemExit):
        roofline.main()
    assert said in capsys.readouterr().err
