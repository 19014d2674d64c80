"""What the pages say can be done is done here, by the letter.

A fence's words after its language say what it is for: ```toml NAME and ```python NAME are files
of the page's folder, or parts of files of the checkout where NAME stands there; ```sh run is
run in that folder, and ```text output is all that it prints, … standing for anything.
"""

import os
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from pipecat_workers_cli.recipe.load import load_recipe
from tests.installing import CHECKOUT

FENCE = re.compile(r"^```(?P<words>[^\n`]*)\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\]\((?!https?:|#)(?P<path>[^)#\s]+)")
PAGES = sorted(path for path in (CHECKOUT / "docs").glob("*.md"))
PROGRAMS = Path(sys.executable).parent

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


def shell(text: str, folder: Path) -> subprocess.CompletedProcess[str]:
    program = text.replace("uv run pmw", "pmw")
    environment = {**os.environ, "PATH": f"{PROGRAMS}:{os.environ['PATH']}"}
    return subprocess.run(
        ["bash", "-euo", "pipefail", "-c", program],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.mark.slow
@pytest.mark.parametrize("page", [*PAGES, CHECKOUT / "README.md"], ids=lambda page: page.stem)
def test_a_page_does_what_it_says(page: Path, tmp_path: Path) -> None:
    said = None
    for block in blocks(page):
        if block.purpose == "run":
            done = shell(block.text, tmp_path)
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
def test_a_recipe_on_a_page_is_a_recipe(page: Path, tmp_path: Path) -> None:
    for block in blocks(page):
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
