"""Training that is interrupted goes on where it was, and what is done is not done again."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn
from transformers import CLIPTokenizer

from serving.training import checkpoint as checkpoints
from serving.training import photos
from serving.training.architecture import build_text_encoder
from serving.training.checkpoint import Checkpoint
from serving.training.folder import BUILTIN
from serving.training.masters import Masters
from serving.training.pictures import HELD_OUT, product
from serving.training.text import train_text_encoder


class Killed(Exception):
    """What ends a training in its middle."""


class Ends(Checkpoint):
    """Due after every step; the process ends with the second."""

    saved = 0

    def save(self, state: dict[str, object]) -> None:
        super().save(state)
        self.saved += 1
        if self.saved == 2:
            raise Killed


@pytest.fixture
def each_step(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checkpoints, "EVERY_S", 0.0)


@pytest.mark.usefixtures("each_step")
def test_the_text_encoder_goes_on_with_weights_moments_and_schedule(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tokenizer = CLIPTokenizer.from_pretrained(BUILTIN / "tokenizer")
    torch.manual_seed(0)
    encoder = build_text_encoder(tokenizer)
    with pytest.raises(Killed):
        train_text_encoder(encoder, tokenizer, Ends(tmp_path / "text.part"), steps=5, batch=2)
    state = Checkpoint(tmp_path / "text.part").load()
    assert state is not None
    assert (state["step"], state["schedule"]["last_epoch"]) == (2, 2)
    trained = {name: weight.clone() for name, weight in encoder.state_dict().items()}
    assert all(torch.equal(state["encoder"][name], weight) for name, weight in trained.items())

    fresh, last = build_text_encoder(tokenizer), Checkpoint(tmp_path / "text.part")
    capsys.readouterr()
    train_text_encoder(fresh, tokenizer, last, steps=5, batch=2)
    assert "text 0" not in capsys.readouterr().out
    state = last.load()
    assert state is not None
    assert (state["step"], state["schedule"]["last_epoch"]) == (5, 5)
    assert state["optimizer"]["state"][0]["step"] == 5


def test_master_weights_go_on_as_if_nothing_had_been(tmp_path: Path) -> None:
    def step(masters: Masters, number: int) -> None:
        masters.step([torch.full_like(p, 0.1 * number) for p in masters.parameters], 0.1 * number)

    torch.manual_seed(0)
    through, cut = nn.Linear(3, 2), nn.Linear(3, 2)
    cut.load_state_dict(through.state_dict())
    kept, resumed = Masters(through, rate=1e-2), Masters(cut, rate=1e-2)
    for number in (1, 2):
        step(kept, number)
        step(resumed, number)
    file = Checkpoint(tmp_path / "part")
    file.save(resumed.state(7.5))
    again = Masters(nn.Linear(3, 2), rate=1e-2)
    assert again.resume(file) == 7.5
    for masters in (kept, again):
        step(masters, 3)
    for wanted, found in zip(kept.weights, again.weights, strict=True):
        assert torch.allclose(found, wanted, atol=1e-4)  # moments are kept in bfloat16
    file.remove()
    assert Masters(nn.Linear(3, 2), rate=1e-2).resume(file) == 0.0


def test_photographs_that_are_not_installed_say_how_to_get_them() -> None:
    with pytest.raises(FileNotFoundError, match=r"nothing\.png is not installed: pip install 'i2v-serve\[training\]'"):
        photos.files(("nothing.png",))


def test_every_photograph_is_in_the_notice() -> None:
    notice = (Path(photos.__file__).parent / "NOTICE").read_text()
    assert [name for name in (*photos.LEARNED, *photos.HELD_OUT) if name not in notice] == []


def test_a_product_shot_is_one_thing_on_plain_ground() -> None:
    pixels = product(HELD_OUT, 64)
    assert pixels.shape == (64, 64, 3)
    assert pixels[:, :4].std((0, 1)).max() < 25
    assert (pixels == product(HELD_OUT, 64)).all()
    assert not (pixels == product(HELD_OUT + 1, 64)).all()
