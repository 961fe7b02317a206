"""The warps do what their names say: directions are checked on a bright spot, not on the formula."""

from __future__ import annotations

import pytest
import torch

from serving.training.moves import BY_NAME, FULL, GENTLE, MOVES, render

SIDE = 65


def spot(x: int, y: int, width: int = SIDE, height: int = SIDE) -> torch.Tensor:
    """(1, 3, height, width) black with one soft white spot."""
    rows, columns = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    light = torch.exp(-((rows - y) ** 2 + (columns - x) ** 2) / 8.0) * 2 - 1
    return light.expand(1, 3, -1, -1).contiguous()


def place(frame: torch.Tensor) -> tuple[float, float]:
    """(x, y) of the light's centre of mass."""
    light = (frame[0] + 1).clamp(min=0.05) - 0.05
    height, width = light.shape
    total = light.sum()
    return float((light.sum(0) * torch.arange(width)).sum() / total), float(
        (light.sum(1) * torch.arange(height)).sum() / total
    )


def last(move: str, x: int, y: int, *, strength: float = FULL) -> tuple[float, float]:
    return place(render(spot(x, y), [BY_NAME[move]], [strength], 8)[0, -1])


@pytest.mark.parametrize("move", [move.name for move in MOVES])
def test_every_move_starts_at_the_picture(move: str) -> None:
    picture = torch.rand(1, 3, 32, 48) * 2 - 1
    clip = render(picture, [BY_NAME[move]], [FULL], 8)
    assert clip.shape == (1, 8, 3, 32, 48)
    assert torch.allclose(clip[0, 0], picture[0], atol=1e-4)


@pytest.mark.parametrize(
    ("move", "right", "down"),
    [("static", 0, 0), ("pan left", 1, 0), ("pan right", -1, 0), ("pan up", 0, 1), ("pan down", 0, -1)],
)
def test_content_moves_against_the_pan(move: str, right: int, down: int) -> None:
    x, y = last(move, 32, 32)
    assert x - 32 == pytest.approx(right * 0.08 * SIDE, abs=0.5)
    assert y - 32 == pytest.approx(down * 0.08 * SIDE, abs=0.5)


def test_zoom_in_moves_content_outwards_and_zoom_out_inwards() -> None:
    assert last("zoom in", 48, 32)[0] == pytest.approx(32 + 16 * 1.18, abs=0.5)
    assert last("zoom out", 48, 32)[0] == pytest.approx(32 + 16 / 1.18, abs=0.5)


def test_clockwise_takes_the_top_to_the_right_on_screen() -> None:
    assert last("rotate clockwise", 32, 12)[0] > 33.5
    assert last("rotate counter-clockwise", 32, 12)[0] < 30.5


def test_a_turn_keeps_distances_in_a_wide_picture() -> None:
    picture = spot(60, 24, width=97, height=49)
    x, y = place(render(picture, [BY_NAME["rotate clockwise"]], [FULL], 8)[0, -1])
    assert ((x - 48) ** 2 + (y - 24) ** 2) ** 0.5 == pytest.approx(12, abs=0.5)


def test_gentle_goes_less_far() -> None:
    full, gentle = last("pan left", 32, 32)[0] - 32, last("pan left", 32, 32, strength=GENTLE)[0] - 32
    assert gentle == pytest.approx(full * GENTLE, abs=0.5)
