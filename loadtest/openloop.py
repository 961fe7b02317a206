"""Open-loop load: each request is sent at the moment it is due, whatever the server does about those before it.

A sender that waits for answers sends less to a server that stalls, and measures only what it still sends: that is
coordinated omission. Here nothing waits: every request is a task of its own, there is no bound on connections, and
all latencies count from when a request was due. Where this process itself falls behind, that is a figure of its own
(`lag`). A request that is refused is not sent again.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable, Sized
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

import httpx

from loadtest.rows import COMPLETED, FAILED, REFUSED, UNFINISHED, Row
from loadtest.scenarios import Request
from loadtest.server import ENDED, Server, poll_after_s, refusal, video_of
from serving.jobs.job import accepted_at

TICK_S = 0.5
TAKING_BACK_S = 10.0
"""How long to wait, once it is over, for the answer to a submission that is to be deleted."""
MISSED_POLLS = 20
"""In a row, after which a video counts as lost."""
CLOCKS_AGREE_S = 2.0
Write = Callable[[Row], None]


@dataclass
class Progress:
    """Counts so far."""

    now: float = 0.0
    total: int | None = None
    """How many are to be sent in all, where that is known."""
    due: int = 0
    accepted: int = 0
    refused: int = 0
    completed: int = 0
    failed: int = 0
    lag_s: float = 0.0
    """How late the latest request was sent."""
    over: bool = False
    """Whether all have been sent."""

    @property
    def open(self) -> int:
        """Accepted and not ended."""
        return self.accepted - self.completed - self.failed


Told = Callable[[Progress], bool]
"""Is told the counts twice a second, and says whether it has seen enough: no more is sent then, nor waited for."""


class Player:
    """Plays requests against one server; `write` gets each one's row once it is over."""

    def __init__(self, server: Server, write: Write, *, download: bool = True, patience_s: float = 600.0) -> None:
        """`patience_s`: how long after the last request to wait for what is unfinished, which is then deleted."""
        self._server, self._write = server, write
        self._download, self._patience_s = download, patience_s
        self._began = self._wall = 0.0
        self.progress = Progress()

    async def play(self, requests: Iterable[Request], told: Told = lambda progress: False) -> None:
        """Until the last one is over.

        Raises:
            OSError: a row could not be written; what was unfinished then is taken back.
        """
        self._began, self._wall = time.monotonic(), time.time()
        self.progress.total = len(requests) if isinstance(requests, Sized) else None
        tasks: set[asyncio.Task[None]] = set()
        broken: list[BaseException] = []
        enough = asyncio.Event()

        def over(task: asyncio.Task[None]) -> None:
            tasks.discard(task)
            if not task.cancelled() and (error := task.exception()) is not None:
                broken.append(error)
                enough.set()

        ticker = asyncio.create_task(self._tick(told, enough))
        try:
            for number, request in enumerate(requests):
                while (left_s := request.at - self._now()) > 0 and not enough.is_set():
                    await asyncio.sleep(min(left_s, TICK_S))
                if enough.is_set():
                    break
                self.progress.due += 1
                task = asyncio.create_task(self._one(number, request))
                tasks.add(task)
                task.add_done_callback(over)
            self.progress.over = True
            until = self._now() + self._patience_s
            while tasks and not enough.is_set() and (left_s := until - self._now()) > 0:
                await asyncio.wait(tasks, timeout=min(left_s, TICK_S))
        finally:
            ticker.cancel()
            # After Ctrl-C, too: what is unfinished is taken back while there is a connection to do it by.
            for task in list(tasks):
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        told(self.progress)
        if broken:
            raise broken[0]

    def _now(self) -> float:
        return time.monotonic() - self._began

    async def _tick(self, told: Told, enough: asyncio.Event) -> None:
        while True:
            self.progress.now = self._now()
            if told(self.progress):
                enough.set()
            await asyncio.sleep(TICK_S)

    async def _one(self, number: int, request: Request) -> None:
        sent = self._now()
        self.progress.lag_s = max(0.0, sent - request.at)
        priority = str(request.fields.get("priority", "interactive"))
        row = Row(
            number=number,
            kind=request.kind,
            owner=request.owner,
            priority=priority,
            at=request.at,
            sent=sent,
            outcome=UNFINISHED,
        )
        submitting = asyncio.create_task(self._server.submit(request))
        try:
            response = await asyncio.shield(submitting)
        except httpx.HTTPError as error:
            self.progress.refused += 1
            reason = f"no answer: {type(error).__name__}"
            self._write(replace(row, answered=self._now(), outcome=REFUSED, reason=reason))
            return
        except asyncio.CancelledError:
            try:
                self._write(row)
            finally:
                await self._take_back(submitting, row)
            raise
        row = replace(row, answered=self._now(), status=response.status_code)
        try:
            response.raise_for_status()
            video = video_of(response)
        except (httpx.HTTPStatusError, ValueError):
            self.progress.refused += 1
            self._write(replace(row, outcome=REFUSED, reason=refusal(response)))
            return
        self.progress.accepted += 1
        row = replace(row, id=video["id"], accepted=self._accepted(row, video["id"]))
        await self._follow(row, response)

    def _accepted(self, row: Row, video_id: str) -> float | None:
        """Our ids hold the moment, by the server's clock; of no use where that and this one disagree."""
        moment = accepted_at(video_id)
        if moment is not None and row.answered is not None:
            told = moment - self._wall
            if row.sent - CLOCKS_AGREE_S <= told <= row.answered + CLOCKS_AGREE_S:
                return min(max(told, row.sent), row.answered)
        return row.answered

    async def _follow(self, row: Row, response: httpx.Response) -> None:
        video, missed = video_of(response), 0
        seen: float | None = None
        try:
            while video["status"] not in ENDED and missed < MISSED_POLLS:
                await asyncio.sleep(poll_after_s(response.headers))
                row = replace(row, polls=row.polls + 1)
                try:
                    response = (await self._server.retrieve(row.id, row.owner)).raise_for_status()
                    video, missed = video_of(response), 0
                except (httpx.HTTPError, ValueError):
                    missed += 1
                    continue
                if seen is None and video["status"] != "queued":
                    seen = self._now()
            row = replace(self._ended(row, video, seen), done=self._now())
            if row.outcome == COMPLETED and self._download:
                row = await self._downloaded(row)
        except asyncio.CancelledError:
            try:
                self._write(replace(row, outcome=UNFINISHED, began=seen))
            finally:
                await self._discard(row)
            raise
        self.progress.completed += row.outcome == COMPLETED
        self.progress.failed += row.outcome == FAILED
        self._write(row)

    def _ended(self, row: Row, video: dict[str, Any], seen: float | None) -> Row:
        if video["status"] != "completed":
            error = video.get("error") or {}
            reason = str(error.get("code") or "unknown") if video["status"] in ENDED else "lost"
            return replace(row, outcome=FAILED, reason=reason, began=seen)
        timings = {name: float(value) for name, value in (video.get("timings") or {}).items()}
        if "wait" in timings and row.accepted is not None:
            seen = row.accepted + timings["wait"]
        card = str((video.get("recipe") or {}).get("card", "")).removeprefix("emulated ")
        return replace(row, outcome=COMPLETED, began=seen, timings=timings, card=card)

    async def _downloaded(self, row: Row) -> Row:
        try:
            count = await self._server.download(row.id, row.owner)
        except httpx.HTTPError as error:
            return replace(row, outcome=FAILED, reason=f"download: {type(error).__name__}")
        return replace(row, downloaded=self._now(), bytes=count)

    async def _take_back(self, submitting: asyncio.Task[httpx.Response], row: Row) -> None:
        """The server may still take it, and only its answer says under which name."""
        with suppress(httpx.HTTPError, ValueError, TimeoutError):
            response = await asyncio.wait_for(submitting, TAKING_BACK_S)
            await self._discard(replace(row, id=video_of(response)["id"]))

    async def _discard(self, row: Row) -> None:
        with suppress(httpx.HTTPError):
            await self._server.delete(row.id, row.owner)
