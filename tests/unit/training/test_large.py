"""A UNet that knows 256p goes on at 512p: what it is shown, how it resumes, and where its weights go."""

from __future__ import annotations

import random
import statistics
from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import I2VGenXLUNet
from PIL import Image
from torch import nn

from serving.presets import target_size
from serving.training import checkpoint as checkpoints
from serving.training import photos
from serving.training.__main__ import main
from serving.training.checkpoint import Checkpoint
from serving.training.folder import BUILTIN, read
from serving.training.frames import Gallery
from serving.training.masters import Masters
from serving.training.motion import LARGE_SHAPES, SHAPES, TINY, Shape, lagging, posed, time_of, train_unet
from serving.training.pictures import gallery
from serving.training.recipe import Pack, Recipe, _pack, enlarge

SQUARE = {side: Shape(8, side, side, 1, 1.0) for side in (256, 512)}


class Killed(Exception):
    """What ends a training in its middle."""


class Ends(Checkpoint):
    """The process ends with the first save."""

    def save(self, state: dict[str, object]) -> None:
        super().save(state)
        raise Killed


def test_it_learns_the_sizes_that_are_served_and_goes_on_with_those_it_knows() -> None:
    assert sum(shape.share for shape in LARGE_SHAPES) == pytest.approx(1)
    sizes = {(shape.width, shape.height) for shape in LARGE_SHAPES}
    assert sizes >= {target_size(side, aspect) for side in (256, 512) for aspect in (9 / 16, 1, 16 / 9)}
    assert {(s.frames, s.height, s.width) for s in SHAPES} < {(s.frames, s.height, s.width) for s in LARGE_SHAPES}


def test_larger_shapes_are_met_under_more_noise() -> None:
    rng = random.Random(0)
    times = {side: [time_of(rng, shape) for _ in range(4000)] for side, shape in SQUARE.items()}
    pure = {side: found.count(999) / len(found) for side, found in times.items()}
    others = {side: [time for time in found if time != 999] for side, found in times.items()}
    assert all(min(found) >= 10 and max(found) <= 999 for found in times.values())
    assert pure == {256: pytest.approx(0.25, abs=0.03), 512: pytest.approx(0.354, abs=0.03)}
    assert statistics.median(others[256]) == pytest.approx(500, abs=30)
    assert statistics.median(others[512]) == pytest.approx(667, abs=30)
    assert min(others[512]) < 100  # the last steps stay in practice


def test_a_clip_that_lags_leads_back_to_the_right_one() -> None:
    torch.manual_seed(0)
    clean, noise = torch.randn(2, 4, 3, 2, 2), torch.randn(2, 4, 3, 2, 2)
    seen = lagging(clean, [0.0, 1.0])
    assert torch.equal(seen[0], clean[0])
    assert torch.allclose(seen[1], clean[1, :, :1].expand(4, 3, 2, 2))
    signal, sigma = torch.tensor(0.6), torch.tensor(0.8)
    noisy, wanted = posed(clean, seen, noise, signal, sigma)
    assert torch.allclose(signal * noisy - sigma * wanted, clean, atol=1e-5)
    assert torch.allclose(wanted[0], signal * noise[0] - sigma * clean[0], atol=1e-6)


def test_a_rate_may_fall_to_nothing() -> None:
    rates = [Masters(nn.Linear(1, 1), rate=1.0, least=least).learning_rate(1.0) for least in (0.02, 0.0)]
    assert rates == [pytest.approx(0.02 / 200), 0.0]


def test_it_goes_on_from_what_was_trained_and_resumes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checkpoints, "EVERY_S", 0.0)
    parts, begun = read(BUILTIN), read(BUILTIN).unet.state_dict()
    pictures = gallery(range(3), 48)
    file = tmp_path / "large.part"
    for steps in (1, 2):
        with pytest.raises(Killed):
            train_unet(parts, Gallery(pictures, torch.device("cpu"), seed=0), Ends(file), seconds=1e6, shapes=TINY,
                       doubt=1.0)  # fmt: skip
        state = Checkpoint(file).load()
        assert state is not None
        assert int(state["steps"]) == steps
    np.save(tmp_path / "large.npy", pictures)
    # No second is left: the result is what had been averaged by then.
    enlarge(Recipe(large_shapes=TINY, large_seconds=0.0), parts, tmp_path)
    made = torch.cat([weight.flatten() for weight in parts.unet.parameters()])
    before = torch.cat([begun[name].flatten() for name, _ in parts.unet.named_parameters()])
    assert torch.equal(made, state["averaged"])
    assert 0 < (made - before).abs().max() < 1e-3
    assert not file.exists()
    assert (tmp_path / "large.pt").is_file()


def test_the_unet_goes_into_a_copy_and_nothing_else_changes(tmp_path: Path) -> None:
    made = {name: weight.half().float() * 0.5 for name, weight in read(BUILTIN).unet.state_dict().items()}
    torch.save(made, tmp_path / "large.pt")
    np.save(tmp_path / "large.npy", gallery(range(1), 48))
    main(["large", "--work", str(tmp_path), "--into", str(tmp_path / "model")])
    found = I2VGenXLUNet.from_pretrained(tmp_path / "model" / "unet", torch_dtype=torch.float32).state_dict()
    assert all(torch.equal(found[name], weight.half().float()) for name, weight in made.items())
    for path in (path.relative_to(BUILTIN) for path in BUILTIN.rglob("*") if path.is_file()):
        if path.parts[0] != "unet":
            assert (tmp_path / "model" / path).read_bytes() == (BUILTIN / path).read_bytes()


def test_photographs_may_lie_in_a_folder(tmp_path: Path) -> None:
    for name in photos.LEARNED:
        Image.new("RGB", (60, 50), (200, 0, 0)).save(tmp_path / name)
    pack = Pack(range(2), 48, photo_share=13.5, photos=tmp_path)
    pixels = _pack(pack, tmp_path / "large.npy", workers=1)
    assert pixels.shape == (2 + 27, 48, 48, 3)  # three squares of each photograph
    assert pixels[-1].std((0, 1)).max() < 5
    assert np.array_equal(pixels, _pack(pack, tmp_path / "large.npy", workers=1))
