"""A batch without a service: sheets and folders to rows, rows to clips, the manifest, and the contact sheet."""

from __future__ import annotations

import csv
import json
import os
import re
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.batch.contact_sheet import write_contact_sheet
from serving.batch.manifest import FILE, Entry, Manifest, Reason, read_entries
from serving.batch.plan import PlannedClip, plan, submission_key
from serving.batch.sheet import Defaults, Problem, Row, file_name, read_rows
from serving.errors import InvalidParameter
from serving.parameters import VideoParameters

WORDS = Defaults(prompt="pan left")
TEXT = st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1).map(str.strip).filter(bool)
ROWS = st.lists(
    st.fixed_dictionaries(
        {"picture": TEXT.filter(lambda text: "://" not in text and not text.startswith("data:")), "prompt": TEXT},
        optional={
            "seed": st.integers(0, 2**63 - 1),
            "num_frames": st.integers(8, 32),
            "guidance_scale": st.floats(1, 20),
            "size": st.sampled_from(["512x512", "768x432"]),
            "negative_prompt": TEXT,
            "meta.shelf": TEXT,
        },
    ),
    min_size=1,
    max_size=4,
)


def row(**changes: object) -> Row:
    usual = {"number": 2, "name": "mug", "picture": "https://example.com/mug.png", "prompt": "pan left"}
    rest = {"template": None, "title": None, "category": None, "fields": {}}
    return Row(**(usual | rest | changes))  # type: ignore[arg-type]


def clips(one: Row, seeds: int = 1) -> list[PlannedClip]:
    found = list(plan([one], seeds))
    assert all(isinstance(clip, PlannedClip) for clip in found), found
    return found  # type: ignore[return-value]


def write_csv(path: Path, rows: list[dict[str, str]], delimiter: str = ",") -> Path:
    columns = list(dict.fromkeys(name for cells in rows for name in cells))
    with path.open("w", newline="", encoding="utf-8-sig") as file:
        table = csv.DictWriter(file, columns, delimiter=delimiter)
        table.writeheader()
        table.writerows(rows)
    return path


@given(rows=ROWS, delimiter=st.sampled_from(",;\t"))
def test_a_sheet_says_the_same_as_csv_and_as_jsonl(
    tmp_path_factory: pytest.TempPathFactory, rows: list[dict[str, object]], delimiter: str
) -> None:
    folder = tmp_path_factory.mktemp("sheet")
    rows = [{**cells, "name": f"row-{number}"} for number, cells in enumerate(rows)]
    as_text = [{name: str(value) for name, value in cells.items()} for cells in rows]
    lines = folder / "sheet.jsonl"
    lines.write_text("".join(json.dumps(cells) + "\n" for cells in rows))
    found, problems = read_rows(write_csv(folder / "sheet.csv", as_text, delimiter), Defaults())
    same, none = read_rows(lines, Defaults())
    assert (problems, none) == ([], [])
    for one, other, cells in zip(found, same, as_text, strict=True):
        assert vars(one) | {"number": 0} == vars(other) | {"number": 0}
        assert (one.name, one.prompt, one.picture) == (cells["name"], cells["prompt"], str(folder / cells["picture"]))
        fields = {name: text for name, text in cells.items() if name not in ("name", "prompt", "picture")}
        shelf = {"metadata[shelf]": fields.pop("meta.shelf")} if "meta.shelf" in fields else {}
        assert one.fields == fields | shelf


@given(st.text())
def test_no_name_leaves_its_folder(name: str) -> None:
    with suppress(InvalidParameter):
        plain = file_name(name)
        assert re.fullmatch(r"[\w-][\w.-]*", plain)
        assert file_name(plain) == plain


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("picture,frames\na.png,8\n", "frames: unknown column"),
        ("picture,picture\na.png,b.png\n", "picture: given twice"),
        ("picture,prompt\n", "holds no rows"),
        ("", "holds no rows"),
        ('picture,prompt\n"a.png,pan\n', "cannot be read"),
    ],
)
def test_a_sheet_that_is_none(tmp_path: Path, text: str, words: str) -> None:
    (tmp_path / "sheet.csv").write_text(text)
    with pytest.raises(InvalidParameter, match=words):
        read_rows(tmp_path / "sheet.csv", WORDS)


def test_other_files_are_refused_by_what_is_allowed(tmp_path: Path) -> None:
    (tmp_path / "sheet.csv").write_bytes("picture\nb\xe4r.png\n".encode("latin-1"))
    with pytest.raises(InvalidParameter, match="UTF-8"):
        read_rows(tmp_path / "sheet.csv", WORDS)
    for name in ("sheet.xlsx", "none.csv"):
        with pytest.raises(InvalidParameter, match=name):
            read_rows(tmp_path / name, WORDS)


@pytest.mark.parametrize(
    ("cells", "param"),
    [
        ({"prompt": "pan"}, "picture"),
        ({"picture": "a.png", "name": "x", "sku": "y"}, "name"),
        ({"picture": "a.png", "name": "///"}, "name"),
        ({"picture": "data:image/png;base64,AAAA"}, "name"),
        ({"picture": "a.png", "prompt": "pan", "template": "food-steam"}, "template"),
        ({"picture": "a.png", "template": "food-steam"}, "title"),
        ({"picture": "a.png", "fps": [8]}, "fps"),
        ({"picture": "a.png", "fps": True}, "fps"),
        ({"picture": "a.png", "angles": [1, 2]}, "angles"),
        ({"picture": "a.png", "frames": 8}, "frames"),
        ({"picture": "a.png", "metadata": "shelf"}, "metadata"),
    ],
)
def test_a_bad_row_is_named_and_the_others_are_read(tmp_path: Path, cells: dict[str, object], param: str) -> None:
    sheet = tmp_path / "sheet.jsonl"
    sheet.write_text(f'{json.dumps(cells)}\n\n{{"picture": "b.png"}}\nnonsense\n[]\n')
    rows, problems = read_rows(sheet, WORDS)
    assert [one.number for one in rows] == [3]
    assert [(one.row, one.param) for one in problems] == [(1, param), (4, None), (5, None)]


@pytest.mark.parametrize(
    "cell",
    ["pan left, slowly | zoom in |", "pan left, slowly\nzoom in\n", '["pan left, slowly", "zoom in"]'],
    ids=ascii,
)
def test_angles_and_accelerations_are_lists_in_either_sheet(tmp_path: Path, cell: str) -> None:
    cells = {"picture": "a.png", "angles": cell, "acceleration": "unipc, deepcache", "loop": "pingpong"}
    (row,), _ = read_rows(write_csv(tmp_path / "sheet.csv", [cells]), WORDS)
    listed = {"angles": ["pan left, slowly", "zoom in"], "acceleration": ["unipc", "deepcache"]}
    (tmp_path / "sheet.jsonl").write_text(json.dumps(cells | listed) + "\n")
    (same,), _ = read_rows(tmp_path / "sheet.jsonl", WORDS)
    for one in (row, same):
        asked = VideoParameters.model_validate({"prompt": "p", **one.fields})
        assert (asked.angles, asked.acceleration) == (listed["angles"], listed["acceleration"])
        assert asked.loop == "pingpong"


def test_a_row_s_parts_take_the_place_of_the_command_s(tmp_path: Path) -> None:
    lines = [{"picture": "a.png", "angles": ["a", "b"]}, {"picture": "b.png", "angles": []}, {"picture": "c.png"}]
    (tmp_path / "sheet.jsonl").write_text("\n".join(map(json.dumps, lines)))
    rows, problems = read_rows(tmp_path / "sheet.jsonl", Defaults(prompt="pan left", fields={"segments": "3"}))
    assert problems == []
    assert [one.fields for one in rows] == [{"angles": '["a", "b"]'}, {"segments": "3"}, {"segments": "3"}]


def test_two_rows_of_one_name_cannot_both_have_it(tmp_path: Path) -> None:
    sheet = write_csv(tmp_path / "sheet.csv", [{"picture": "a/mug.png"}, {"picture": "b/MUG.png"}])
    rows, (problem,) = read_rows(sheet, WORDS)
    assert ([one.name for one in rows], problem.row, problem.param) == (["mug"], 3, "name")
    assert "row 2" in problem.message


def test_a_row_says_what_the_command_says_otherwise(tmp_path: Path) -> None:
    lines = [
        {"picture": "a.png"},
        {"picture": "b.png", "prompt": "zoom in", "size": "512x512", "num_frames": 9},
        {"picture": "c.png", "title": "Mug", "category": "home"},
        {"picture": "d.png", "category": "home"},
    ]
    sheet = tmp_path / "sheet.jsonl"
    sheet.write_text("\n".join(json.dumps(cells) for cells in lines))
    usual = {"resolution": "256p", "aspect_ratio": "1:1", "seconds": "1"}
    rows, _ = read_rows(sheet, Defaults(prompt="pan left", fields=usual))
    assert [(one.prompt, one.category) for one in rows] == [
        ("pan left", None),
        ("zoom in", None),
        (None, "home"),
        ("pan left", None),
    ]
    assert [one.fields for one in rows] == [usual, {"size": "512x512", "num_frames": "9"}, usual, usual]
    rows, problems = read_rows(sheet, Defaults(template="home-orbit"))
    assert [one.row for one in problems] == [1, 4]
    assert [one.prompt for one in rows] == ["zoom in", None]


def test_a_folder_with_prompts_beside_the_pictures(tmp_path: Path) -> None:
    for name in ("b_red-mug.JPG", "a.png", "a.webp", "notes.txt", "clip.mp4"):
        (tmp_path / name).touch()
    (tmp_path / "b_red-mug.txt").write_text("steam rises\n")
    rows, problems = read_rows(tmp_path, WORDS)
    assert problems == []
    assert [(one.name, one.prompt) for one in rows] == [
        ("a.png", "pan left"),
        ("a.webp", "pan left"),
        ("b_red-mug", "steam rises"),
    ]
    rows, _ = read_rows(tmp_path, Defaults(category="home"))
    assert [(one.title, one.category) for one in rows] == [("a", "home"), ("a", "home"), (None, None)]


def test_a_clip_is_the_same_in_every_run_and_another_where_anything_about_it_is() -> None:
    first, second = clips(row(), seeds=2)
    assert (first.name, second.name) == ("mug", "mug~2")
    assert first.seed != second.seed
    assert clips(row(), seeds=3)[:2] == [first, second]
    for changes in (
        {"name": "cup"},
        {"prompt": "pan right"},
        {"picture": "https://example.com/cup.png"},
        {"fields": {"fps": "9"}},
        {"fields": {"seed": "1"}},
        {"title": "Mug"},
    ):
        assert clips(row(**changes))[0].content != first.content
    beside = {"priority": "batch", "deadline": "60", "webhook_url": "https://example.com", "metadata[shelf]": "3"}
    (told,) = clips(row(fields=beside))
    assert told.content == first.content
    keys = {submission_key(clip, attempt) for clip in (first, second, told) for attempt in (1, 2)}
    assert len(keys) == 6
    assert all(re.fullmatch(r"[\x20-\x7e]{1,255}", key) for key in keys)


def test_seeds_count_up_from_the_row_s_own() -> None:
    assert [clip.seed for clip in clips(row(fields={"seed": "41"}), seeds=3)] == [41, 42, 43]
    for seed in ("-1", "x", str(2**63 - 1), "1.0"):
        (problem,) = plan([row(fields={"seed": seed})], 2)
        assert isinstance(problem, Problem)
        assert problem.param == "seed"


def test_a_picture_counts_by_what_is_in_it(tmp_path: Path) -> None:
    still = tmp_path / "a.png"
    found = []
    for content in (b"one", b"two", b"one"):
        still.write_bytes(content)
        found.append(clips(row(picture=str(still)))[0].content)
    assert found[0] == found[2] != found[1]
    still.unlink()
    (problem,) = plan([row(picture=str(still))], 2)
    assert isinstance(problem, Problem)
    assert problem.param == "picture"


def entry(clip: PlannedClip, **changes: object) -> Entry:
    usual = {"clip": clip.name, "row": clip.row.number, "name": clip.row.name, "number": clip.number}
    rest = {"picture": clip.row.picture, "content": clip.content, "status": "sending", "seed": clip.seed}
    return Entry.model_validate(usual | rest | changes)


@given(share=st.floats(0, 1))
def test_a_manifest_cut_anywhere_holds_all_that_was_whole(
    tmp_path_factory: pytest.TempPathFactory, share: float
) -> None:
    folder = tmp_path_factory.mktemp("manifest")
    (first,), (second,) = clips(row()), clips(row(name="cup"))
    with Manifest(folder) as manifest:
        noted = [manifest.note(entry(first)), manifest.note(entry(second, prompt="ärger \u2028"))]
        noted.append(manifest.note(entry(first, status="accepted", video_id="video_1")))
    whole = (folder / FILE).read_bytes()
    cut = round(share * len(whole))
    (folder / FILE).write_bytes(whole[:cut])
    # A line without its end is whole all the same.
    lines = whole.splitlines(keepends=True)
    kept = [noted[i] for i in range(3) if sum(map(len, lines[: i + 1])) - 1 <= cut]
    expected = {one.clip: one for one in kept}
    assert read_entries(folder) == expected
    with Manifest(folder) as manifest:
        assert manifest.entries == expected
        last = manifest.note(entry(second, status="failed"))
    assert read_entries(folder) == expected | {"cup": last}


def test_a_manifest_is_one_run_s(tmp_path: Path) -> None:
    with Manifest(tmp_path):
        with pytest.raises(InvalidParameter, match="another run"):
            Manifest(tmp_path)
        assert read_entries(tmp_path) == {}
    with Manifest(tmp_path):
        pass
    (tmp_path / "file").touch()
    with pytest.raises(InvalidParameter, match="cannot be written"):
        Manifest(tmp_path / "file")


def test_the_contact_sheet_shows_every_row_and_runs_nothing_that_a_row_says(tmp_path: Path) -> None:
    evil = "<script>alert(1)</script>"
    mugs, (cup,), (late,) = clips(row(prompt=evil), 2), clips(row(name="cup", number=3)), clips(row(name="z", number=4))
    done = {"status": "completed", "file": "mug.mp4", "poster": "mug.jpg", "gpu_seconds": 7200, "prompt": evil}
    entries = {
        "mug": entry(mugs[0], **done, recipe={"seed": evil}, warnings=[{"message": evil}]),
        "mug~2": entry(mugs[1], **done | {"file": "mug~2.gif"}),
        "cup": entry(cup, status="failed", error=Reason(code="x", message=f"no: {evil}")),
        "z": entry(late, content="another clip", status="completed", file="old.mp4"),
    }
    problems = [Problem(9, f"picture: {evil}")]
    path = write_contact_sheet(tmp_path, evil, [*mugs, cup, late], entries, problems, price_per_hour=2.5)
    page = path.read_text()
    assert evil not in page
    assert page.count("&lt;script&gt;") >= 7
    assert page.count("<script>") == 1
    assert page.index('src="mug.mp4"') < page.index('src="mug~2.gif"') < page.index("no: ") < page.index("row 9")
    assert "5 at 2.5 an hour" in page
    assert "old.mp4" not in page
    assert "http" not in re.sub(r"<pre>.*?</pre>", "", page)
    assert os.listdir(tmp_path) == ["index.html"]
