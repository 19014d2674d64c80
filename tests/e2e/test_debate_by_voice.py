"""A debate by voice through our page: asked aloud, argued by three, answered aloud."""

from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
import pytest_asyncio
from playwright.async_api import Browser

from tests.e2e.browser import BrowserCall, open_browser, open_page
from tests.e2e.conftest import ROOT, Server

pytestmark = [
    pytest.mark.browser,
    pytest.mark.speech,
    pytest.mark.slow,
    pytest.mark.aloud,
    pytest.mark.flaky(reruns=1),  # a small model mishears now and then
]
OFFLINE = ("--services", "offline", "-o", "json")
FILLER = "let me ask"
THINKS = 6  # seconds; the filler comes after two, and is spoken in one and a half


@pytest_asyncio.fixture
async def browser(chromium) -> AsyncIterator[Browser]:
    async with open_browser(chromium) as opened:
        yield opened


@pytest.fixture
def slow_debate(tmp_path: Path) -> str:
    """The shipped recipe with an analyst who takes a while, and all in fewer words."""
    text = (ROOT / "recipes" / "debate.toml").read_text(encoding="utf-8")
    for whole, other in (
        ('say = ["Most studies find', f'delay = {THINKS}, say = ["Most studies find'),
        (
            ". What is lost is harder to measure: learning from each other",
            "",
        ),
        (" that they lost on the road. They spend them on work and on their families", ""),
        ("Those who are new learn by sitting beside others. ", ""),
        (", and you will hear both sides and the facts", ""),
    ):
        assert text.count(whole) == 1, whole
        text = text.replace(whole, other)
    (tmp_path / "slow.toml").write_text(text, encoding="utf-8")
    return "./slow.toml"


async def job_states(call: BrowserCall) -> dict[str, str]:
    """Return what the page shows beside each member under its jobs."""
    read = "items => items.map((item) => [item.firstElementChild.textContent, item.dataset.state])"
    return dict(await call.page.eval_on_selector_all("#jobs li", read))


async def test_a_topic_is_debated_aloud_and_the_page_shows_who_argues(
    serve: Callable[..., Server], browser: Browser
):
    server = serve("debate", *OFFLINE)
    async with open_page(browser, server.url) as call:
        await call.connect()
        await call.heard_out()
        assert await call.lit() == "moderator"
        await call.ask("Should we work from home?")
        lines = await call.lines()
        assert any("home" in line for line in lines if line.startswith("you: ")), lines
        answered = await call.recording()
        words = await answered.since(answered.turns()[-1][1]).words()
        # A word or two of each; the smallest Moonshine mishears a part of it now and then.
        for side in (("hours", "families", "road"), ("alone", "beside", "learn"), ("studies",)):
            assert any(word in words for word in side), words
        assert FILLER not in words
        answers = [line for line in lines if " answers: " in line]
        assert {line.split()[1] for line in answers} == {"advocate", "critic", "analyst"}, lines
        assert await call.lit() == "moderator"
        await call.say("Okay, thank you very much. Goodbye.")
        await call.ended()
        whole = await call.recording()
        words = await whole.since(whole.turns()[-1][1]).words()
        assert words.replace(" ", "").count("goodbye") == 1, words
        assert call.troubles == []


@pytest.mark.long
async def test_who_waits_hears_a_filler_once_and_who_interrupts_hears_no_stale_answer(
    serve: Callable[..., Server], browser: Browser, slow_debate: str
):
    server = serve("run", slow_debate, *OFFLINE)
    async with open_page(browser, server.url) as call:
        await call.connect()
        await call.heard_out()
        await call.say("Should we work from home?")
        await call.until("document.querySelectorAll('#jobs li').length === 3")
        await call.said("Let me ask all three.")
        states = await job_states(call)
        assert states == {"advocate": "completed", "critic": "completed", "analyst": "started"}
        await call.said("Most studies find")
        await call.silent()
        whole = await call.recording()
        words = await whole.since(whole.turns()[-1][1]).words()
        assert words.count(FILLER) == 1, words
        assert "studies" in words, words
        assert words.index(FILLER) < words.index("studies")

        await call.say("Why should we work from home?")
        await call.until("document.querySelectorAll('#workers [data-busy]').length > 0")
        interrupted_at = await call.page.evaluate("window.caller.samples")
        await call.ask("Who are you?")
        whole = await call.recording()
        words = await whole.since(interrupted_at).words()
        # Whatever was understood of so short a question, it is answered, and by nothing stale.
        assert len(words.split()) > 3, words
        assert "studies" not in words, words
        assert FILLER not in words, words
        lines = await call.lines()
        assert any(line == "(job) job for analyst: cancelled" for line in lines), lines
        assert call.troubles == []
