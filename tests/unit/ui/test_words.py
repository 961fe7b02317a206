"""The table of words: both languages for every row, and rows for whatever the page names."""

from __future__ import annotations

import re
from pathlib import Path
from string import Formatter
from typing import get_args

import pytest

import serving
from serving import errors
from serving.errors import I2VError
from serving.jobs.job import Stage
from serving.montage import Loop
from serving.parameters import Fit, Focus, Priority
from serving.presets import BUILTIN, I2VGEN_XL, profile_for
from serving.prompts.catalog import CATALOG
from serving.ui.fields import FIELDS
from serving.ui.sentences import CHINESE
from serving.ui.words import LANGUAGES, TABLE, Words, preferred

ROOM = Path(serving.__file__).parent
UI = "".join(path.read_text() for path in (ROOM / "ui").glob("*.py"))


def gaps(text: str) -> set[str]:
    return {name for _, name, _, _ in Formatter().parse(text) if name}


@pytest.mark.parametrize("name", TABLE)
def test_every_row_has_both_languages(name: str) -> None:
    english, chinese = TABLE[name]
    assert english.strip()
    assert chinese.strip()
    assert gaps(english) == gaps(chinese)
    # Only an example of a prompt is English for everyone, as prompts are.
    assert re.search(r"[\u4e00-\u9fff]", chinese) or name == "prompt_example"
    assert not re.search(r"[\u4e00-\u9fff]", english)


def test_every_name_that_the_page_uses_is_a_row() -> None:
    used = set(re.findall(r"\bwords\(\s*[\"'](\w+)[\"']", UI)) | set(re.findall(r"_words\(\"(\w+)\"", UI))
    assert len(used) > 30
    assert used <= set(TABLE)


def test_what_the_service_names_has_words() -> None:
    presets = {*I2VGEN_XL.presets, *profile_for(BUILTIN).presets}
    named = {
        *(field.name for field in FIELDS),
        *(f"preset_{name}" for name in presets),
        *(f"category_{category.name}" for category in CATALOG),
        *(f"stage_{stage}" for stage in get_args(Stage)),
        *(f"fit_{fit}" for fit in get_args(Fit)),
        *(f"focus_{focus}" for focus in get_args(Focus)),
        *(f"loop_{loop}" for loop in get_args(Loop)),
        *(f"priority_{priority}" for priority in get_args(Priority)),
    }
    assert named - set(TABLE) == set()


def cautions() -> set[str]:
    """Every code, as the sources have it."""
    texts = [path.read_text() for path in ROOM.rglob("*.py") if "ui" not in path.parts]
    codes = {code for text in texts for code in re.findall(r"(?:_prompt|_caution)\(\s*\"(\w+)\"", text)}
    codes |= {code for text in texts for code in re.findall(r"(?:Caution|Advice)\(\s*code=\"(\w+)\"", text)}
    assert {"abstract_words", "small_subject", "prompt_too_long", "guidance_drifts"} <= codes
    return codes - {"picture_not_seen"}  # the page says that with the quote


def test_every_caution_has_a_heading() -> None:
    assert {f"warning_{code}" for code in cautions()} - set(TABLE) == set()


def test_every_code_of_the_service_has_a_chinese_sentence() -> None:
    refusals = {kind.code for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, I2VError)}
    symptoms = {name.removeprefix("hint_") for name in TABLE if name.startswith("hint_")}
    known = cautions() | refusals | symptoms | {"guidance"}  # the last: a model's own advice, without a code
    assert set(CHINESE) == known
    assert all(re.search(r"[\u4e00-\u9fff]", text) for text in CHINESE.values())
    assert Words("zh").told("server_overloaded") == CHINESE["server_overloaded"]
    assert Words("en").told("server_overloaded") is Words("zh").told("of_tomorrow") is None


@pytest.mark.parametrize(
    ("header", "language"),
    [
        ("zh-CN,zh;q=0.9,en;q=0.8", "zh"),
        ("en-US,en;q=0.9,zh;q=0.8", "en"),
        ("de, fr;q=0.9, zh-TW;q=0.5, en;q=0.4", "zh"),
        ("en;q=0.1, zh;q=0.2", "zh"),
        ("de", "en"),
        ("zh;q=much", "en"),
        ("", "en"),
    ],
)
def test_the_browsers_language(header: str, language: str) -> None:
    assert preferred(header) == language


def test_times_and_names() -> None:
    assert Words("en").time(0.2) == "1 s"
    assert Words("zh").time(12.4) == "12 秒"
    assert Words("en").time(125) == "2 min 05 s"
    assert Words("zh").of("preset", "preview") == "预览"
    assert Words("zh").of("preset", "four-steps") == "four-steps"
    assert Words("en").label("some_new_field") == "some new field"
    assert set(LANGUAGES) == {"en", "zh"}
