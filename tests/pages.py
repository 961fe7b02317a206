"""The documentation as tests read it: pages, their blocks of code, links, headings and tables."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]
README = ROOT / "README.md"
CHINESE = ROOT / "README.zh-CN.md"
CLUSTER = ROOT / "deployments" / "cluster" / "README.md"
PAGES = (README, *sorted((ROOT / "docs").glob("*.md")), CLUSTER)
"""All in English; CHINESE repeats README."""
RUNNABLE = ("bash", "python", "js")
_FENCE = re.compile(
    r"^(?:<!-- not run: (?P<reason>[^\n]+) -->\n)?```(?P<language>[\w-]*)\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL
)


@dataclass(frozen=True)
class Block:
    """One fenced block of a page."""

    page: Path
    line: int
    language: str
    text: str
    not_run: str | None
    """Why no test runs it, as the comment above it says; None where one does."""

    @property
    def is_run(self) -> bool:
        return self.not_run is None and self.language in RUNNABLE

    def __str__(self) -> str:
        return f"{self.page.relative_to(ROOT)}:{self.line} ({self.language})"


def blocks(page: Path) -> list[Block]:
    text = page.read_text()
    return [
        Block(page, text.count("\n", 0, found.start("language")) + 1, found["language"], found["text"], found["reason"])
        for found in _FENCE.finditer(text)
    ]


def prose(page: Path) -> str:
    """The page without its blocks."""
    return _FENCE.sub("", page.read_text())


def anchors(page: Path) -> set[str]:
    """The page's headings as links name them."""
    headings = re.findall(r"^#+ (.+)$", prose(page), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


def links(page: Path) -> list[tuple[Path, str]]:
    """(file, anchor) of each link to a file of the project, the page itself included; no anchor is ""."""
    found = re.findall(r"\]\(([^)#:\s]*)(?:#([^)]*))?\)", prose(page))
    return [((page.parent / target).resolve() if target else page, anchor) for target, anchor in found]


def table(header: str) -> str:
    """The rows of the one table in English with this header.

    Raises:
        AssertionError: no page, or more than one place, has it.
    """
    rule = "|" + "---|" * (header.count("|") - 1)
    found = [part for page in PAGES for part in page.read_text().split(f"{header}\n{rule}\n")[1:]]
    assert len(found) == 1, f"{len(found)} tables with the header {header}"
    return found[0].split("\n\n")[0].rstrip("\n")


def first_columns(page: Path) -> list[str]:
    """The first cell of every row of every table."""
    return re.findall(r"^\| (.*?) \|", prose(page), re.MULTILINE)
