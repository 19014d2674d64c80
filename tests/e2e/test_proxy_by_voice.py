"""A call by voice in a browser whose worker is at the other end of a link that breaks."""

import asyncio

import pytest

from tests.e2e.browser import open_browser, open_page
from tests.fleet.proxies import SLOW

pytestmark = [
    pytest.mark.browser,
    pytest.mark.speech,
    pytest.mark.slow,
    pytest.mark.aloud,
    pytest.mark.long,  # a minute; test_proxy.py holds the same in words
    pytest.mark.flaky(reruns=1),  # a small model mishears now and then
]

ANSWER, FILLER = "At last, the slow answer.", "One moment, please."
ASKED = "[...document.querySelectorAll('li.line:not(.bot)')].some((l) => /slow/i.test(l.innerText))"


async def test_a_far_end_killed_in_mid_answer_is_heard_as_a_filler_and_the_answer_once(
    pmw, serve, chromium, tmp_path, unused_tcp_port
):
    (tmp_path / "slow.toml").write_text(SLOW)
    far = ("proxy", "serve", "--recipe", "./slow.toml", "--services", "offline")
    far = (*far, "--port", str(unused_tcp_port))

    def serving():
        process = pmw(*far)
        process.wait_for_line("Ctrl-C", timeout=60)
        return process

    killed = await asyncio.to_thread(serving)
    url = f"ws://localhost:{unused_tcp_port}/ws"
    words = ("proxy", "call", "--remote-url", url, "--services", "offline", "-t", "webrtc")
    near = await asyncio.to_thread(serve, *words)
    async with open_browser(chromium) as browser, open_page(browser, near.url) as call:
        await call.connect()
        await call.heard_out()
        await call.say("Please answer a slow question.")
        await call.until(ASKED)
        killed.popen.kill()
        await asyncio.to_thread(serving)
        await call.said(ANSWER)
        await call.silent()
        whole = await call.recording()
        heard = await whole.since(whole.turns()[-1][1]).words()
        lines = await call.lines()
        await call.hang_up()
        assert call.troubles == []
    assert [line.partition(": ")[2] for line in lines].count(ANSWER) == 1
    assert any(FILLER in line for line in lines), lines
    assert heard.count("slow answer") == 1, heard
    assert heard.index("moment") < heard.index("slow answer"), heard
