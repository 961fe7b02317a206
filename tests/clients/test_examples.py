"""Every bash, Python and JavaScript block of the documentation, run page by page, as a reader would.

A page has a folder of its own, in which only the demo picture lies, and its shell keeps its variables from one block to
the next. The service is `i2v serve` with the built-in model, which takes one step by default here. Blocks under a
comment `<!-- not run: why -->` are left to tests/test_docs.py, which parses them.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from missing import missing
from packages import NEWEST, npm_package
from pages import PAGES, ROOT, Block, blocks

from deployments.child import ChildService, free_port
from serving.clip import probe

SECRET = "whsec_" + "c2VjcmV0" * 4
SAVED = re.compile(r"(?:-o |write_to_file\(\"|writeFileSync\(\")([\w.-]+\.(?:mp4|webm|gif|jpg))")
PAGE_LIMIT_S = 240
# The API's page makes a key at its end, and from then on nobody gets in without one.
RUN = [page for page in PAGES if any(block.is_run for block in blocks(page))]
RUN.sort(key=lambda page: page.stem == "api")


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory, model_of_steps: Callable[..., Path]) -> Iterator[ChildService]:
    model = str(model_of_steps(low=1.0, default=1.0))
    settings = {"I2V_WEBHOOK_SECRET": SECRET, "I2V_WEBHOOK_PRIVATE_ADDRESSES": "true", "I2V_MODEL": model}
    running = ChildService(tmp_path_factory.mktemp("service"), **settings)
    running.start()
    yield running
    running.stop()


@pytest.fixture
def reader(tmp_path: Path, service: ChildService) -> dict[str, str]:
    """The environment of one who follows a page in `tmp_path`: this project's commands, and where the service is."""
    picture = tmp_path / "serving" / "assets" / "demo.jpg"
    picture.parent.mkdir(parents=True)
    shutil.copy(ROOT / "serving" / "assets" / "demo.jpg", picture)
    commands = tmp_path / "bin"
    commands.mkdir()
    for name, arguments in {"i2v": "-P -m deployments", "python": "-P"}.items():
        (commands / name).write_text(f'#!/bin/sh\nexec {sys.executable} {arguments} "$@"\n')
        (commands / name).chmod(0o755)
    # As a reader sees that a call was refused.
    (tmp_path / ".curlrc").write_text("fail-with-body\nshow-error\n")
    changes = {
        "PATH": f"{commands}{os.pathsep}{os.environ['PATH']}",
        "CURL_HOME": str(tmp_path),
        "I2V_SERVER": service.url,
        "I2V_DATA_DIR": str(service.folder / "data"),
        "I2V_WEBHOOK_SECRET": SECRET,
    }
    return service.environment | changes


@pytest.mark.parametrize("page", RUN, ids=lambda page: page.stem)
def test_every_block_of_a_page_runs(page: Path, tmp_path: Path, service: ChildService, reader: dict[str, str]) -> None:
    for program in ("curl", "jq"):
        if shutil.which(program) is None:
            missing(f"{program} is not installed")
    todo = [block for block in blocks(page) if block.is_run]
    node = all(shutil.which(program) for program in ("node", "npm"))
    if node and any('from "openai"' in block.text for block in todo if block.language == "js"):
        (tmp_path / "node_modules").symlink_to(npm_package("openai", NEWEST) / "node_modules")
    address = service.url.removeprefix("http://")
    script = ["set -eo pipefail"]
    for number, block in enumerate(todo):
        if node or block.language != "js":
            text = block.text.replace("localhost:8000", address).replace("9000", str(webhook_port()))
            script += [f"echo '== {block}'", *step(block, text, tmp_path / f"block_{number}")]
    said = run(script, tmp_path, reader)
    assert "null" not in said.splitlines(), f"a field that is not there\n{said}"
    for block in blocks(page):
        if block.language == "json":  # what a call above it was refused with
            assert json.loads(block.text)["error"]["message"] in said
    for name in saved(todo if node else [block for block in todo if block.language != "js"]):
        if name.endswith(".mp4"):
            assert probe(tmp_path / name).frames >= 8, said
    if not node and any(block.language == "js" for block in todo):
        missing("node and npm are not installed: all but the JavaScript ran")


def webhook_port() -> int:
    return _PORT


_PORT = free_port()


def step(block: Block, text: str, file: Path) -> list[str]:
    """Lines of shell that run the block, and fail where a file that it saves is not there afterwards."""
    names = saved([block])
    if block.language == "bash":
        lines = [text]
    else:
        file = file.with_suffix({"python": ".py", "js": ".mjs"}[block.language])
        file.write_text(text)
        lines = [f"{'node' if block.language == 'js' else 'python'} {file}"]
    return [*(f"rm -f {name}" for name in names), *lines, *(f"test -s {name}" for name in names)]


def saved(of: list[Block]) -> list[str]:
    return [name for block in of for name in SAVED.findall(block.text)]


def run(script: list[str], folder: Path, environment: dict[str, str]) -> str:
    (folder / "page.sh").write_text("\n".join(script) + "\n")
    with (folder / "said.txt").open("wb") as said:
        process = subprocess.Popen(
            ["bash", "page.sh"], cwd=folder, env=environment, stdout=said, stderr=said, start_new_session=True
        )
        try:
            code = process.wait(PAGE_LIMIT_S)
        except subprocess.TimeoutExpired:
            code = None
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
    text = (folder / "said.txt").read_text(errors="replace")
    assert code == 0, f"exit code {code}\n{text}"
    return text
