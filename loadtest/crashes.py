"""Jobs submitted to a real service whose processes are killed all the while: is anything lost, or published twice?

    python -m loadtest.crashes [--jobs 1000] [--kills 60] [--seed 0] [--roles generator,dispatcher,...] [--folder DIR]

The service runs in a folder and on a port of its own, with emulated cards; everything around them is real. Each kill
is a SIGKILL to one of its processes, of a role drawn at random, once a number of jobs drawn at random has ended. Every
event goes to events.jsonl in the folder as it happens; the report is drawn afterwards from there, from the job store,
from a history of its rows that the database keeps, and from the clips on the disk. Exit code 1 where a promise was
broken. The senders send again what was not answered, as nothing makes two submissions one: a job whose answer was
lost by a crash counts as a job of its own, and must end as well.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import count
from pathlib import Path
from typing import Any

import httpx
import psutil

from deployments.child import ChildService
from deployments.demo import PICTURE
from loadtest.crash_report import report
from loadtest.history import History
from loadtest.verdict import Sent

ROLES = {
    "generator": "ServeReplica:i2v:Generator",
    "dispatcher": "ServeReplica:i2v:Dispatcher",
    "ingress": "ServeReplica:i2v:Ingress",
    "controller": "ServeController",
    "proxy": "ProxyActor",
    "encoder": "ServeReplica:i2v:Encoder",
    "preprocessor": "ServeReplica:i2v:Preprocessor",
}
SENDERS = 4
MAX_ATTEMPTS = 3
PROGRESS_S = 5.0
STUCK_S = 240.0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--jobs", type=int, default=1000)
    parser.add_argument("--kills", type=int, default=60)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--roles", default=",".join(ROLES))
    parser.add_argument("--cards", type=int, default=2)
    parser.add_argument("--waiting", type=int, default=20, help="jobs that wait at most before more are sent")
    parser.add_argument("--folder", type=Path, help="a new temporary one by default; it is left in place")
    args = parser.parse_args()
    folder = args.folder or Path(tempfile.mkdtemp(prefix="i2v-crashes-"))
    folder.mkdir(parents=True, exist_ok=True)
    print(f"folder: {folder}", flush=True)
    service = ChildService(
        folder,
        I2V_MODEL="emulated",
        I2V_EMULATION_SPEED="2",
        I2V_POOLS=json.dumps([{"name": "cards", "card": "rtx4090", "max_replicas": args.cards}]),
        I2V_LEASE_S="5",
        I2V_MAX_ATTEMPTS=str(MAX_ATTEMPTS),
    )
    with service.running():
        history = History(f"sqlite:///{folder}/data/jobs.sqlite3")
        campaign = Campaign(service, history, Events(folder / "events.jsonl"), args)
        campaign.run()
        service.kill_everything()
    sys.exit(report(campaign.events.path, campaign.sent(), history, service.outputs, MAX_ATTEMPTS))


class Events:
    """What happened, one JSON object a line, in the order in which it was seen."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file = path.open("a")
        self._lock = threading.Lock()

    def tell(self, event: str, **fields: Any) -> None:
        """`at` is added: epoch seconds, as in the job store."""
        with self._lock:
            self._file.write(json.dumps({"at": time.time(), "event": event, **fields}) + "\n")
            self._file.flush()


class Campaign:
    """Senders that keep some jobs waiting, and a killer that goes by the jobs that have ended."""

    def __init__(self, service: ChildService, history: History, events: Events, args: argparse.Namespace) -> None:
        self.events = events
        self._service = service
        self._history = history
        self._args = args
        self._numbers = count()
        self._lock = threading.Lock()
        self._answered: dict[str, str] = {}
        self._unanswered: set[str] = set()
        self._unended = 0
        self._told_at = 0.0
        self._stopped = threading.Event()

    def sent(self) -> Sent:
        return Sent(self._answered, self._unanswered)

    def run(self) -> None:
        """Returns once every job has ended, or nothing has for `STUCK_S`."""
        chance = random.Random(self._args.seed)
        plan = sorted(chance.uniform(0, 0.98 * self._args.jobs) for _ in range(self._args.kills))
        roles = [chance.choice(self._args.roles.split(",")) for _ in plan]
        kills = list(zip(plan, roles, strict=True))
        self.events.tell("began", jobs=self._args.jobs, kills=len(kills), seed=self._args.seed)
        with ThreadPoolExecutor(SENDERS) as pool:
            senders = [pool.submit(self._send_all) for _ in range(SENDERS)]
            try:
                self._watch(senders, kills, chance)
            finally:
                self._stopped.set()
        for sender in senders:
            sender.result()
        self.events.tell("ended")

    def _watch(self, senders: Sequence[Future[None]], kills: list[tuple[float, str]], chance: random.Random) -> None:
        """Kills by plan: (jobs that have ended by then, role)."""
        ended, since, planned = -1, time.monotonic(), len(kills)
        while not (all(sender.done() for sender in senders) and self._unended == 0):
            self._unended = self._history.unended()
            if self._ended != ended:
                ended, since = self._ended, time.monotonic()
            while kills and kills[0][0] <= self._ended and self._kill(kills[0][1], chance):
                kills.pop(0)
            self._progress(planned - len(kills))
            if time.monotonic() - since > STUCK_S:
                self.events.tell("stuck")
                return
            time.sleep(0.1)

    @property
    def _ended(self) -> int:
        return len(self._answered) - self._unended

    def _kill(self, role: str, chance: random.Random) -> bool:
        """Whether there was one to kill; a role that is being restarted has none for a moment."""
        found = self._service.actors(ROLES[role])
        if not found:
            return False
        victim = chance.choice(found)
        try:
            victim.kill()
        except psutil.NoSuchProcess:
            return False
        self.events.tell("kill", role=role, pid=victim.pid)
        return True

    def _progress(self, kills: int) -> None:
        if time.monotonic() - self._told_at > PROGRESS_S:
            self._told_at = time.monotonic()
            told = f"{len(self._answered)} accepted, {self._ended} ended, {kills} kills, {len(self._unanswered)} unsure"
            print(f"{time.strftime('%H:%M:%S')} {told}", flush=True)

    def _send_all(self) -> None:
        while (number := next(self._numbers)) < self._args.jobs:
            while self._unended >= self._args.waiting:
                if self._stopped.wait(0.1):
                    return
            for retry in count():
                if self._send(f"{number}.{retry}", number):
                    break
                if self._stopped.wait(0.2):
                    return

    def _send(self, name: str, number: int) -> bool:
        """Submit one try; whether it was answered with a job."""
        fields = {"prompt": "pan left", "resolution": "256p", "num_frames": 8, "num_inference_steps": 10 + number % 20}
        began = time.time()
        try:
            with PICTURE.open("rb") as picture:
                answer = httpx.post(
                    f"{self._service.url}/v1/videos",
                    data={**fields, "seed": number, "metadata[try]": name},
                    files={"input_reference": picture},
                    timeout=30,
                )
        except httpx.ConnectError:
            self.events.tell("refused", name=name)
            return False
        except httpx.HTTPError as error:
            return self._unsure(name, type(error).__name__)
        if answer.status_code == 200:
            with self._lock:
                self._answered[name] = answer.json()["id"]
            self.events.tell("accepted", name=name, id=answer.json()["id"], took_s=time.time() - began)
            return True
        return self._unsure(name, f"{answer.status_code} {answer.text[:200]}")

    def _unsure(self, name: str, why: str) -> bool:
        with self._lock:
            self._unanswered.add(name)
        self.events.tell("unsure", name=name, why=why)
        return False


if __name__ == "__main__":
    main()
