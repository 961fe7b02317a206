"""How a batch goes, for who watches it: a bar on a terminal, else a plain line now and then. Knows no HTTP."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from serving.batch.manifest import Entry

QUIET_S = 30.0
"""Between two lines that nothing but progress calls for."""


class Teller:
    """Counts what it is told of; failures are lines of their own."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._bar: Progress | None = None
        self._total = self._done = self._failed = self._accepted = 0
        self._told_at = time.monotonic()
        self._waits = ""

    @contextmanager
    def counting(self, what: str, total: int) -> Iterator[None]:
        """Starts from zero."""
        self._what, self._total, self._done, self._failed, self._accepted = what, total, 0, 0, 0
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
        if self._console.is_terminal:
            self._bar = Progress(*columns, TimeRemainingColumn(), console=self._console, transient=True)
            self._bar.add_task(what, total=total)
        try:
            with self._bar or nullcontext():
                yield
        finally:
            self._bar = None

    def step(self) -> None:
        """One more is done."""
        self._done += 1
        self._waits = ""
        self._show()

    def entry(self, entry: Entry) -> None:
        """A line of the manifest."""
        if entry.status == "accepted":
            self._accepted += 1
            self._waits = ""
            self._show()
        elif entry.status == "completed":
            self.step()
        elif entry.status == "failed":
            self._failed += 1
            reason = "" if entry.error is None else entry.error.message
            self._console.print(f"[red]failed[/] {escape(entry.clip)}: {escape(reason)}", soft_wrap=True)
            self.step()

    def wait(self, reason: str) -> None:
        """Why nothing goes on at the moment."""
        if reason != self._waits:
            self._waits = reason
            self._show(urgent=True)

    def _show(self, *, urgent: bool = False) -> None:
        counts = f"{self._accepted} submitted, {self._failed} failed" if self._accepted or self._failed else ""
        waits = f"waiting: {self._waits}" if self._waits else ""
        told = "; ".join(text for text in (counts, waits) if text)
        if self._bar is not None:
            task = self._bar.task_ids[0]
            self._bar.update(task, completed=self._done, description=escape(f"{self._what} {told}".strip()))
        elif urgent or self._done == self._total or time.monotonic() - self._told_at > QUIET_S:
            self._told_at = time.monotonic()
            line = f"{time.strftime('%H:%M:%S')} {self._what}: {self._done} of {self._total}"
            self._console.print(f"{line}; {told}" if told else line, soft_wrap=True, markup=False)
