"""A job on the terminal: submitted, followed with a progress bar, downloaded. Knows no commands."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rich.progress import BarColumn, Progress, SpinnerColumn, TaskID, TextColumn, TimeElapsedColumn

from serving.client import ApiError, Client, Video
from serving.console import err
from serving.errors import Cancelled


def generate_at(client: Client, picture: Path, fields: dict[str, Any], path: Path) -> dict[str, Any]:
    """Submit to a service, and `obtain` the clip."""
    return obtain(client, client.submit(picture, fields), path)


def obtain(client: Client, video: Video, path: Path) -> dict[str, Any]:
    """Follow a job with a progress bar and download its clip to `path`; Ctrl-C cancels the job there too.

    Raises:
        ApiError: it failed, was cancelled, or the service is out of reach.
    """
    try:
        with progress_bar() as progress:
            task = progress.add_task("queued", total=100)
            video = client.follow(video, lambda now: _show(progress, task, now))
    except KeyboardInterrupt:
        client.cancel(video["id"])
        raise ApiError(f"{video['id']}: cancelled.", code=Cancelled.code) from None
    if video["status"] == "failed":
        raise ApiError(f"{video['id']}: {video['error']['message']}", code=video["error"]["code"])
    client.download(video["id"], path)
    return {**video, "path": str(path)}


def progress_bar() -> Progress:
    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.percentage:>3.0f}%"),
    )
    return Progress(*columns, TimeElapsedColumn(), console=err, transient=True)


def _show(progress: Progress, task: TaskID, video: Video) -> None:
    text = str(video["stage"] or video["status"]).replace("_", " ")
    if video["queue_position"]:
        text += f", place {video['queue_position']}"
    if video["stage"] in ("denoising", "paused"):
        text += f" {video['step']}/{video['steps']}"
    if video["eta_s"] is not None:
        text += f", {video['eta_s']:.0f} s left"
    progress.update(task, description=text, completed=video["progress"])
