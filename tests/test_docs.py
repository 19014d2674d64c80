"""What the pages say can be done is done here, by the letter.

A fence's words after its language say what it is for: ```toml NAME and ```python NAME are files
of the page's folder, or parts of files of the checkout where NAME stands there; ```sh run is
run in that folder, and ```text output is all that it prints, … standing for anything. What is
```sh terminal runs beside the rest until the page ends; it is waited for until it says how it ends,
or with ```sh terminal :PORT until something listens there. A server that a page speaks of is there.
Whatever else is ```sh must say ```sh elsewhere: it needs a key, a device, the network, or is what
CI itself runs. Of all of them, each `pmw` with its commands and options must be what there is.
"""

import importlib.util
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

from pipecat_workers_cli.cli.words import read_rows
from pipecat_workers_cli.recipe.load import load_recipe
from tests.buses import conftest as buses
from tests.buses.servers import Server
from tests.installing import CHECKOUT

FENCE = re.compile(r"^```(?P<words>[^\n`]*)\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL)
COMMAND = re.compile(
    r"(?:^|[|;&] )(?:uv run (?:--\S+ \S+ )?)?pmw (?P<words>[^|;&>\n]+)", re.MULTILINE
)
SPAN = re.compile(r"(?<!`)`pmw (?P<words>[^`\n]+)`")
SERVES = re.compile(
    r"^((?:exec )?pmw (?:handoff|run)\b(?!.*(?:--say|--port|-t )).*)$", re.MULTILINE
)
LINK = re.compile(r"\]\((?!https?:)(?P<path>[^)#\s]*)(?:#(?P<part>[^)\s]+))?\)")
PAGES = sorted(path for path in (CHECKOUT / "docs").glob("*.md"))
PROGRAMS = Path(sys.executable).parent
REDIS = "redis://localhost:6379"
PATH = f"{PROGRAMS}:{os.environ['PATH']}:/usr/sbin"  # where Debian has nginx
servers = buses.servers

pytestmark = pytest.mark.timeout(240)


@dataclass(frozen=True)
class Block:
    """A fenced block: its language, what it is for, its text."""

    language: str
    purpose: str
    text: str


def parts() -> Iterator[object]:
    """Give what is read in one go: a page, or a part of the README, which has many of its own."""
    for page in PAGES:
        yield pytest.param(blocks(page), id=page.stem)
    text = (CHECKOUT / "README.md").read_text(encoding="utf-8")
    for number, part in enumerate(re.split(r"^##+ ", text, flags=re.MULTILINE)):
        found = blocks_of(part)
        if found:
            yield pytest.param(found, id=f"README-{number}")


def blocks(page: Path) -> list[Block]:
    return blocks_of(page.read_text(encoding="utf-8"))


def blocks_of(text: str) -> list[Block]:
    found = []
    for match in FENCE.finditer(text):
        language, _, purpose = match["words"].strip().partition(" ")
        found.append(Block(language, purpose, match["text"]))
    return found


class Reader:
    """Somebody who does in a shell what a page says, one server of each kind at hand."""

    def __init__(self, folder: Path, start: Callable[[str], Server], port: int) -> None:
        self._folder = folder
        self._start = start
        self._environment = {**os.environ, "PATH": PATH}
        self._beside: list[subprocess.Popen[str]] = []
        self._port = port

    def run(self, text: str) -> subprocess.CompletedProcess[str]:
        """Run a block to its end."""
        return subprocess.run(
            self._words(text),
            cwd=self._folder,
            env=self._environment,
            capture_output=True,
            text=True,
            timeout=120,
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
            said: list[str] = []
            assert any(said.append(line) or "Ctrl-C" in line for line in program.stderr), said
        else:
            _wait_for(port, program)

    def _words(self, text: str) -> list[str]:
        if REDIS in text:
            text = text.replace(REDIS, self._start("redis").url)
        if "$DATABASE_URL" in text:
            self._environment["DATABASE_URL"] = self._start("pgmq").url
        text = re.sub(r"uv run (--extra \w+ )?pmw", "pmw", text)
        text = SERVES.sub(rf"\1 --port {self._port}", text)  # others test beside us
        return ["bash", "-euo", "pipefail", "-c", text]

    def leave(self) -> None:
        """End what runs beside."""
        for program in self._beside:
            program.terminate()
        for program in self._beside:
            program.communicate(timeout=20)
            # It has served; on a busy machine models that still load hold it up when it ends.
            assert program.returncode in (0, 1)


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
def reader(tmp_path: Path, servers: Callable[[str], Server], free_port: int) -> Iterator[Reader]:
    reader = Reader(tmp_path, servers, free_port)
    yield reader
    reader.leave()


def require_nginx() -> None:
    """Skip where a developer has none; the bare machine of CI has."""
    if shutil.which("nginx", path=PATH) is None and not os.environ.get("CI"):
        pytest.skip("apt-get install nginx")


@pytest.mark.slow
@pytest.mark.parametrize("part", list(parts()))
def test_a_page_does_what_it_says(part: list[Block], tmp_path: Path, reader: Reader) -> None:
    said = None
    if any(block.language == "nginx" for block in part):
        require_nginx()
    for block in part:
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
def test_every_shell_block_is_run_or_says_that_it_is_not(page: Path) -> None:
    for block in blocks(page):
        if block.language == "sh" and "." not in block.purpose:  # which is a file's name
            assert block.purpose.partition(" :")[0] in ("run", "terminal", "elsewhere"), block.text


@pytest.mark.parametrize("page", [*PAGES, CHECKOUT / "README.md"], ids=lambda page: page.stem)
def test_every_command_line_on_a_page_is_one_that_there_is(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    shell = "\n".join(block.text for block in blocks(page) if block.language == "sh")
    for match in (*COMMAND.finditer(shell), *SPAN.finditer(FENCE.sub("", text))):
        rows, path, waits = read_rows(), "", False
        for word in match["words"].split(" -- ")[0].split():
            below = f"{path} {word}".strip()
            if waits:  # for an option's value
                waits = False
            elif any(
                row.kind == "command" and f"{row.command} {row.names}".strip() == below
                for row in rows
            ):
                path = below
            elif word.startswith("--"):
                known = {n: r for r in rows if r.command in (path, "") for n in r.names.split()}
                name, equals, _ = word.rstrip("…,").partition("=")
                assert name in known, match[0]
                waits = not path and not equals and known[name].takes != "flag"
            elif not path and not word.startswith(("-", "…", "COMMAND")):
                pytest.fail(f"no command: {match[0]}")


def test_the_reference_is_that_of_the_program_today() -> None:
    written = (CHECKOUT / "docs" / "reference.md").read_text(encoding="utf-8")
    spec = importlib.util.spec_from_file_location("reference", CHECKOUT / "docs" / "reference.py")
    assert spec is not None
    assert spec.loader is not None
    reference = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(reference)
    assert written == reference.render_reference(), "run uv run python docs/reference.py"


@pytest.mark.parametrize("page", [*PAGES, CHECKOUT / "README.md"], ids=lambda page: page.stem)
def test_a_page_links_to_what_is_there(page: Path) -> None:
    for match in LINK.finditer(page.read_text(encoding="utf-8")):
        linked = page.parent / match["path"] if match["path"] else page
        assert linked.exists(), match[0]
        if match["part"]:
            assert match["part"] in headings(linked), match[0]


def headings(page: Path) -> set[str]:
    """Return what a part of a page is linked to by, as GitHub makes it of a heading."""
    text = FENCE.sub("", page.read_text(encoding="utf-8"))
    found = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", one.lower()).replace(" ", "-") for one in found}


def test_every_page_is_reached_from_the_readme() -> None:
    linked = {match["path"] for match in LINK.finditer((CHECKOUT / "README.md").read_text())}
    assert {f"docs/{page.name}" for page in PAGES} <= linked
