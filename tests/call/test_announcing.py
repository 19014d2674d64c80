"""What a session says of its calls on a shared bus."""

import asyncio

from pipecat_workers_cli.buses import announced
from pipecat_workers_cli.buses.local import LocalBus
from pipecat_workers_cli.buses.post import open_post
from pipecat_workers_cli.buses.presence import CALLS_LISTED, look, own_name
from pipecat_workers_cli.call.announcing import announcing, session_row
from pipecat_workers_cli.traffic.entry import Entry
from pipecat_workers_cli.traffic.tap import Tap
from tests.buses.asking import until_it_gives
from tests.buses.servers import RedisServer
from tests.waiting import until


def tap_of(calls: int) -> Tap:
    tap = Tap()
    for number in range(calls):
        tap.open_call(
            f"{number:08x}",
            LocalBus(),
            recipe="handoff",
            workers=["greeter"],
            main="acme",
            recipe_hash="aaaa",
        )
    return tap


async def test_calls_are_listed_while_the_session_lasts_and_gone_with_it(valkey):
    tap = tap_of(1)
    tap.add(Entry(event="bot", call="00000000", worker="greeter", at_ms=5, text="Hello"))
    async with valkey.open_network("calls") as network, open_post(network) as post:
        async with announcing(post, tap):
            (there,) = await until_it_gives(sessions_on, network)
        assert there.row.session == own_name()
        (call,) = there.row.calls
        assert (call.call, call.recipe, call.hash, call.turn) == ("00000000", "handoff", "aaaa", 1)
        assert await sessions_on(network) == []


async def test_what_fails_is_tried_again(valkey, monkeypatch):
    monkeypatch.setattr(announced, "ANNOUNCE_EVERY", 0.05)
    tap = tap_of(1)
    tried = []

    def snapshot():
        tried.append(1)
        if len(tried) < 3:
            raise ValueError("a bug")
        return Tap.snapshot(tap)

    monkeypatch.setattr(tap, "snapshot", snapshot)
    async with (
        valkey.open_network("bug") as network,
        open_post(network) as post,
        announcing(post, tap),
    ):
        assert await until_it_gives(sessions_on, network)


async def sessions_on(network):
    return (await look(network)).sessions


async def test_a_session_leaves_at_once_though_its_bus_is_dead(tmp_path):
    server = RedisServer(tmp_path)
    server.start()
    async with server.open_network("dead") as network, open_post(network) as post:
        async with announcing(post, tap_of(1)):
            server.stop()
            await until(lambda: post.failure)
            began = asyncio.get_running_loop().time()
        assert asyncio.get_running_loop().time() - began < 0.5


def test_of_very_many_calls_the_oldest_are_listed_and_the_others_counted():
    row = session_row(tap_of(CALLS_LISTED + 3))
    assert len(row.calls) == CALLS_LISTED
    assert row.calls[0].call == "00000000"
    assert row.unlisted == 3
