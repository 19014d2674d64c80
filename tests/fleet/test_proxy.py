"""Calls whose worker is at the other end of a WebSocket: over it, refused, broken in mid-call."""

import asyncio
import contextlib
import time
from uuid import uuid4

import pytest
from websockets.asyncio.server import serve

from pipecat_workers_cli.buses.urls import SharedBus
from pipecat_workers_cli.buses.way import require_reachable
from pipecat_workers_cli.call import links as call_links
from pipecat_workers_cli.call import placement
from pipecat_workers_cli.call.distribution import open_distribution
from pipecat_workers_cli.call.links import Links
from pipecat_workers_cli.errors import PmwError
from pipecat_workers_cli.options import LinkOptions
from pipecat_workers_cli.traffic.tap import Tap
from tests.buses.tunnel import open_tunnel
from tests.call.conftest import open_words_call
from tests.fleet.conftest import hosting
from tests.fleet.proxies import (
    SLOW,
    TOKEN,
    certificate,
    proxying,
    sets_for,
    way_to,
)
from tests.ports import free_port
from tests.waiting import until

ANSWER = "At last, the slow answer."


def links(**options) -> Links:
    return Links(LinkOptions(**options))


@pytest.fixture
def slow(tmp_path):
    path = tmp_path / "slow.toml"
    path.write_text(SLOW)
    return str(path)


def texts(call, worker: str = "assistant") -> list[str]:
    return [e.text for e in call.entries if e.event == "bot" and e.worker == worker]


def cut(gateway) -> None:
    """Break all links of a gateway, as a network does: nobody says goodbye."""
    for connection in list(gateway.held):
        connection.transport.abort()


async def test_a_worker_answers_over_tls_and_its_goodbye_ends_the_call(tmp_path):
    tls = certificate(tmp_path)
    async with proxying(tokens=("an-older-one", TOKEN), tls=tls) as gateway:
        async with open_words_call(
            "assistant", sets=sets_for(gateway, TOKEN), distribution=links(ca_file=tls[0])
        ) as call:
            await call.opened()
            answered = await call.say("How much are the rocket boots?")
            assert "$299" in answered[-1].text
            order = await call.say("Where is my order number 42?")
            assert ("tool", "find_order") in [(entry.event, entry.name) for entry in order]
            assert [hosted.shown for hosted in gateway.held.values()] == [call.call.id]
            await call.transport.send_turn("Goodbye")
            await asyncio.wait_for(call.call.ended.wait(), 10)
        assert call.call.reason == "the caller said goodbye"
        await until(lambda: not gateway.held)
    assert not gateway.letters.refused


async def test_without_a_right_token_it_is_401_and_nothing_is_allocated(tmp_path):
    async with proxying(tokens=(TOKEN,)) as gateway:
        for header in ("", "Authorization: Bearer wrong-token\r\n", "Authorization: Basic x\r\n"):
            answer = await upgrade(gateway.doorstep.port, header)
            assert answer.startswith("HTTP/1.1 401 ")
            assert "www-authenticate: bearer" in answer.lower()
        assert gateway.opened == 0
        assert gateway.gate.turned == {"no token": 2, "wrong token": 1}


async def upgrade(port: int, headers: str, path: str = "/ws") -> str:
    """Ask for an upgrade; return the head of the answer."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(
        f"GET {path} HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\n"
        "Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
        f"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n{headers}\r\n".encode()
    )
    try:
        return (await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 5)).decode()
    finally:
        writer.close()


async def test_whoever_guesses_too_often_is_slowed_and_a_right_token_is_not():
    wrong = "Authorization: Bearer wrong-token\r\n"
    async with proxying(tokens=(TOKEN,)) as gateway:
        port = gateway.doorstep.port
        answers = [await upgrade(port, wrong) for _ in range(11)]
        assert [answer.split()[1] for answer in answers] == ["401"] * 10 + ["429"]
        guessing = asyncio.create_task(upgrade(port, wrong))
        await require_reachable(way_to(gateway, token=TOKEN))
        assert not guessing.done()
        assert (await guessing).split()[1] == "429"


@pytest.mark.parametrize(
    ("asked", "told"),
    [
        ({"token": "another-token"}, "wants a token, and not this one"),
        ({"token": TOKEN, "path": "/other"}, "there is no proxy at ws://"),
        ({"token": TOKEN, "worker": "support"}, "serves assistant, not support"),
        ({"token": TOKEN, "headers": (("Origin", "https://evil.example"),)}, "lets nobody in"),
    ],
)
async def test_a_refused_link_says_why_and_what_to_do(asked, told):
    async with proxying(tokens=(TOKEN,)) as gateway:
        with pytest.raises(PmwError) as refused:
            await require_reachable(way_to(gateway, **asked))
    assert told in refused.value.what
    assert refused.value.mend
    assert TOKEN not in f"{refused.value.what}{refused.value.mend}"


async def test_a_certificate_that_nobody_vouches_for_is_refused(tmp_path):
    async with proxying(tls=certificate(tmp_path)) as gateway:
        with pytest.raises(PmwError, match="isn't trusted") as refused:
            await require_reachable(way_to(gateway))
    assert "--ca-file" in refused.value.mend


async def test_a_stranger_s_websocket_is_no_proxy():
    port = free_port()
    async with proxying() as gateway, serve(lambda ws: ws.wait_closed(), "127.0.0.1", port):
        way = way_to(gateway)
        object.__setattr__(way, "url", f"ws://127.0.0.1:{port}/ws")
        with pytest.raises(PmwError, match="no proxy of pmw's"):
            await require_reachable(way)


async def test_another_version_is_told_so():
    headers = "Sec-WebSocket-Protocol: pmw.999\r\n"
    async with proxying() as gateway:
        answer = await upgrade(gateway.doorstep.port, headers)
    assert answer.startswith("HTTP/1.1 400 ")
    assert "pmw-max-message-bytes" in answer.lower()  # by which the other end knows that it is ours


async def test_calls_beyond_the_most_are_refused_and_those_inside_go_on():
    async with (
        proxying(max_calls=1) as gateway,
        open_words_call("assistant", sets=sets_for(gateway), distribution=links()) as call,
    ):
        await call.opened()
        with pytest.raises(PmwError, match="takes no more calls"):
            await require_reachable(way_to(gateway))
        assert "$49" in (await call.say("And the paint?"))[-1].text


async def test_a_link_that_breaks_in_mid_answer_is_opened_again_and_answers_once(slow):
    async with (
        proxying(slow) as gateway,
        open_words_call(slow, sets=sets_for(gateway), distribution=links()) as call,
    ):
        await call.opened()
        await call.say("Hello there")
        await call.transport.send_turn("A slow question")
        await call.until("user", text="A slow question")
        await asyncio.sleep(0.3)
        cut(gateway)
        await call.until("bot", worker="acme", text="One moment, please.")
        await call.until("bot", text=ANSWER)
        assert "You said Another" in (await call.say("Another"))[-1].text
        assert gateway.opened == 2
    assert texts(call).count(ANSWER) == 1


async def test_a_far_end_that_never_comes_back_is_given_up_and_the_caller_is_told(slow):
    async with contextlib.AsyncExitStack() as stack:
        gateway = await stack.enter_async_context(proxying(slow))
        async with open_words_call(
            slow, sets=sets_for(gateway), distribution=links(reconnect_timeout=2.5)
        ) as call:
            await call.opened()
            await call.transport.send_turn("A slow question")
            await call.until("user", text="A slow question")
            cut(gateway)
            await stack.aclose()
            await asyncio.wait_for(call.call.ended.wait(), 10)
    said = texts(call, "acme")
    assert said[0] == "One moment, please."
    assert said[-1].startswith("I'm sorry, I can't go on")
    assert call.call.reason == "assistant was given up after 2.5 s"
    told = [entry.text for entry in call.entries if entry.event == "error"]
    assert "nothing listens at" in told[-1]


async def test_a_link_over_which_nothing_is_said_is_closed():
    async with (
        proxying(idle_timeout=1.0) as gateway,
        open_words_call("assistant", sets=sets_for(gateway), distribution=links()) as call,
    ):
        await call.opened()
        await until(lambda: gateway.opened == 2)  # the call needs a worker all the same
        assert "$49" in (await call.say("And the paint?"))[-1].text


async def test_a_drained_proxy_takes_no_more_and_waits_for_those_inside():
    async with proxying() as gateway:
        async with open_words_call(
            "assistant", sets=sets_for(gateway), distribution=links()
        ) as call:
            await call.opened()
            draining = asyncio.create_task(gateway.drain(within=10))
            await until(lambda: gateway.draining)
            with pytest.raises(PmwError, match="it is about to stop"):
                await require_reachable(way_to(gateway))
            assert "$49" in (await call.say("And the paint?"))[-1].text
            assert not draining.done()
        assert await draining


async def test_workers_here_and_at_two_other_ends_share_one_call(tmp_path):
    """The greeter is here, support and a specialist each behind a proxy of its own."""
    recipe = tmp_path / "shop.toml"
    recipe.write_text(SHOP)
    async with (
        proxying(str(recipe), worker="support") as support,
        proxying(str(recipe), worker="prices") as prices,
        open_words_call(
            str(recipe),
            sets=sets_to(support=support, prices=prices),
            distribution=links(),
        ) as call,
    ):
        await call.opened()
        await until(lambda: len(support.held) == len(prices.held) == 1)
        handed = await call.say("support please")
        assert [(e.event, e.target) for e in handed if e.event == "transfer"] == [
            ("transfer", "support")
        ]
        asked = await call.say("what is the price")
        assert asked[-1].worker == "support"
        assert "It is 5 dollars" in asked[-1].text
        back = await call.say("greeter please")
        assert back[-1].worker == "greeter"
    assert not support.letters.refused
    assert not prices.letters.refused


async def test_workers_on_a_bus_and_behind_a_proxy_share_one_call(server, tmp_path):
    """The greeter is claimed from a queue, support and a specialist are behind proxies."""
    recipe = tmp_path / "shop.toml"
    recipe.write_text(SHOP)
    bus = SharedBus(server.url, f"test_{uuid4().hex[:8]}")
    async with (
        proxying(str(recipe), worker="support") as support,
        proxying(str(recipe), worker="prices") as prices,
        hosting(bus, "greeter", recipe=str(recipe)) as host,
        open_distribution(bus, Tap()) as hosts,
        open_words_call(
            str(recipe), sets=sets_to(support=support, prices=prices), distribution=hosts
        ) as call,
    ):
        await call.opened()
        assert len(host.held) == len(support.held) == len(prices.held) == 1
        assert (await call.say("support please"))[-1].worker == "support"
        asked = await call.say("what is the price")
        assert "It is 5 dollars" in asked[-1].text
        cut(support)
        again = await call.say("what is the price")
        assert "It is 5 dollars" in again[-1].text
        back = await call.say("greeter please")
        assert back[-1].worker == "greeter"


def sets_to(**gateways) -> tuple[str, ...]:
    """What puts each worker where its gateway listens."""
    return tuple(f'workers.{name}.at="{at.doorstep.url}"' for name, at in gateways.items())


SHOP = """
name = "shop"
[main]
name = "front"
opening = { worker = "greeter", message = "Welcome the caller." }
[[workers]]
name = "greeter"
prompt = "You greet."
transfers = ["support"]
script = [
  { on = "opening", say = "Welcome!" },
  { on = "transfer", say = "The greeter again." },
  { match = "support", call = "transfer_to_agent", args = { agent = "support", reason = "asked" } },
]
[[workers]]
name = "support"
prompt = "You support."
transfers = ["greeter"]
jobs = [{ tool = "ask_prices", workers = ["prices"] }]
script = [
  { on = "transfer", say = "Support here." },
  { on = "tool:ask_prices", say = "They say: {result}" },
  { match = "price", call = "ask_prices", args = { question = "{text}" } },
  { match = "greeter", call = "transfer_to_agent", args = { agent = "greeter", reason = "asked" } },
]
[[workers]]
name = "prices"
kind = "specialist"
prompt = "You know prices."
script = [{ say = "It is 5 dollars." }]
"""


async def test_all_links_are_left_at_once_though_nobody_answers(monkeypatch):
    monkeypatch.setattr(call_links, "LEAVE_WITHIN", 2.0)
    monkeypatch.setattr(placement, "TIDY_WITHIN", 30.0)
    async with contextlib.AsyncExitStack() as stack:
        sets, gateways, tunnels = [], [], []
        for name in ("advocate", "critic", "analyst"):
            gateways.append(await stack.enter_async_context(proxying("debate", worker=name)))
            url = gateways[-1].doorstep.url
            tunnels.append(await stack.enter_async_context(open_tunnel(url)))
            sets.append(f'workers.{name}.at="{tunnels[-1].url}"')
        opened = open_words_call("debate", sets=tuple(sets), distribution=links())
        async with opened as call:
            await call.opened()
            await until(lambda: all(gateway.held for gateway in gateways))
            for tunnel in tunnels:
                tunnel.open.clear()
            began = time.monotonic()
        assert time.monotonic() - began < 2  # each takes a second
