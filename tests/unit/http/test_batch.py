"""`i2v batch` on the real HTTP application and job store, with a worker that is quick: what it makes of a sheet."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
import stamina
from batch_hands import FAULT, WORDS, batch, clip_of, entries, sheet, working
from hands import Api

from serving.batch.manifest import FILE, Manifest
from serving.batch.wire import Wire
from serving.client import ApiError

pytestmark = pytest.mark.usefixtures("quick")


def test_a_sheet_with_its_own_words_for_each_row(roomy: Api, tmp_path: Path) -> None:
    source = sheet(
        tmp_path / "in",
        {"picture": "a.png", "sku": "A/1 red", "prompt": "zoom in", "seed": "7", "meta.shelf": "3"},
        {"picture": "b.png", "title": "Smart Phone X, 256 GB", "category": "electronics", "num_frames": "9"},
        {"picture": "c.png", "format": "gif"},
    )
    out = tmp_path / "clips"
    with working(roomy) as server:
        code, told = batch(server, source, out, *WORDS, "--num-frames", "8", "--price-per-hour", "36")
    assert (code, told["clips"], told["gpu_seconds"]) == (0, {"completed": 3}, 5.2)
    found = entries(out)
    assert list(found) == ["A-1-red", "b", "c"]
    jobs = {job.id: job for job in roomy.store.list()[0]}
    asked = {name: jobs[entry.video_id].request for name, entry in found.items()}  # type: ignore[index]
    assert (asked["A-1-red"].prompt, asked["A-1-red"].seed, asked["A-1-red"].metadata) == ("zoom in", 7, {"shelf": "3"})
    assert asked["b"].prompt.startswith("camera")
    assert "Smart Phone X" in asked["b"].prompt
    assert [(row.num_frames, row.format, row.priority) for row in asked.values()] == [
        (8, "mp4", "batch"),
        (9, "mp4", "batch"),
        (8, "gif", "batch"),
    ]
    for name, suffix in (("A-1-red", "mp4"), ("b", "mp4"), ("c", "gif")):
        assert (out / f"{name}.{suffix}").read_bytes() == clip_of(found[name].seed) == clip_of(asked[name].seed)
        assert found[name].gpu_seconds == 1.75
        assert found[name].recipe is not None
    assert {path.name for path in out.iterdir()} == {
        *("A-1-red.mp4", "A-1-red.jpg", "b.mp4", "b.jpg", "c.gif", "c.jpg", FILE, "index.html")
    }
    page = (out / "index.html").read_text()
    assert "camera" in page
    assert "0.0525 at 36 an hour" in page


def test_longer_clips_by_the_sheet_and_by_the_command(roomy: Api, tmp_path: Path) -> None:
    source = sheet(
        tmp_path / "in",
        {"picture": "a.png", "segments": "3", "loop": "pingpong"},
        {"picture": "b.png", "angles": "pan left, slowly | zoom in"},
        {"picture": "c.png"},
    )
    options = ["--angle", "pan, to the right", "--angle", "tilt up", "--acceleration", "unipc"]
    with working(roomy) as server:
        code, told = batch(server, source, tmp_path / "clips", *WORDS, *options)
    assert (code, told["clips"]) == (0, {"completed": 3})
    jobs = {job.id: job.request for job in roomy.store.list()[0]}
    asked = {name: jobs[entry.video_id] for name, entry in entries(tmp_path / "clips").items()}  # type: ignore[index]
    assert (asked["a"].segments, asked["a"].angles, asked["a"].loop) == (3, (), "pingpong")
    assert (asked["b"].segments, asked["b"].angles) == (1, ("pan left, slowly", "zoom in"))
    assert asked["c"].angles == ("pan, to the right", "tilt up")
    assert {request.acceleration for request in jobs.values()} == {("unipc",)}


def test_a_second_run_asks_for_nothing_and_more_seeds_only_for_the_new_ones(roomy: Api, tmp_path: Path) -> None:
    source = sheet(tmp_path / "in", {"picture": "a.png"}, {"picture": "b.png"})
    with working(roomy) as server:
        assert batch(server, source, tmp_path / "clips", *WORDS)[0] == 0
        first = {job.id for job in roomy.store.list()[0]}
        clips = {path: path.stat().st_mtime_ns for path in (tmp_path / "clips").glob("*.mp4")}
        assert batch(server, source, tmp_path / "clips", *WORDS) == batch(server, source, tmp_path / "clips", *WORDS)
        assert {job.id for job in roomy.store.list()[0]} == first
        # A manifest that was lost costs nothing either.
        assert batch(server, source, tmp_path / "other", *WORDS)[0] == 0
        assert {job.id for job in roomy.store.list()[0]} == first
        code, told = batch(server, source, tmp_path / "clips", *WORDS, "--seeds", "3")
        assert (code, told["clips"]) == (0, {"completed": 6})
    assert len(roomy.store.list()[0]) == 6
    assert {path: path.stat().st_mtime_ns for path in clips} == clips
    assert {path.name for path in (tmp_path / "clips").glob("a*.mp4")} == {"a.mp4", "a~2.mp4", "a~3.mp4"}
    assert len({entry.seed for entry in entries(tmp_path / "clips").values()}) == 6
    (tmp_path / "clips" / "a.mp4").unlink()
    with working(roomy) as server:
        assert batch(server, source, tmp_path / "clips", *WORDS)[0] == 0
    assert (tmp_path / "clips" / "a.mp4").exists()
    assert len(roomy.store.list()[0]) == 6


def test_a_row_that_changed_is_another_clip(roomy: Api, tmp_path: Path) -> None:
    rows = [{"picture": "a.png", "prompt": "pan left"}, {"picture": "b.png", "prompt": "pan left"}]
    with working(roomy) as server:
        assert batch(server, sheet(tmp_path / "in", *rows), tmp_path / "clips")[0] == 0
        rows[1]["prompt"] = "zoom in"
        assert batch(server, sheet(tmp_path / "in", *rows), tmp_path / "clips")[0] == 0
        assert sorted(job.request.prompt for job in roomy.store.list()[0]) == ["pan left", "pan left", "zoom in"]
        # Who waits, and where it is told, is no other clip.
        assert batch(server, tmp_path / "in" / "sheet.csv", tmp_path / "clips", "--priority", "interactive")[0] == 0
    assert len(roomy.store.list()[0]) == 3


def test_bad_rows_are_named_and_nothing_is_submitted(roomy: Api, tmp_path: Path) -> None:
    source = sheet(
        tmp_path / "in",
        {"picture": "a.png", "num_frames": "99"},
        {"picture": "b.png", "category": "spaceships", "title": "Kettle"},
        {"picture": "good.png"},
        {"picture": "cut.png"},
        {"picture": "https://example.com/d.png"},
        {"picture": "good.png"},
    )
    cut = tmp_path / "in" / "cut.png"
    cut.write_bytes(cut.read_bytes()[:-40])
    (tmp_path / "in" / "a.png").rename(tmp_path / "in" / "gone.png")
    source.write_text(source.read_text() + "gone.png,99,,\nnone.png,,,\n")
    with working(roomy) as server:
        code, told = batch(server, source, tmp_path / "clips", *WORDS)
        assert (code, told["clips"]) == (2, {"waiting": 5})
        assert [(row["row"], row["param"]) for row in told["bad_rows"]] == [
            (2, "picture"),
            (3, "category"),
            (5, "input_reference"),
            (6, "input_reference"),
            (7, "name"),
            (8, "num_frames"),
            (9, "picture"),
        ]
        # A folder's rows nobody counts.
        assert [row["name"] for row in told["bad_rows"]] == ["a", "b", "cut", "d", None, "gone", "none"]
        assert roomy.count() == 0
        code, told = batch(server, source, tmp_path / "clips", *WORDS, "--dry-run")
        assert (code, told["clips"], len(told["bad_rows"]), roomy.count()) == (2, 1, 7, 0)
        code, told = batch(server, source, tmp_path / "clips", *WORDS, "--skip-bad")
        assert (code, told["clips"]["completed"], roomy.count()) == (1, 1, 1)
    reasons = {entry.row: entry.error.message for entry in entries(tmp_path / "clips").values() if entry.error}
    assert set(reasons) == {2, 3, 5, 6, 7, 8, 9}
    assert "99 given" in reasons[8]
    page = (tmp_path / "clips" / "index.html").read_text()
    assert all(f"{name}.png" in page or name in page for name in ("none", "cut"))
    assert "allowed: 8 to 32" in page


def test_what_failed_stays_failed_until_it_is_to_be_tried_again(roomy: Api, tmp_path: Path) -> None:
    source = sheet(tmp_path / "in", {"picture": "a.png", "prompt": "pan left"}, {"picture": "b.png", "prompt": "zoom"})
    with working(roomy, fail=lambda job: job.request.prompt == "zoom") as server:
        assert batch(server, source, tmp_path / "clips")[0] == 1
        code, told = batch(server, source, tmp_path / "clips")
        assert (code, told["clips"], roomy.count()) == (1, {"completed": 1, "failed": 1}, 2)
    assert "The card said no." in (tmp_path / "clips" / "index.html").read_text()
    with working(roomy) as server:
        code, told = batch(server, source, tmp_path / "clips", "--retry-failed")
        assert (code, told["clips"], roomy.count()) == (0, {"completed": 2}, 3)
    seeds = [job.request.seed for job in roomy.store.list()[0] if job.request.prompt == "zoom"]
    assert seeds[0] == seeds[1]


def test_a_dry_run_says_what_it_would_cost(roomy: Api, tmp_path: Path) -> None:
    source = sheet(tmp_path / "in", {"picture": "a.png"}, {"picture": "b.png"})
    with working(roomy) as server:
        code, one = batch(server, source, tmp_path / "clips", *WORDS, "--dry-run", "--price-per-hour", "3600")
        _, four = batch(server, source, tmp_path / "clips", *WORDS, "--dry-run", "--seeds", "4")
        _, first = batch(server, source, tmp_path / "clips", *WORDS, "--dry-run", "--limit", "1")
    assert (code, one["clips"], four["clips"], first["clips"]) == (0, 2, 8, 1)
    assert one["cost"] == pytest.approx(one["gpu_seconds"], abs=0.1)
    assert four["gpu_seconds"] == pytest.approx(4 * one["gpu_seconds"], abs=0.3)
    assert one["gpu_seconds"] > 0
    assert roomy.count() == 0
    assert not (tmp_path / "clips").exists()


def test_a_full_queue_is_waited_for(make_api: Callable[..., Api], tmp_path: Path) -> None:
    api = make_api(max_waiting_jobs=1)
    source = sheet(tmp_path / "in", *({"picture": f"{name}.png"} for name in "abcdefgh"))
    with working(api) as server:
        code, told = batch(server, source, tmp_path / "clips", *WORDS)
    assert (code, told["clips"]) == (0, {"completed": 8})


def test_who_says_when_to_come_back_is_obeyed_and_who_says_nothing_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    stamina.set_testing(False)
    slept: list[float] = []
    full = httpx.Response(503, json=FAULT, headers={"retry-after": "7"})
    answers = [httpx.Response(200, json={}), full, full, httpx.Response(200, json={"gpu_seconds": 1})]

    async def sleep(seconds: float) -> None:
        slept.append(seconds)

    async def ask(patience_s: float) -> dict[str, Any]:
        transport = httpx.MockTransport(lambda request: answers.pop(0) if answers else httpx.Response(502))
        async with Wire("http://service", patience_s=patience_s, transport=transport) as wire:
            await wire.quote({})
            return await wire.quote({})

    monkeypatch.setattr(asyncio, "sleep", sleep)
    assert asyncio.run(ask(patience_s=0)) == {"gpu_seconds": 1}
    assert slept == [7.0, 7.0]
    answers.append(httpx.Response(200, json={}))
    with pytest.raises(ApiError, match="answered 502"):
        asyncio.run(ask(patience_s=0))


def test_exit_codes_for_a_service_out_of_reach_and_one_that_lets_nobody_in(roomy: Api, tmp_path: Path) -> None:
    source = sheet(tmp_path / "in", {"picture": "a.png"})
    code, told = batch("http://127.0.0.1:9", source, tmp_path / "clips", *WORDS)
    assert (code, told["error"]["code"]) == (3, "connection_refused")
    roomy.store.keys.create("shop")
    with working(roomy) as server:
        code, told = batch(server, source, tmp_path / "clips", *WORDS)
    assert (code, told["error"]["code"]) == (3, "invalid_api_key")
    assert batch("http://127.0.0.1:many", source, tmp_path / "clips", *WORDS)[0] == 2
    assert batch("http://127.0.0.1:9", source.with_suffix(".xls"), tmp_path / "clips", *WORDS)[0] == 2


def test_one_run_at_a_time(tmp_path: Path) -> None:
    source = sheet(tmp_path / "in", {"picture": "a.png"})
    with Manifest(tmp_path / "clips"):
        code, told = batch("http://127.0.0.1:9", source, tmp_path / "clips", *WORDS)
    assert (code, told["error"]["param"]) == (2, "output")


def test_a_job_that_the_service_has_forgotten_is_a_failure_and_no_new_clip(roomy: Api, tmp_path: Path) -> None:
    source = sheet(tmp_path / "in", {"picture": "a.png"}, {"picture": "b.png"}, {"picture": "c.png"})
    with working(roomy) as server:
        assert batch(server, source, tmp_path / "clips", *WORDS)[0] == 0
        forgotten = entries(tmp_path / "clips")["b"]
        for path in (tmp_path / "clips").glob("*.mp4"):
            path.unlink()
        httpx.delete(f"{server}/v1/videos/{forgotten.video_id}").raise_for_status()
        code, told = batch(server, source, tmp_path / "clips", *WORDS)
    assert (code, told["clips"], roomy.count()) == (1, {"completed": 2, "failed": 1}, 2)
    (error,) = [entry.error for entry in entries(tmp_path / "clips").values() if entry.error is not None]
    assert error.code == "video_not_found"
