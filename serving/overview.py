"""What a service does now, as tables for people: its pools and its newest videos. Knows nothing of the commands."""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import Any

from rich.markup import escape
from rich.table import Table

from serving.client import Video


def pools_table(pools: Iterable[dict[str, Any]]) -> Table:
    """One row a pool, of GET /v1/pools."""
    table = Table("pool", "model", "card", "memory", "cards", "busy", "idle", "waiting", "most frames", "presets")
    for pool in pools:
        memory = "" if pool["memory_gib"] is None else f"{pool['memory_gib']:g} GiB"
        cards = f"{len(pool['cards'])} of {pool['min_replicas']} to {pool['max_replicas']}"
        waiting = f"{pool['waiting']['jobs']} ({pool['waiting']['gpu_seconds']:g} s)"
        frames = ", ".join(f"{name} {most or 'none'}" for name, most in pool["max_frames"].items())
        presets = ", ".join(preset["preset"] for preset in pool["presets"] if preset["fits"])
        names = (pool["name"], pool["model"], escape(pool["card"]))
        table.add_row(*names, memory, cards, str(pool["busy"]), str(pool["idle"]), waiting, frames, presets)
    return table


def videos_table(videos: Iterable[Video]) -> Table:
    """One row a video, as they come."""
    table = Table("video", "accepted", "status", "progress", "prompt")
    for video in videos:
        accepted = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(video["created_at"]))
        state = video["error"]["code"] if video["error"] else video["stage"] or video["status"]
        prompt = escape(" ".join(video["prompt"].split())[:60])
        table.add_row(video["id"], accepted, state.replace("_", " "), f"{video['progress']}%", prompt)
    return table
