"""The code assistant and the sensor by voice through our page."""

import re
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
import pytest_asyncio
from playwright.async_api import Browser

from tests.e2e.browser import BrowserCall, open_browser, open_page
from tests.e2e.conftest import Server

pytestmark = [
    pytest.mark.browser,
    pytest.mark.speech,
    pytest.mark.slow,
    pytest.mark.aloud,
    pytest.mark.flaky(reruns=1),  # a small model mishears now and then
]
ASK = 3  # times a question is asked; a caller would, too
OFFLINE = ("--services", "offline", "-o", "json")


@pytest_asyncio.fixture
async def browser(chromium) -> AsyncIterator[Browser]:
    async with open_browser(chromium) as opened:
        yield opened


async def hear(call: BrowserCall, question: str, answer: str) -> None:
    """Ask aloud until an answer that fits is heard: again if the small model misheard."""
    heard: list[str] = []
    for _ in range(ASK):
        await call.ask(question)
        recording = await call.recording()
        words = await recording.since(recording.turns()[-1][1]).words()
        if re.search(answer, words):
            return
        heard.append(words)
    raise AssertionError(f"{question!r} was answered by {heard}")


async def test_code_is_asked_about_aloud(
    serve: Callable[..., Server], browser: Browser, tmp_path: Path
):
    project = tmp_path / "project"
    project.mkdir()
    (project / "elephant.py").write_text("class Elephant:\n    '''Never forgets.'''\n")
    (project / "garden.py").write_text("from elephant import Elephant\n\nBIG = Elephant()\n")
    server = serve("code", str(project), *OFFLINE)
    async with open_page(browser, server.url) as call:
        await call.connect()
        await call.heard_out()
        # "elephant.py, lines 1 to 2" is mostly heard as "elephant dot pylines one to two".
        await hear(call, "Where is the class elephant defined?", r"elephant.*lines")
        await hear(call, "And can you tell me who uses it?", r"garden")
        lines = await call.lines()
        assert any("coder" in line and line.startswith("(job)") for line in lines), lines
        assert call.troubles == []


@pytest.mark.long
async def test_the_thermometer_answers_aloud_with_its_own_reading(
    serve: Callable[..., Server], browser: Browser
):
    server = serve("sensor", *OFFLINE, "--start-temp", "22", "--seed", "7")
    async with open_page(browser, server.url) as call:
        await call.connect()
        await call.heard_out()
        await hear(call, "What is the temperature now?", r"22|twenty[ -]?(two|one)|21")
        await hear(call, "Please set it to thirty degrees.", r"30|thirty")
        lines = await call.lines()
        assert any("set_target" in line for line in lines), lines
        assert call.troubles == []
