"""What the page shows of workers, of their jobs for each other, and of an answer's latency."""

import contextlib
from collections.abc import Callable, Iterator
from contextlib import AbstractAsyncContextManager

import pytest
from playwright.async_api import Browser, Page, expect

from tests.session.test_page import BusyServer

pytestmark = [
    pytest.mark.browser,
    pytest.mark.asyncio(loop_scope="session"),
    pytest.mark.xdist_group("page"),
]

# The page's own parts, filled as a call would fill them.
SHOW = """async ([names, edges]) => {
  const part = (id) => document.getElementById(id);
  const of = (file) => import(new URL(`page/${file}.js`, document.baseURI));
  const [{ Crew }, { Lines }, { Transcript }] = await Promise.all(
    ["crew", "lines", "transcript"].map(of),
  );
  const ids = ["crew", "rack", "edges", "lamp", "workers", "about", "work", "jobs"];
  window.crew = new Crew(Object.fromEntries(ids.map((id) => [id, part(id)])));
  window.transcript = new Transcript(new Lines(part("transcript"), part("lines")));
  const workers = names.map((name) => ({ name, summary: `is good at ${name}` }));
  window.crew.show(workers, names[0], edges);
}"""
LIT = """() => [...document.querySelectorAll("#edges [data-lit]")].map(
  ({ dataset }) => `${dataset.tie} ${dataset.source} ${dataset.target}`)"""
ROWS = """() => {
  const rows = Map.groupBy(document.querySelectorAll("#workers > li"), (item) => item.offsetTop);
  return [...rows.values()].map((row) => row.map((item) => item.dataset.worker));
}"""
RUNNING = (
    """() => document.getAnimations().filter(({ playState }) => playState === "running").length"""
)


def transfer(source: str, target: str) -> dict[str, str]:
    return {"source": source, "target": target, "tie": "transfer"}


def asks(source: str, target: str, tool: str) -> dict[str, str]:
    return {"source": source, "target": target, "tie": "job", "tool": tool}


TEAM = ["greeter", "moderator", "advocate", "critic", "analyst", "archive"]
TIES = [
    transfer("greeter", "moderator"),
    transfer("moderator", "greeter"),
    *(asks("moderator", name, "debate(topic)") for name in ("advocate", "critic", "analyst")),
    asks("analyst", "archive", "look_up(what)"),
]


Showing = Callable[..., AbstractAsyncContextManager[Page]]


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    with BusyServer().running() as address:
        yield address


@pytest.fixture
def showing(browser: Browser, address: str) -> Showing:
    """Show workers on a page of ours; further options are Playwright's for the page."""

    @contextlib.asynccontextmanager
    async def show(names: list[str], edges: list[dict[str, str]], **options: object):
        page = await browser.new_page(**options)
        faults: list[str] = []
        page.on("pageerror", lambda error: faults.append(str(error)))
        await page.goto(address)
        await page.evaluate(SHOW, [names, edges])
        yield page
        await page.close()
        assert faults == []

    return show


async def job(page: Page, state: str, name: str, **more: object) -> None:
    entry = {"id": "7f", "name": name, "worker": "moderator", "state": state, **more}
    await page.evaluate("(entry) => window.crew.job(entry)", entry)


@pytest.mark.parametrize("width", [360, 700, 1100])
async def test_who_asks_stands_above_those_who_are_asked(showing: Showing, width: int) -> None:
    size = {"width": width, "height": 700}
    async with showing(TEAM, TIES, viewport=size) as page:
        rows = [["greeter", "moderator"], ["advocate", "critic", "analyst"], ["archive"]]
        assert await page.evaluate(ROWS) == rows
        assert await page.evaluate("document.documentElement.scrollWidth") <= width
        assert await page.locator("#edges g").count() == 5  # there and back is one line
        assert await page.locator("#edges text").all_text_contents() == ["debate", "look_up"]


async def test_a_job_lights_its_line_while_it_runs_and_tells_how_long_it_took(
    showing: Showing,
) -> None:
    async with showing(TEAM, TIES) as page:
        for name in ("advocate", "critic"):
            await job(page, "started", name)
        assert await page.evaluate(LIT) == ["job moderator advocate", "job moderator critic"]
        assert await page.locator("#workers [data-busy]").count() == 2
        assert await page.locator("#jobs [data-group='7f']").count() == 2
        await job(page, "update", "critic", text="reading 2 of 9")
        await expect(page.locator("#jobs")).to_contain_text("reading 2 of 9")
        await job(page, "completed", "critic", took_ms=2345.6)
        await job(page, "timeout", "advocate", took_ms=30_000)
        assert await page.evaluate(LIT) == []
        told = await page.locator("#jobs li").all_inner_texts()
        assert [" ".join(line.split()) for line in told] == [
            "advocate timeout 30.0 s",
            "critic completed 2.3 s",
        ]


async def test_a_handover_lights_its_line_for_a_moment_and_the_new_worker(showing: Showing) -> None:
    async with showing(TEAM, TIES) as page:
        await page.evaluate("window.crew.activate('moderator', 'greeter')")
        assert await page.evaluate(LIT) == ["transfer greeter moderator"]
        lit = page.locator("#workers [aria-current=true]")
        await expect(lit).to_have_attribute("data-worker", "moderator")
        await expect(page.locator("#edges [data-lit]")).to_have_count(0)


async def test_the_graph_is_told_in_words_and_walked_through_by_keyboard(showing: Showing) -> None:
    async with showing(TEAM, TIES) as page:
        moderator = page.locator("#workers [data-worker=moderator]")
        await expect(moderator).to_contain_text(
            "Hands over to greeter. Asks advocate, critic, analyst."
        )
        about = page.locator("#about")
        await expect(about).to_have_text("greeter: is good at greeter")
        await page.locator("#workers [data-worker=greeter]").focus()
        for name in TEAM[1:]:
            await page.keyboard.press("Tab")
            await expect(about).to_have_text(f"{name}: is good at {name}")


async def test_nothing_moves_for_those_who_want_it_still(showing: Showing) -> None:
    for motion, moving in (("no-preference", True), ("reduce", False)):
        async with showing(TEAM, TIES, reduced_motion=motion) as page:
            await job(page, "started", "critic")
            assert bool(await page.evaluate(RUNNING)) is moving


async def test_fifty_workers_are_a_list_in_which_the_active_one_is_in_sight(
    showing: Showing,
) -> None:
    names = [f"worker{i}" for i in range(50)]
    ties = [transfer(one, other) for one in names for other in names if one != other]
    for width in (360, 1100):
        size = {"width": width, "height": 700}
        async with showing(names, ties, viewport=size) as page:
            assert await page.locator("#edges g").count() == 0
            await page.evaluate("window.crew.activate('worker41', 'worker0')")
            await expect(page.locator("[data-worker=worker41]")).to_be_in_viewport()
            await job(page, "started", "worker40")
            assert await page.locator("#workers [data-busy]").count() == 1
            assert await page.evaluate("document.documentElement.scrollWidth") <= width


async def test_an_answers_latency_is_shown_in_its_parts(showing: Showing) -> None:
    parts = {"turn": 420.4, "stt": 133.0, "llm": 700.2, "tts": 150.0, "other": 0.2}
    async with showing(TEAM, TIES) as page:
        for turn, took in ((1, 1403.8), (2, 730.0)):
            entry = {"worker": "critic", "text": f"Number {turn}.", "turn": turn}
            told = {**entry, "latency_ms": took, "parts": parts}
            said = {"text": entry["text"], "segment_id": turn, "will_be_spoken": False}
            show = "([told, said]) => { transcript.botEntry(told); transcript.output(said); }"
            await page.evaluate(show, [told, said])
        slow, fast = page.locator(".latency").first, page.locator(".latency").last
        heard = "1404 ms turn 420 ms stt 133 ms llm 700 ms tts 150 ms"  # nothing that is 0 ms
        assert " ".join((await slow.text_content() or "").split()) == heard
        assert await slow.get_attribute("class") == "latency slow"
        assert await fast.get_attribute("class") == "latency"
        box = await slow.locator(".parts").bounding_box()
        assert box
        assert box["width"] <= 2
        for look in (slow.focus, slow.hover):
            await look()
            await expect(slow.locator(".part").last).to_be_in_viewport(ratio=1)
