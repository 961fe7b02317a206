"""What the page shows as HTML: clips, their progress and settings, warnings, quotes, refusals. Pure functions.

Whatever came from a user or the service is escaped here. Addresses are relative to the page of one language.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from serving.client import ApiError, Quote, Video
from serving.ui.words import Words

ACT, VIDEO_ID = "data-act", "data-id"
"""The attributes of a button that say what it does, and to which video; `CLICKS` hands them on, with the text that was
written beside it."""
CLICKS = """
element.addEventListener('click', (event) => {
    const button = event.target.closest('[data-act]');
    const text = button?.parentElement.querySelector('textarea')?.value;
    if (button) trigger('click', {act: button.dataset.act, id: button.dataset.id, text});
});
"""
TOLD_ELSEWHERE = ("width", "height", "seed", "deadline_s")
"""What the table of parameters says in another way, or not at all."""


def address(video: Video, variant: str = "video") -> str:
    return f"../clips/{escape(video['id'])}?variant={variant}"


def take(video: Video, words: Words) -> str:
    """One clip, or how far it is."""
    if video["status"] == "completed":
        shown = _player(video, words)
    elif video["status"] == "failed":
        shown = _failure(video, words)
    else:
        shown = _progress(video, words)
    return f'<article class="take" {VIDEO_ID}="{escape(video["id"])}">{shown}</article>'


def status(video: Video, words: Words) -> str:
    """Where a video stands, in one line of text."""
    if video["status"] == "failed":
        return words("cancelled" if video["error"]["code"] == "cancelled" else "failed")
    if video["status"] == "completed":
        return words("completed")
    parts = []
    if video["status"] == "queued":
        position = video["queue_position"]
        parts.append(words("queued") if position is None else words("queued_at", position=position))
    elif video["stage"] is None:
        parts.append(words("in_progress"))
    else:
        parts.append(words(f"stage_{video['stage']}", step=video["step"], steps=video["steps"]))
    if video["attempt"] > 1:
        parts.append(words("attempt", attempt=video["attempt"]))
    if video["eta_s"] is not None:
        parts.append(words("left", left=words.time(video["eta_s"])))
    return " · ".join(parts)


def gallery(videos: Sequence[Video], words: Words, *, more: bool = False) -> str:
    """Past clips, the newest first, each a button."""
    if not videos:
        return f'<p class="quiet">{words("gallery_empty")}</p>'
    tiles = "".join(_tile(video, words) for video in videos)
    button = f'<button class="act" {ACT}="more">{words("more")}</button>' if more else ""
    return f'<div class="gallery">{tiles}</div>{button}'


def warnings(cautions: Sequence[Mapping[str, Any]], words: Words) -> str:
    rows = "".join(
        f"<li><b>{escape(words.of('warning', row['code']))}</b> · "
        f"{_told(row['code'], ' '.join(filter(None, (row['message'], row['suggestion']))), words)}</li>"
        for row in cautions
        if row["code"] != "picture_not_seen"
    )
    return f'<div class="note warn"><h3>{words("warnings")}</h3><ul>{rows}</ul></div>' if rows else ""


def quote(found: Quote, takes: int, words: Words, *, seen: bool = True) -> str:
    """What it would cost, and when it would be done; `seen`: whether it was asked with the picture."""
    if found["refusal"] is not None:
        return note(_told(found["refusal"]["code"], found["refusal"]["message"], words))
    finish = words.time(found["finishes_in_s"])
    parts = [
        words("quote_clip", size=found["size"], frames=found["num_frames"], seconds=_short(found["seconds"])),
        words("quote_cost", cost=words.time(found["gpu_seconds"])),
        words("quote_done" if takes == 1 else "quote_done_first", finish=finish),
    ]
    if found["queue"]["jobs"]:
        parts.append(words("quote_line", jobs=found["queue"]["jobs"]))
    if not seen:
        parts.append(words("quote_unseen"))
    return f'<p class="note"><b>{words("quote")}:</b> {escape("; ".join(parts))}</p>'


def refusal(error: ApiError, words: Words) -> str:
    """An error of the service, under the name its field has on the page."""
    if error.code == "connection_lost":
        return note(escape(words("unreachable")))
    if error.code == "invalid_api_key":
        return note(escape(words("key_refused")))
    return note(_told(error.code, str(error), words), words.label(error.param) if error.param else None)


def _short(seconds: str) -> str:
    return f"{float(seconds):.3g}"


def wrong(field: str, words: Words, **values: object) -> str:
    """A field that was left empty, or holds what cannot be."""
    return note(escape(words(f"{field}_wrong", **values)), words(field))


def resting(words: Words) -> str:
    """In place of a quote, where the key has asked too often."""
    return f'<p class="note quiet">{words("quote_rests")}</p>'


def about_model(told: str) -> str:
    return f'<p class="quiet">{escape(told)}</p>'


def note(told: str, about: str | None = None) -> str:
    """Something that is wrong, as HTML; read out at once."""
    field = "" if about is None else f"<b>{escape(about)}</b> · "
    return f'<div class="note error" role="alert">{field}{told}</div>'


def _told(code: str, english: str, words: Words) -> str:
    """What the service says: in the page's language by its code, with its own English beneath; else that alone."""
    meant = words.told(code)
    if meant is None:
        return escape(english)
    return f'{escape(meant)} <small class="detail" lang="en">{escape(english)}</small>'


def _player(video: Video, words: Words) -> str:
    prompt, source = escape(video["prompt"]), address(video)
    if video["file"] is None:
        clip = f'<p class="quiet">{words("expired")}</p>'
        download = ""
    elif video["parameters"]["format"] == "gif":
        clip = f'<img src="{source}" alt="{prompt}">'
        download = _download(source, words)
    else:
        poster = address(video, "thumbnail")
        playing = "controls loop muted autoplay playsinline"
        clip = f'<video src="{source}" poster="{poster}" aria-label="{prompt}" {playing}></video>'
        download = _download(source, words)
    seed = words("seed_is", seed=video["parameters"]["seed"])
    use = f'<button class="act" {ACT}="use" {VIDEO_ID}="{escape(video["id"])}">{words("use")}</button>'
    return (
        f'{clip}<p class="prompt">{prompt}</p><p class="row"><span class="seed">{seed}</span>{download}{use}</p>'
        f"{_again(video, words)}{_saved(video, words)}{_echo(video, words)}{_hints(video, words)}"
    )


def _again(video: Video, words: Words) -> str:
    """The way to the same picture and parameters with another prompt, folded."""
    entry = f'<textarea rows="3" aria-label="{words("prompt")}">{escape(video["prompt"])}</textarea>'
    press = f'<button class="act" {ACT}="remix" {VIDEO_ID}="{escape(video["id"])}">{words("remix_press")}</button>'
    return f'<details class="again"><summary>{words("remix")}</summary>{entry}{press}</details>'


def _download(source: str, words: Words) -> str:
    return f'<a class="act" href="{source}" download>{words("download")}</a>'


def _saved(video: Video, words: Words) -> str:
    if video["file"] is None:
        return ""
    return f'<p class="quiet">{words("saved")} <code>{escape(video["file"])}</code></p>'


def _echo(video: Video, words: Words) -> str:
    """The parameters used, as a folded table."""
    told = {words("size"): video["size"], words("length"): words("seconds", seconds=_short(video["seconds"]))}
    for name, value in video["parameters"].items():
        if name not in TOLD_ELSEWHERE and value not in (None, "", []):
            told[words.label(name)] = "; ".join(value) if isinstance(value, list) else words.of(name, str(value))
    told[words("seed")] = video["parameters"]["seed"]
    told[words("model")] = video["model"]
    if video["recipe"] is not None:
        told[words("card")] = video["recipe"]["card"]
    if video["timings"] is not None:
        told[words("made_in")] = words("seconds", seconds=f"{sum(video['timings'].values()):.1f}")
    told[words("video")] = video["id"]
    cells = [(escape(str(name)), escape(str(value))) for name, value in told.items()]
    rows = "".join(f'<tr><th scope="row">{name}</th><td>{value}</td></tr>' for name, value in cells)
    return f"<details><summary>{words('parameters')}</summary><table>{rows}</table></details>"


def _hints(video: Video, words: Words) -> str:
    rows = "".join(
        f"<p class='quiet'>{escape(words.of('hint', hint['symptom']))} "
        f"{_told(hint['symptom'], hint['message'], words)}</p>"
        for hint in video["hints"]
    )
    return f"<details><summary>{words('hints')}</summary>{rows}</details>" if rows else ""


def _failure(video: Video, words: Words) -> str:
    seed = words("seed_is", seed=video["parameters"]["seed"])
    error = video["error"]
    text = "" if error["code"] == "cancelled" else _told(error["code"], error["message"], words)
    return (
        f'<div class="blank"><b>{status(video, words)}</b><span>{text}</span></div>'
        f'<p class="row"><span class="seed">{seed}</span></p>{_again(video, words)}'
    )


def _progress(video: Video, words: Words) -> str:
    told, percent = escape(status(video, words)), int(video["progress"])
    return (
        f'<div class="blank"><progress max="100" value="{percent}" aria-label="{told}"></progress>'
        f'<span role="status">{told}</span></div>'
        f'<p class="row"><span class="seed">{words("seed_is", seed=video["parameters"]["seed"])}</span></p>'
    )


def _tile(video: Video, words: Words) -> str:
    told = escape(words("show", prompt=video["prompt"]))
    state = escape(status(video, words))
    if video["status"] == "completed" and video["file"] is not None:
        inside = f'<img src="{address(video, "thumbnail")}" alt="" loading="lazy">'
    else:
        inside = f'<span class="blank">{state}</span>'
    button = f'<button {ACT}="show" {VIDEO_ID}="{escape(video["id"])}" title="{told}" aria-label="{told}, {state}">'
    return f'{button}{inside}<span class="caption">{escape(video["prompt"])}</span></button>'
