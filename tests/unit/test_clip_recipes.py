"""What made a clip is written into it, and read from it again."""

from pathlib import Path

import pytest
from made_clips import FORMATS, RECIPE, moving
from PIL import Image

from serving.clip import probe, read_recipe
from serving.encoding import encode


@pytest.mark.parametrize("format_name", FORMATS)
def test_a_recipe_of_any_characters_comes_back(tmp_path, format_name):
    encode(moving(3), 8, tmp_path / "clip", format_name, recipe=RECIPE)
    assert read_recipe(tmp_path / "clip") == RECIPE
    assert probe(tmp_path / "clip").frames == 3


@pytest.mark.parametrize("format_name", FORMATS)
def test_a_long_recipe_comes_back(tmp_path, format_name):
    recipe = {"prompt": "🐈" * 2000, "negative_prompt": "=" * 2000, "metadata": {"n": "é" * 30_000}}
    encode(moving(2), 8, tmp_path / "clip", format_name, recipe=recipe)
    assert read_recipe(tmp_path / "clip") == recipe


@pytest.mark.parametrize("format_name", FORMATS)
def test_no_recipe(tmp_path, format_name):
    encode(moving(2), 8, tmp_path / "clip", format_name)
    assert read_recipe(tmp_path / "clip") is None
    encode(moving(2), 8, tmp_path / "clip", format_name, recipe={})
    assert read_recipe(tmp_path / "clip") == {}


def test_a_gif_with_a_recipe_opens_in_pillow(tmp_path):
    encode(moving(3), 8, tmp_path / "clip.gif", "gif", recipe=RECIPE)
    with Image.open(tmp_path / "clip.gif") as gif:
        assert gif.n_frames == 3
        assert gif.info["comment"].startswith(b'{"prompt"')


@pytest.mark.parametrize("recipe", [{"prompt": "x" * 100_001}, {"path": Path()}])
def test_recipes_that_cannot_be_stored_are_refused(tmp_path, recipe):
    with pytest.raises(ValueError, match="recipe"):
        encode(moving(2), 8, tmp_path / "clip", "mp4", recipe=recipe)
    assert not (tmp_path / "clip").exists()


def test_a_foreign_clip_has_no_recipe(tmp_path):
    path = tmp_path / "clip.gif"
    images = [Image.new("RGB", (64, 64), colour) for colour in ("red", "blue")]
    images[0].save(path, save_all=True, append_images=images[1:], comment=b"made elsewhere", duration=125)
    assert read_recipe(path) is None
    assert probe(path).frames == 2
    images[0].save(path, save_all=True, append_images=images[1:], comment=b"[1, 2]")
    assert read_recipe(path) is None
