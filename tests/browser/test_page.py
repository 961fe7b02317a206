"""What a visitor of the page does, in a real browser: upload, generate, watch, choose, cancel, come back."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest
from conftest import PHONE
from playwright.sync_api import Page, expect

from deployments.child import ChildService
from deployments.demo import PICTURE

PROMPT = "A blue ceramic mug and two lemons on a wooden table, the camera pans to the left, soft light"
Visit = Callable[..., Page]


def ask(page: Page, prompt: str = PROMPT, picture: Path | None = PICTURE) -> None:
    if picture is not None:
        page.set_input_files("#picture input[type=file]", picture)
        expect(page.locator("#picture img")).to_be_visible()
    page.fill("#prompt textarea", prompt)


def advanced(page: Page) -> None:
    page.locator("#advanced button").first.click()


def upload(page: Page, picture: Path) -> None:
    """Of a file of which nothing can be shown."""
    with page.expect_response(re.compile("/upload")):
        page.set_input_files("#picture input[type=file]", picture)
    expect(page.locator("#picture img")).to_be_attached()


def videos(service: ChildService) -> list[dict[str, object]]:
    """The newest, that first."""
    found: list[dict[str, object]] = httpx.get(f"{service.url}/v1/videos", timeout=60).json()["data"]
    return found


def ids(service: ChildService) -> list[object]:
    return [video["id"] for video in videos(service)]


@pytest.mark.conformance
def test_from_a_picture_to_a_clip_that_plays(visit: Visit, service: ChildService, shots: Path) -> None:
    before = ids(service)
    page = visit()
    assert page.url == f"{service.url}/ui/en/"
    ask(page, "A beautiful mug on a table, the camera pans to the left")
    expect(page.locator("#about")).to_contain_text("The small built-in model answers here")
    # What it would cost and what is worth a look, before anything is sent.
    expect(page.locator("#quote")).to_contain_text("256x256, 8 frames, 1 s")
    expect(page.locator("#warnings")).to_contain_text('Abstract words · "beautiful"')
    # In sight, not behind the button.
    warning, button = (page.locator(at).bounding_box() for at in ("#warnings", "#press"))
    assert warning is not None
    assert button is not None
    assert warning["y"] + warning["height"] < button["y"]
    assert ids(service) == before
    page.screenshot(path=shots / "asked_en.png")

    page.click("#generate")
    clip = page.locator("article.take video")
    expect(clip).to_be_visible()
    page.wait_for_function("(clip => clip.currentTime > 0.2 && !clip.paused)(document.querySelector('article video'))")
    assert clip.evaluate("clip => [clip.videoWidth, clip.videoHeight, clip.duration]") == [256, 256, 1]
    expect(page.locator("#cancel")).to_be_hidden()

    (video,) = [video for video in videos(service) if video["id"] not in before]
    page.get_by_text("Parameters used").click()
    take = page.locator("article.take")
    expect(take).to_contain_text(f"Seed {video['parameters']['seed']}")  # type: ignore[index]
    expect(take.get_by_role("row", name="Steps")).to_contain_text("6")
    saved = Path(take.locator("code").inner_text())
    assert saved.is_file()
    assert saved.parent == service.outputs
    with page.expect_download() as downloaded:
        page.get_by_role("link", name="Download").click()
    assert Path(downloaded.value.path()).read_bytes() == saved.read_bytes()
    assert downloaded.value.suggested_filename == saved.name
    page.screenshot(path=shots / "clip_en.png", full_page=True)
    page.get_by_text("Parameters used").click()
    page.screenshot(path=shots / "played_en.png")

    # It is still there after a reload, on the right and in the gallery.
    page.reload()
    expect(page.locator("article.take video")).to_be_visible()
    past = page.locator(f"#gallery [data-id={video['id']}] img")
    expect(past).to_be_visible()
    assert past.evaluate("image => image.decode().then(() => image.naturalWidth)") == 256


def test_takes_to_choose_from(visit: Visit, shots: Path) -> None:
    page = visit()
    ask(page)
    page.locator("#takes input[type=number]").fill("3")
    page.keyboard.press("Tab")
    page.locator("#preset").get_by_text("preview").click()
    advanced(page)
    page.locator("#seed textarea, #seed input").press_sequentially("7")
    page.click("#generate")
    expect(page.locator("article.take video")).to_have_count(3)
    seeds = [seed.inner_text() for seed in page.locator("article.take .seed").all()]
    assert seeds == ["Seed 7", "Seed 8", "Seed 9"]
    tops = {round(clip.bounding_box()["y"]) for clip in page.locator("article.take").all()[:2]}  # type: ignore[index]
    assert len(tops) == 1  # side by side
    page.screenshot(path=shots / "takes_en.png", full_page=True)
    page.locator("article.take").nth(1).get_by_role("button", name="Use these settings").click()
    expect(page.locator("#seed textarea, #seed input")).to_have_value("8")
    expect(page.locator("#num_inference_steps input[type=number]")).to_have_value("4")
    expect(page.locator("#takes input[type=number]")).to_have_value("1")


@pytest.mark.conformance
def test_a_cancel_stops_the_job(visit: Visit, service: ChildService, shots: Path) -> None:
    page = visit()
    ask(page)
    page.locator("#preset").get_by_text("high").click()
    advanced(page)
    page.locator("#num_inference_steps input[type=number]").fill("50")
    page.keyboard.press("Tab")
    page.click("#generate")
    expect(page.locator("article.take [role=status]")).to_have_text(re.compile(r"Step \d+ of 50( · about \d+ s left)?"))
    expect(page.locator("#cancel")).to_be_visible()
    page.screenshot(path=shots / "progress_en.png")
    # Who comes back while it runs follows it again.
    page.reload()
    expect(page.locator("article.take [role=status]")).to_contain_text(re.compile(r"Step \d+ of 50"))
    page.click("#cancel")
    expect(page.locator("article.take")).to_contain_text("Cancelled")
    expect(page.locator("#cancel")).to_be_hidden()
    assert videos(service)[0]["error"]["code"] == "cancelled"  # type: ignore[index]


@pytest.mark.conformance
def test_errors_name_their_field(visit: Visit, service: ChildService, tmp_path: Path, shots: Path) -> None:
    before = ids(service)
    page = visit()
    notice = page.locator("#notice [role=alert]")
    page.click("#generate")
    expect(notice).to_have_text("Picture · Choose a picture first.")
    broken = tmp_path / "broken.png"
    broken.write_bytes(b"\x89PNG\r\n\x1a\n" + b"no picture" * 20)
    upload(page, broken)
    # What was said before the picture was chosen is over, and what is wrong with this one is known at once.
    expect(page.locator("#quote [role=alert]")).to_contain_text("Picture · input_reference:")
    expect(notice).to_have_count(0)
    page.fill("#prompt textarea", PROMPT)
    page.click("#generate")
    expect(notice).to_contain_text("Picture · input_reference:")
    page.reload()
    ask(page)
    advanced(page)
    page.locator("#background textarea, #background input").press_sequentially("x")
    page.click("#generate")
    expect(notice).to_contain_text("Background of padding · background: edgex given; allowed: edge, blur, or a colour")
    page.screenshot(path=shots / "error_en.png", full_page=True)
    assert ids(service) == before


def test_numbers_that_cannot_be_are_named_and_put_right(visit: Visit) -> None:
    page = visit()
    ask(page)
    advanced(page)
    quote = page.locator("#quote")
    for field, given, said, legal, told in (
        ("takes", "9", "Takes · Choose 1 to 4.", "4", "256x256, 8 frames"),
        ("takes", "", "Takes · Choose 1 to 4.", "1", "256x256, 8 frames"),
        ("num_frames", "99", "Frames · num_frames: 99 given", "32", "256x256, 32 frames"),
    ):
        number = page.locator(f"#{field} input[type=number]")
        number.fill(given)
        expect(quote.locator("[role=alert]")).to_contain_text(said)
        page.keyboard.press("Tab")
        expect(number).to_have_value(legal)
        expect(quote).to_contain_text(told)
    page.locator("#num_frames").get_by_label("Reset to default value").click()
    expect(quote).to_contain_text("256x256, 8 frames")
    expect(page.locator(".toast-body")).to_have_count(0)


def test_the_same_picture_with_another_prompt(visit: Visit, service: ChildService, shots: Path) -> None:
    page = visit()
    ask(page)
    page.locator("#preset").get_by_text("preview").click()
    page.click("#generate")
    expect(page.locator("article.take video")).to_be_visible()
    (source,) = videos(service)[:1]
    take = page.locator("article.take").first
    take.get_by_text("Same picture, another prompt").click()
    take.get_by_label("Prompt").fill(" ")
    take.get_by_role("button", name="Generate with this prompt").click()
    expect(page.locator("#notice")).to_have_text("Prompt · Write a prompt first.")
    expect(page.locator("#notice")).to_be_in_viewport()
    take.get_by_label("Prompt").fill("The camera zooms in, soft light")
    page.screenshot(path=shots / "remix_en.png")
    take.get_by_role("button", name="Generate with this prompt").click()
    # The new one stands beside the one that it comes from.
    expect(page.locator("article.take video")).to_have_count(2)
    (made,) = videos(service)[:1]
    assert (made["prompt"], made["remixed_from_video_id"]) == ("The camera zooms in, soft light", source["id"])
    assert made["parameters"] == source["parameters"]
    shown = page.locator("article.take").evaluate_all("takes => takes.map(take => take.dataset.id)")
    assert shown == [made["id"], source["id"]]
    expect(page.locator("#notice")).to_have_text("")
    # The picture on the left is not needed for it, and the prompt there stays.
    expect(page.locator("#prompt textarea")).to_have_value(PROMPT)


def test_a_longer_clip_as_a_gif(visit: Visit, service: ChildService, shots: Path) -> None:
    page = visit()
    ask(page)
    page.locator("#preset").get_by_text("preview").click()
    advanced(page)
    page.locator("#angles textarea").fill("the camera pans to the left, slowly\nthe camera zooms in")
    page.get_by_label("Loop").click()
    page.get_by_role("option", name="there and back").click()
    page.get_by_label("Format").click()
    page.get_by_role("option", name="gif").click()
    expect(page.locator("#quote")).to_contain_text("30 frames")
    page.screenshot(path=shots / "advanced_en.png", full_page=True)
    page.click("#generate")
    clip = page.locator("article.take > img")
    expect(clip).to_be_visible()
    assert clip.evaluate("image => image.decode().then(() => image.naturalWidth)") == 256
    (video,) = videos(service)[:1]
    asked = video["parameters"]
    assert asked["angles"] == ["the camera pans to the left, slowly", "the camera zooms in"]  # type: ignore[index]
    assert (asked["loop"], asked["format"]) == ("pingpong", "gif")  # type: ignore[index]
    page.screenshot(path=shots / "gif_en.png", full_page=True)
    # The settings come back as lines.
    page.reload()
    page.get_by_role("button", name="Use these settings").click()
    advanced(page)
    expect(page.locator("#angles textarea")).to_have_value("the camera pans to the left, slowly\nthe camera zooms in")


def test_more_of_the_past(visit: Visit, service: ChildService) -> None:
    url = f"{service.url}/v1/videos"
    for _ in range(13):
        files = {"input_reference": PICTURE.read_bytes()}
        video = httpx.post(url, data={"prompt": "pan left"}, files=files).json()["id"]
        httpx.post(f"{url}/{video}/cancel").raise_for_status()
    total = len(httpx.get(url, params={"limit": 100}).json()["data"])
    page = visit()
    tiles = page.locator("#gallery .gallery button")
    expect(tiles).to_have_count(12)
    page.get_by_role("button", name="Show more").click()
    expect(tiles).to_have_count(min(24, total))
    tiles.first.click()
    expect(page.locator("article.take")).to_contain_text("Cancelled")


def test_what_the_service_says_is_chinese_on_the_chinese_page(visit: Visit, tmp_path: Path, shots: Path) -> None:
    page = visit("zh-CN")
    ask(page, "A beautiful mug, 很美", picture=PICTURE)
    expect(page.locator("#warnings")).to_contain_text("请翻译成英文")
    expect(page.locator("#warnings .detail").first).to_contain_text("English")
    broken = tmp_path / "broken.png"
    broken.write_bytes(b"\x89PNG\r\n\x1a\n" + b"no picture" * 20)
    page.reload()
    ask(page, PROMPT, picture=None)
    upload(page, broken)
    page.click("#generate")
    notice = page.locator("#notice [role=alert]")
    expect(notice).to_contain_text("图片 · 图片已损坏或不完整")
    expect(notice.locator(".detail")).to_contain_text("input_reference:")
    page.screenshot(path=shots / "error_zh.png", full_page=True)
    # Nothing of Gradio's own was said, though the page was still being filled when it was written into.
    expect(page.locator(".toast-body")).to_have_count(0)


def test_chinese_on_a_phone(visit: Visit, shots: Path) -> None:
    page = visit("zh-CN", PHONE)
    assert page.url.endswith("/ui/zh/")
    assert page.locator("html").get_attribute("lang") == "zh-CN"
    expect(page.locator("#picture")).to_contain_text("点击上传")  # Gradio's own words
    page.get_by_role("button", name="提示词助手").click()
    page.get_by_label("品类").click()
    page.get_by_role("option", name="美食").click()
    page.get_by_label("商品标题").fill("Hot black coffee, 250 g (free shipping)")
    page.get_by_role("button", name="生成提示词").click()
    expect(page.locator("#prompt textarea")).to_have_value(re.compile("[Cc]offee"))
    expect(page.locator("#quote")).to_contain_text("预计")
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    page.screenshot(path=shots / "phone_zh.png")
    advanced(page)
    page.screenshot(path=shots / "phone_advanced_zh.png", full_page=True)
    # The switch, and the browser remembers it.
    page.get_by_role("link", name="English").click()
    expect(page.locator("#generate")).to_have_text("Generate")
    page.goto(page.url.removesuffix("en/"))
    assert page.url.endswith("/ui/en/")
    page.goto(page.url.replace("/en/", "/zh/"))
    expect(page.locator("#generate")).to_have_text("生成视频")


def test_every_control_has_a_name_and_the_keyboard_reaches_it(visit: Visit) -> None:
    page = visit()
    page.get_by_role("button", name="Prompt help").click()
    advanced(page)
    nameless = page.evaluate(
        """() => [...document.querySelectorAll('input:not([type=file]), textarea, button, select')]
            .filter((control) => control.checkVisibility())
            .filter((control) => !control.labels?.length && !control.ariaLabel && !control.innerText?.trim()
                && !control.title && !control.getAttribute('aria-labelledby'))
            .map((control) => control.outerHTML.slice(0, 200))"""
    )
    assert nameless == []
    page.locator("#prompt textarea").focus()
    for _ in range(60):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.id") == "generate":
            return
    pytest.fail("no way to the button by the keyboard")


def test_what_a_browser_sends_stays_a_part_of_the_path(service: ChildService) -> None:
    with httpx.Client(base_url=f"{service.url}/ui/") as http:
        assert http.get("clips/..%3Flimit=1%23").status_code == 404
        assert http.get("clips/video_none").json()["error"]["code"] == "video_not_found"
        assert http.get("language/xx").headers.get("set-cookie") is None
        # Gradio's own way to files gives nothing of this machine.
        assert http.get("en/gradio_api/file=/etc/passwd").status_code in (403, 404)


def test_no_control_takes_a_file_that_was_not_uploaded(service: ChildService) -> None:
    """Whatever a request names as one: a path, a stream, a URL, in place of the picture or anywhere else."""
    before, gradio = ids(service), f"{service.url}/ui/gradio_api"
    file = {"meta": {"_type": "gradio.FileData"}}
    named = [{"path": str(PICTURE)}, {"path": str(PICTURE), "is_stream": True}, {"path": f"{service.url}/healthz"}]
    named.append({"path": "x.jpg", "url": f"{service.url}/healthz"})
    for one in [file | one for one in named]:
        for data in ([one, "pan left", {}], [None, one, {}], [None, "pan left", {"prompt": one}]):
            event = httpx.post(f"{gradio}/call/generate", json={"data": data}).json()["event_id"]
            answer = httpx.get(f"{gradio}/call/generate/{event}").text
            assert answer.startswith("event: error"), answer
            refused = ("Cannot move", "Send the file itself", "picture: is missing")
            assert any(words in answer for words in refused), answer
    assert ids(service) == before
    with PICTURE.open("rb") as picture:
        (path,) = httpx.post(f"{gradio}/upload", files={"files": picture}).json()
    event = httpx.post(f"{gradio}/call/generate", json={"data": [file | {"path": path}, "pan left", {}]})
    answer = httpx.get(f"{gradio}/call/generate/{event.json()['event_id']}", timeout=60).text
    assert "event: complete" in answer


def test_a_key_is_asked_for_and_opens_its_own_clips_alone(visit: Visit, service: ChildService) -> None:
    """The last one: from here on the service asks for keys."""
    with PICTURE.open("rb") as picture:
        nobodys = httpx.post(
            f"{service.url}/v1/videos", data={"prompt": "pan left"}, files={"input_reference": picture}
        ).json()
    httpx.post(f"{service.url}/v1/videos/{nobodys['id']}/cancel").raise_for_status()
    made = subprocess.run(
        [sys.executable, "-m", "deployments", "keys", "create", "studio", "--json"],
        cwd=service.folder,
        env=service.environment,
        capture_output=True,
        check=True,
    )
    key = json.loads(made.stdout)["key"]
    page = visit(locked=True)
    entry, enter = page.locator("#key input"), page.get_by_role("button", name="Use this key")
    expect(page.locator("#notice")).to_contain_text("Enter an API key")
    entry.fill("i2v_wrong")
    enter.click()
    expect(entry).to_have_value("")
    expect(page.locator("#notice")).to_contain_text("Enter an API key")
    entry.fill(key)
    enter.click()
    expect(page.locator("#preset input").nth(1)).to_be_attached()
    expect(entry).to_be_hidden()
    # Nobody leaves pictures here without a key.
    upload = httpx.post(f"{page.url}gradio_api/upload", files={"files": b"x" * 100})
    assert upload.status_code == 401
    # Programs send theirs as they do to the API.
    bearer, gradio = {"authorization": f"Bearer {key}"}, f"{service.url}/ui/gradio_api"
    for headers, words in ((None, "Send a key"), (bearer, "num_frames: 99 given")):
        with PICTURE.open("rb") as picture:
            (path,) = httpx.post(f"{gradio}/upload", files={"files": picture}, headers=bearer).json()
        data = [{"path": path, "meta": {"_type": "gradio.FileData"}}, "pan left", {"num_frames": 99}]
        event = httpx.post(f"{gradio}/call/generate", json={"data": data}, headers=headers).json()["event_id"]
        assert words in httpx.get(f"{gradio}/call/generate/{event}", headers=headers).text
    expect(page.locator("#gallery")).to_have_text("No clips yet.")
    ask(page)
    page.click("#generate")
    page.wait_for_function("document.querySelector('article video')?.currentTime > 0.2", timeout=60_000)
    assert key not in page.evaluate("document.cookie + JSON.stringify(localStorage)")  # no script can read it
    clip = page.locator("article video").get_attribute("src")
    assert httpx.get(f"{page.url}{clip}").status_code == 401
    # It is remembered, and another visitor sees nothing.
    page.reload()
    expect(page.locator("#gallery img")).to_have_count(1)
    other = visit(locked=True)
    expect(other.locator("#notice")).to_contain_text("Enter an API key")
    expect(other.locator("#gallery img")).to_have_count(0)
