"""A Ray cluster of several nodes on one machine, each with its address on the loopback network and its own labels.

Two limits of Ray that shape it: a node at 127.0.0.1 is moved to the machine's outer address, so nodes begin at
127.0.0.2; and `ray start --block` stays when its raylet has ended in peace, so a node's life is its raylet's.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
import yaml
from harness import START_LIMIT_S, free_port, wait_for

from serving.client import Client

BIN = Path(sys.executable).parent
ROOT = Path(__file__).parents[2]
NODE_START_S = 60.0


class Node:
    """One Ray node: a process tree of its own."""

    def __init__(self, address: str, gpu_class: str, argv: list[str], log: Path, environment: dict[str, str]) -> None:
        self.address = address
        self._log = log
        argv = [str(BIN / "ray"), "start", "--block", *argv, f"--node-ip-address={address}"]
        argv += [f"--labels=gpu-class={gpu_class}", "--num-cpus=1", "--num-gpus=0", "--disable-usage-stats"]
        argv += ["--object-store-memory=80000000", "--min-worker-port=0", "--max-worker-port=0"]
        argv += ["--dashboard-agent-listen-port=0"]
        with log.open("wb") as out:
            self._process = subprocess.Popen(
                argv, env=environment, cwd=log.parent, stdout=out, stderr=out, start_new_session=True
            )
        wait_for(lambda: "Ray runtime started" in log.read_text(), NODE_START_S, log.read_text)

    def processes(self) -> list[psutil.Process]:
        try:
            root = psutil.Process(self._process.pid)
            return [root, *root.children(recursive=True)]
        except psutil.NoSuchProcess:
            return []

    def alive(self) -> bool:
        return any(_name(process) == "raylet" for process in self.processes())

    def id(self) -> str:
        """Ray's name for it, which the raylet has on its command line."""
        (raylet,) = [process for process in self.processes() if _name(process) == "raylet"]
        (found,) = {part.removeprefix("--node_id=") for part in raylet.cmdline() if part.startswith("--node_id=")}
        return found

    def kill(self) -> list[str]:
        """SIGKILL to every process of the node at once, as a power cut would; what each was."""
        found = self.processes()
        titles = [_title(process) for process in found]
        for process in found:
            _quietly(process.suspend)
        for process in found:
            _quietly(process.kill)
        self._process.wait(30)
        psutil.wait_procs(found, timeout=10)
        return titles


class RayNodes:
    """A head and workers; the application is deployed on it by `serve run`."""

    def __init__(self, folder: Path, **environment: str) -> None:
        self.folder = folder
        clean = {name: value for name, value in os.environ.items() if not name.startswith(("I2V_", "RAY_"))}
        self._environment = clean | {
            "PYTHONPATH": str(ROOT),
            "RAY_AUTH_MODE": "disabled",
            "RAY_USAGE_STATS_ENABLED": "0",
            # A dead node is known after 3 s instead of 15 s.
            "RAY_health_check_period_ms": "1000",
            "RAY_health_check_failure_threshold": "3",
            "I2V_DATA_DIR": str(folder / "data"),
            "I2V_LOG_DIR": str(folder / "logs"),
            **environment,
        }
        # Sockets lie in it, and their paths have a limit of 107 bytes.
        self._scratch = tempfile.mkdtemp(prefix="i2v-ray-", dir="/tmp")
        self._port = free_port()
        self._driver: subprocess.Popen[bytes] | None = None
        self.nodes: list[Node] = []

    def add(self, gpu_class: str) -> Node:
        """Start a node; the first is the head."""
        number = len(self.nodes) + 2
        where = ["--head", f"--port={self._port}", "--include-dashboard=false", f"--temp-dir={self._scratch}"]
        argv = [f"--address=127.0.0.2:{self._port}"] if self.nodes else where
        log = self.folder / f"node{number}.log"
        self.nodes.append(Node(f"127.0.0.{number}", gpu_class, argv, log, self._environment))
        return self.nodes[-1]

    def serve(self, args: dict[str, Any]) -> str:
        """`serve run` with a file like serve_config.yaml; the API's URL, once it can take work."""
        document = yaml.safe_load((ROOT / "serve_config.yaml").read_text())
        # One machine has one port of a number, so only the head gets a proxy.
        port = free_port()
        document |= {"proxy_location": "HeadOnly", "http_options": {"host": "127.0.0.1", "port": port}}
        document["applications"][0]["args"] = args
        config = self.folder / "serve_config.yaml"
        config.write_text(yaml.safe_dump(document))
        argv = [str(BIN / "serve"), "run", f"--address=127.0.0.2:{self._port}", str(config)]
        with (self.folder / "serve.log").open("wb") as out:
            self._driver = subprocess.Popen(
                argv, env=self._environment, cwd=self.folder, stdout=out, stderr=out, start_new_session=True
            )
        url = f"http://127.0.0.1:{port}"
        with Client(url) as client:
            wait_for(client.ready, START_LIMIT_S, self.console)
        return url

    def console(self) -> str:
        return (self.folder / "serve.log").read_text()[-5000:]

    def drain(self, node: Node, seconds: int) -> None:
        """What a pod's preStop hook asks for."""
        argv = [str(BIN / "ray"), "drain-node", f"--address=127.0.0.2:{self._port}", f"--node-id={node.id()}"]
        argv += ["--reason=DRAIN_NODE_REASON_PREEMPTION", "--reason-message=preStop"]
        argv += [f"--deadline-remaining-seconds={seconds}"]
        subprocess.run(argv, env=self._environment, cwd=self.folder, check=True, capture_output=True, timeout=60)

    def stop(self) -> None:
        if self._driver is not None:
            self._driver.kill()
            self._driver.wait(30)
        for node in reversed(self.nodes):
            node.kill()
        shutil.rmtree(self._scratch, ignore_errors=True)


def _name(process: psutil.Process) -> str:
    try:
        return str(process.name()) if process.status() != psutil.STATUS_ZOMBIE else ""
    except psutil.NoSuchProcess:
        return ""


def _title(process: psutil.Process) -> str:
    try:
        return " ".join(process.cmdline())
    except (psutil.NoSuchProcess, psutil.ZombieProcess):
        return ""


def _quietly(act: Callable[[], object]) -> None:
    with suppress(psutil.NoSuchProcess):
        act()
