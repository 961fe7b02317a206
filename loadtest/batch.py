"""A sheet of many rows through `i2v batch` and a real service, both of which are killed on the way.

    python -m loadtest.batch [--rows 1000] [--kills 3] [--restarts 1] [--cards 2] [--folder DIR]

The cards are emulated, everything around them is real. The command is killed (SIGKILL) and interrupted (Ctrl-C) in
turn and started again, once a share of the clips is there; the service is killed, all its processes at once, and
started again while the command runs. At the end every row must have become one job and one clip, whose own recipe says
so, and another run must ask for nothing. Exit code 1 where that is not so.
"""

from __future__ import annotations

import argparse
import csv
import json
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image

from deployments.child import ChildService
from loadtest.history import History
from serving.batch.manifest import FILE, Entry, read_entries
from serving.clip import read_recipe

STUCK_S = 300.0
LOOK_S = 0.5


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=1000)
    parser.add_argument("--kills", type=int, default=4, help="ends of the command, by SIGKILL and Ctrl-C in turn")
    parser.add_argument("--restarts", type=int, default=1, help="ends of the service, by SIGKILL to all of it")
    parser.add_argument("--cards", type=int, default=2)
    parser.add_argument("--folder", type=Path, help="a new temporary one by default; it is left in place")
    args = parser.parse_args()
    folder = args.folder or Path(tempfile.mkdtemp(prefix="i2v-batch-"))
    folder.mkdir(parents=True, exist_ok=True)
    print(f"folder: {folder}", flush=True)
    pools = [{"name": "cards", "card": "h100", "min_replicas": args.cards, "max_replicas": args.cards}]
    service = ChildService(
        folder, I2V_MODEL="emulated", I2V_EMULATION_SPEED="20", I2V_POOLS=json.dumps(pools), I2V_LEASE_S="5"
    )
    with service.running():
        history = History(f"sqlite:///{folder}/data/jobs.sqlite3")
        campaign = Campaign(service, write_sheet(folder / "in", args.rows), folder / "clips")
        campaign.run(args.rows, args.kills, args.restarts)
        broken = campaign.verdict(args.rows, history)
    for sentence in broken:
        print(f"BROKEN: {sentence}")
    sys.exit(bool(broken))


def write_sheet(folder: Path, rows: int) -> Path:
    """A picture of its own for every row; every third row has a title and a category, and no prompt."""
    folder.mkdir(exist_ok=True)
    chance = np.random.default_rng(0)
    path = folder / "sheet.csv"
    with path.open("w", newline="") as file:
        table = csv.DictWriter(file, ["sku", "picture", "prompt", "title", "category"])
        table.writeheader()
        for number in range(rows):
            name = f"{number:05}.jpg"
            blocks = chance.integers(0, 256, (6, 8, 3), np.uint8)
            Image.fromarray(blocks).resize((640, 480), Image.Resampling.BICUBIC).save(folder / name)
            words = {"title": f"Ceramic Mug No. {number}", "category": "home"} if number % 3 == 0 else {}
            table.writerow({"sku": f"SKU-{number:05}", "picture": name, "prompt": "" if words else "pan left", **words})
    return path


class Campaign:
    """The command, run again and again until it is done."""

    def __init__(self, service: ChildService, sheet: Path, out: Path) -> None:
        self._service = service
        self._sheet = sheet
        self._out = out
        self._began = time.monotonic()
        self._codes: list[int] = []

    def run(self, rows: int, kills: int, restarts: int) -> None:
        """Returns once the command ended by itself."""
        ends: list[signal.Signals | None] = [(signal.SIGKILL, signal.SIGINT)[number % 2] for number in range(kills)]
        events = [*ends[: kills // 2], *[None] * restarts, *ends[kills // 2 :]]
        process = self._start()
        for number, event in enumerate(events, 1):
            self._wait_for(rows * number // (len(events) + 1), process)
            if event is None:
                self._say("the service is killed")
                self._service.kill_everything()
                self._service.start()
                self._say("the service is up again")
            else:
                process.send_signal(event)
                self._say(f"the command ended by {event.name}: {process.wait(60)}")
                self._codes.append(process.returncode)
                process = self._start()
        self._codes.append(process.wait())
        self._say(f"the command ended: {process.returncode}")

    def verdict(self, rows: int, history: History) -> list[str]:
        """What is not as it must be, after one more run; prints the figures."""
        took_s = time.monotonic() - self._began
        entries = read_entries(self._out)
        jobs = list(_jobs(history))
        began = time.monotonic()
        again = self._start().wait()
        again_s = time.monotonic() - began
        more = len(list(_jobs(history))) - len(jobs)
        published = Counter(change.job for change in history.changes() if change.status == "completed")
        twice = sum(count - 1 for count in published.values())
        wrong = [name for name, entry in entries.items() if not self._is_right(entry)]
        print(f"{rows} rows, {len(jobs)} jobs, {len(entries) - len(wrong)} clips with their recipes, {took_s:.0f} s")
        print(f"jobs beyond one a row: {len(jobs) - rows}; clips published twice: {twice}; exit codes {self._codes}")
        print(f"another run: exit code {again}, {more} new jobs, {again_s:.1f} s")
        print(f"manifest: {(self._out / FILE).stat().st_size / 2**20:.1f} MiB", flush=True)
        return [
            *([f"{len(jobs)} jobs of {rows} rows"] if len(jobs) != rows else []),
            *([f"{len(entries)} clips in the manifest, of {rows} rows"] if len(entries) != rows else []),
            *(f"{name}: is not the clip that the manifest says" for name in wrong),
            *([f"{twice} clips were published twice"] if twice else []),
            *(["another run asked for more"] if more or again else []),
            *(["the last run failed"] if self._codes[-1] else []),
        ]

    def _is_right(self, entry: Entry) -> bool:
        if entry.status != "completed" or entry.file is None:
            return False
        recipe = read_recipe(self._out / entry.file)
        return recipe is not None and (recipe["id"], recipe["parameters"]["seed"]) == (entry.video_id, entry.seed)

    def _start(self) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", "deployments", "batch", str(self._sheet), "-o", str(self._out)]
        options = ["--resolution", "256p", "--num-frames", "8", "--server", self._service.url]
        return subprocess.Popen([*command, *options], env=self._service.environment, stdout=subprocess.DEVNULL)

    def _wait_for(self, clips: int, process: subprocess.Popen[bytes]) -> None:
        done, since = -1, time.monotonic()
        while done < clips:
            if process.poll() is not None:
                raise SystemExit(f"the command ended before it should have: {process.returncode}")
            now = sum(entry.status == "completed" for entry in read_entries(self._out).values())
            done, since = (now, time.monotonic()) if now != done else (done, since)
            if time.monotonic() - since > STUCK_S:
                raise SystemExit(f"stuck at {done} clips")
            time.sleep(LOOK_S)
        self._say(f"{done} clips")

    def _say(self, text: str) -> None:
        print(f"{time.monotonic() - self._began:6.1f} s: {text}", flush=True)


def _jobs(history: History) -> Iterator[str]:
    after, more = None, True
    while more:
        page, more = history.store.list(after, 100, False)
        yield from (job.id for job in page)
        after = page[-1].id if page else None


if __name__ == "__main__":
    main()
