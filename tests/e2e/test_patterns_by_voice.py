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
    pytest.mark.flaky(reruns=1),  # a small model mishears now and then
]
OFFLINE = ("--services", "offline", "-o", "json")


@pytest_asyncio.fixture
async def browser(chromium) -> AsyncIterator[Browser]:
    async with open_browser(chromium) as opened:
        yield opened


async def answer_to(call: BrowserCall, question: str) -> str:
    """Ask aloud, and return what was heard after the question."""
    await call.ask(question)
    heard = await call.recording()
    return await heard.since(heard.turns()[-1][1]).words()


async def test_code_is_asked_about_aloud(
    serve: Callable[..., Server], browser: Browser, tmp_path: Path
):
    project = tmp_path / "project"
    project.mkdir()
    (project / "garden.py").write_text("class Garden:\n    '''Grows roses.'''\n")
    (project / "house.py").write_text("from garden import Garden\n\nPLOT = Garden()\n")
    server = serve("code", str(project), *OFFLINE)
    async with open_page(browser, server.url) as call:
        await call.connect()
        await call.heard_out()
        assert "garden" in await answer_to(call, "Where is the class garden defined?")
        assert "house" in await answer_to(call, "And who calls it?")
        lines = await call.lines()
        assert any("coder" in line and line.startswith("(job)") for line in lines), lines
        assert call.troubles == []


async def test_the_thermometer_answers_aloud_with_its_own_reading(
    serve: Callable[..., Server], browser: Browser
):
    server = serve("sensor", *OFFLINE, "--start-temp", "22", "--seed", "7")
    async with open_page(browser, server.url) as call:
        await call.connect()
        await call.heard_out()
        words = await answer_to(call, "What is the temperature now?")
        assert re.search(r"22|twenty[ -]?(two|one)|21", words), words
        words = await answer_to(call, "Please set it to thirty degrees.")
        assert re.search(r"30|thirty", words), words
        lines = await call.lines()
        assert any("set_target" in line for line in lines), lines
        assert call.troubles == []
