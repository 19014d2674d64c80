"""What the pages say can be done is done here, by the letter.

A fence's words after its language say what it is for: ```toml NAME and ```python NAME are files
of the page's folder, or parts of files of the checkout where NAME stands there; ```sh run is
run in that folder, and ```text output is all that it prints, … standing for anything. What is
```sh terminal runs beside the rest until the page ends; it is waited for until it says how it ends,
or with ```sh terminal :PORT until something listens there. A server that a page speaks of is there.
"""

import os
import re
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from pipecat_workers_cli.recipe.load import load_recipe
from tests.buses import conftest as buses
from tests.buses.servers import Server
from tests.installing import CHECKOUT

FENCE = re.compile(r"^```(?P<words>[^\n`]*)\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\]\((?!https?:|#)(?P<path>[^)#\s]+)")
PAGES = sorted(path for path in (CHECKOUT / "docs").glob("*.md"))
PROGRAMS = Path(sys.executable).parent
REDIS = "redis://localhost:6379"
PATH = f"{PROGRAMS}:{os.environ['PATH']}:/usr/sbin"  # where Debian has nginx
servers = buses.servers

pytestmark = pytest.mark.timeout(120)


@dataclass(frozen=True)
class Block:
    """A fenced block: its language, what it is for, its text."""

    language: str
    purpose: str
    text: str


def blocks(page: Path) -> list[Block]:
    found = []
    for match in FENCE.finditer(page.read_text(encoding="utf-8")):
        language, _, purpose = match["words"].strip().partition(" ")
        found.append(Block(language, purpose, match["text"]))
    return found


class Reader:
    """Somebody who does in a shell what a page says, one server of each kind at hand."""

    def __init__(self, folder: Path, start: Callable[[str], Server]) -> None:
        self._folder = folder
        self._start = start
        self._environment = {**os.environ, "PATH": PATH}
        self._beside: list[subprocess.Popen[str]] = []

    def run(self, text: str) -> subprocess.CompletedProcess[str]:
        """Run a block to its end."""
        return subprocess.run(
            self._words(text),
            cwd=self._folder,
            env=self._environment,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    def run_beside(self, text: str, port: int | None = None) -> None:
        """Run a block for as long as the page is read; returns when it serves."""
        program = subprocess.Popen(
            self._words(f"exec {text}"),
            cwd=self._folder,
            env=self._environment,
            stderr=subprocess.PIPE,
            text=True,
        )
        self._beside.append(program)
        assert program.stderr is not None
        if port is None:
            assert any("Ctrl-C" in line for line in program.stderr)
        else:
            _wait_for(port, program)

    def _words(self, text: str) -> list[str]:
        if REDIS in text:
            text = text.replace(REDIS, self._start("redis").url)
        if "$DATABASE_URL" in text:
            self._environment["DATABASE_URL"] = self._start("pgmq").url
        return ["bash", "-euo", "pipefail", "-c", text.replace("uv run pmw", "pmw")]

    def leave(self) -> None:
        """End what runs beside."""
        for program in self._beside:
            program.terminate()
        for program in self._beside:
            program.communicate(timeout=20)
            assert program.returncode == 0


def _wait_for(port: int, program: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + 20
    while True:
        try:
            socket.create_connection(("localhost", port), timeout=1).close()
        except OSError:
            assert program.poll() is None, program.communicate()[1]
            assert time.monotonic() < deadline
            time.sleep(0.05)
        else:
            return


@pytest.fixture
def reader(tmp_path: Path, servers: Callable[[str], Server]) -> Iterator[Reader]:
    reader = Reader(tmp_path, servers)
    yield reader
    reader.leave()


def require_nginx() -> None:
    """Skip where a developer has none; the bare machine of CI has."""
    if shutil.which("nginx", path=PATH) is None and not os.environ.get("CI"):
        pytest.skip("apt-get install nginx")


@pytest.mark.slow
@pytest.mark.parametrize("page", [*PAGES, CHECKOUT / "README.md"], ids=lambda page: page.stem)
def test_a_page_does_what_it_says(page: Path, tmp_path: Path, reader: Reader) -> None:
    said = None
    if any(block.language == "nginx" for block in blocks(page)):
        require_nginx()
    for block in blocks(page):
        if block.purpose.startswith("terminal"):
            _, _, port = block.purpose.partition(" :")
            reader.run_beside(block.text, int(port) if port else None)
        elif block.purpose == "run":
            done = reader.run(block.text)
            assert done.returncode == 0, done.stderr
            said = done.stdout
        elif block.purpose == "output":
            pattern = ".*".join(map(re.escape, block.text.split("…")))
            assert re.fullmatch(pattern, said or ""), said
        elif (CHECKOUT / block.purpose).is_file() and block.purpose:
            assert block.text in (CHECKOUT / block.purpose).read_text(encoding="utf-8")
        elif block.purpose:
            path = tmp_path / block.purpose
            path.parent.mkdir(exist_ok=True)
            path.write_text(block.text, encoding="utf-8")


@pytest.mark.parametrize("page", [*PAGES, CHECKOUT / "README.md"], ids=lambda page: page.stem)
def test_a_recipe_on_a_page_is_a_recipe(
    page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for block in blocks(page):
        if block.purpose == ".env":
            for name, _, value in (line.partition("=") for line in block.text.splitlines()):
                monkeypatch.setenv(name, value)
        if block.language == "toml" and "/" not in block.purpose:
            path = tmp_path / "recipe.toml"
            path.write_text(block.text, encoding="utf-8")
            assert load_recipe(str(path)).recipe.name


@pytest.mark.parametrize("page", [*PAGES, CHECKOUT / "README.md"], ids=lambda page: page.stem)
def test_a_page_links_to_what_is_there(page: Path) -> None:
    for match in LINK.finditer(page.read_text(encoding="utf-8")):
        assert (page.parent / match["path"]).exists(), match["path"]


def test_every_page_is_reached_from_the_readme() -> None:
    linked = {match["path"] for match in LINK.finditer((CHECKOUT / "README.md").read_text())}
    assert {f"docs/{page.name}" for page in PAGES} <= linked
