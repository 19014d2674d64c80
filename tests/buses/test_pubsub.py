"""A channel of stock Pipecat's, with stock's own bus at the other end, on a real server."""

import asyncio
import json
import time
from contextlib import AsyncExitStack, asynccontextmanager

import pytest
from pipecat.bus import (
    BusAddWorkerMessage,
    BusEndMessage,
    BusFrameMessage,
    BusJobRequestMessage,
    BusMessage,
    BusTTSSpeakMessage,
)
from pipecat.bus.network import RedisBus
from pipecat.frames.frames import InputAudioRawFrame, OutputAudioRawFrame
from pipecat.pipeline.job_context import JobParams
from pipecat.pipeline.job_decorator import job
from pipecat.processors.frame_processor import FrameDirection
from pipecat.workers.base_worker import BaseWorker
from redis.asyncio import Redis

from pipecat_workers_cli.buses import redis_requests
from pipecat_workers_cli.buses.outbox import WAITING_LETTERS
from pipecat_workers_cli.buses.pubsub import PubSubBus, open_channel
from pipecat_workers_cli.call.run import running
from pipecat_workers_cli.errors import PmwError
from tests.buses.tunnel import open_tunnel
from tests.waiting import until

BACK_WITHIN = 5.0  # seconds


@pytest.fixture
def server(servers):
    server = servers("redis")
    yield server
    server.thaw()
    server.start()


def url_of(server):
    return server.url.replace("redis://", "redis+pubsub://")


class Ear(BaseWorker):
    """Keeps what it hears, and doubles numbers."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.heard: list[BusMessage] = []

    async def on_bus_message(self, message: BusMessage) -> None:
        self.heard.append(message)
        await super().on_bus_message(message)

    @job(name="double")
    async def on_double(self, message: BusJobRequestMessage) -> None:
        await self.send_job_response(message.job_id, {"doubled": 2 * message.payload["n"]})

    def words(self) -> list[str]:
        return [one.text for one in self.heard if isinstance(one, BusTTSSpeakMessage)]

    async def hears(self, words: str, *, within: float = BACK_WITHIN) -> None:
        await until(lambda: words in self.words(), within=within)


@asynccontextmanager
async def ours(server, channel, *workers, **bus_options):
    """Run workers on our bus; gives the channel."""
    async with open_channel(url_of(server), channel=channel) as opened:
        bus = PubSubBus(opened, **{"admits": lambda _: True, **bus_options})
        with opened.taking(bus.take):
            async with running(workers, bus):
                yield opened


@asynccontextmanager
async def stock(server, channel, *workers):
    """Run workers on Pipecat's own bus."""
    async with (
        Redis.from_url(server.url) as client,
        running(workers, RedisBus(redis=client, channel=channel)),
    ):
        yield


def say(words, *, source="ann", target=None):
    return BusTTSSpeakMessage(source=source, target=target, text=words)


@pytest.fixture
async def two(server, channel):
    """Two of our processes' places on the channel, one worker each."""
    ann, bob = Ear("ann"), Ear("bob")
    async with AsyncExitStack() as stack:
        first = await stack.enter_async_context(ours(server, channel, ann))
        second = await stack.enter_async_context(ours(server, channel, bob))
        yield ann, bob, first, second


async def test_our_worker_asks_a_stock_worker_and_the_other_way_round(server, channel):
    ann, bob = Ear("ann"), Ear("bob")
    async with stock(server, channel, bob), ours(server, channel, ann):
        for asker, asked in ((ann, "bob"), (bob, "ann")):
            params = JobParams(name="double", payload={"n": 21}, timeout=5)
            async with asker.job(asked, params=params) as done:
                pass
            assert done.response == {"doubled": 42}


async def test_registries_are_exchanged_whoever_comes_first(server, channel):
    ann, bob = Ear("ann"), Ear("bob")
    async with ours(server, channel, ann), stock(server, channel, bob):
        await until(lambda: "bob" in ann.registry and "ann" in bob.registry)


async def test_a_message_that_is_not_taken_is_not_the_last(server, channel):
    taken = []

    def take(data):
        if data == b"odd":
            raise KeyError("a bug")
        taken.append(data)

    async with open_channel(url_of(server), channel=channel) as opened:
        with opened.taking(take):
            opened.send(b"odd")
            opened.send(b"even")
            await until(lambda: taken == [b"even"])
    assert opened.counts.refused == {"KeyError when it was taken": 1}


async def test_what_was_said_last_is_heard_though_its_way_is_long(server, channel):
    taken = []
    async with (
        open_channel(url_of(server), channel=channel) as there,
        open_tunnel(server.url) as way,
    ):
        with there.taking(taken.append):
            async with open_channel(url_of(way), channel=channel) as here:
                here.send(b"last words")
                for _ in range(5):  # rounds until it is under way
                    await asyncio.sleep(0)
            await until(lambda: taken == [b"last words"])
    assert (here.counts.sent, here.counts.lost) == (1, 0)


async def test_everybody_hears_a_message_once_and_in_order(server, channel, two):
    ann, bob, *_ = two
    carl = Ear("carl")
    async with stock(server, channel, carl):
        for number in range(300):
            await ann.send_bus_message(say(str(number)))
        for ear in (ann, bob, carl):
            await ear.hears("299")
        await bob.send_bus_message(say("done", source="bob"))
        for ear in (ann, bob, carl):
            await ear.hears("done")
            assert ear.words() == [*map(str, range(300)), "done"]


async def test_a_message_for_this_process_alone_never_leaves_it(server, channel):
    ann = Ear("ann")
    async with Redis.from_url(server.url) as client, client.pubsub() as watch:
        await watch.subscribe(channel)
        async with ours(server, channel, ann):
            await ann.send_bus_message(BusAddWorkerMessage(source="ann", worker=Ear("child")))
            await ann.send_bus_message(say("end of it"))
            await ann.hears("end of it")
            published = []
            while "end of it" not in str(published):
                came = await watch.get_message(timeout=1)
                published.append(came["data"] if came else None)
    kinds = [json.loads(data)["__type__"] for data in published if isinstance(data, bytes)]
    assert kinds
    assert not any("BusAddWorker" in kind for kind in kinds)


async def test_channels_do_not_hear_each_other(server, channel):
    ann, bob, carl = Ear("ann"), Ear("bob"), Ear("carl")
    async with (
        ours(server, channel, ann),
        ours(server, channel, bob),
        ours(server, f"{channel}_2", carl),
    ):
        await ann.send_bus_message(say("here"))
        await bob.hears("here")
        await carl.send_bus_message(say("there", source="carl"))
        await carl.hears("there")
        assert carl.words() == ["there"]
        assert bob.words() == ["here"]


async def test_connections_that_are_cut_come_back(server, two):
    ann, bob, *_ = two
    for round_ in range(3):
        server.cut()
        async with asyncio.timeout(BACK_WITHIN):
            while f"round {round_}" not in bob.words():
                await ann.send_bus_message(say(f"round {round_}"))
                await asyncio.sleep(0.05)


async def test_what_is_said_while_the_server_is_away_is_heard_once_it_is_back(server, two):
    ann, bob, first, second = two
    await asyncio.to_thread(server.stop)
    await until(lambda: first.failure and second.failure)
    for number in range(20):
        await ann.send_bus_message(say(str(number)))
    assert ann.words() == []  # delivered by tasks, which get a turn now
    await ann.hears("19", within=0.5)
    await asyncio.to_thread(server.start)
    await bob.hears("19")
    assert bob.words() == ann.words() == [*map(str, range(20))]
    assert (first.failure, first.counts.failures) == (None, 1)


async def test_a_silent_server_is_noticed_and_holds_up_nobody(server, two, monkeypatch):
    monkeypatch.setattr(redis_requests, "ASK_AFTER", 0.2)
    monkeypatch.setattr(redis_requests, "ANSWER_WITHIN", 0.6)
    ann, bob, first, second = two
    server.freeze()
    latest, lag = time.monotonic(), 0.0
    async with asyncio.timeout(8):
        while second.failure is None:
            await asyncio.sleep(0.01)
            lag, latest = max(lag, time.monotonic() - latest), time.monotonic()
    server.thaw()
    assert lag < 0.3  # half of the time for an answer
    async with asyncio.timeout(BACK_WITHIN):
        while "again" not in bob.words():
            await ann.send_bus_message(say("again"))
            await asyncio.sleep(0.1)
    assert first.failure is None


async def test_what_waits_is_bounded_and_sound_goes_first(server, channel):
    ann = Ear("ann")
    async with ours(server, channel, ann) as opened:
        await asyncio.to_thread(server.stop)
        await until(lambda: opened.failure)
        sound = OutputAudioRawFrame(bytes(640), sample_rate=16_000, num_channels=1)
        spoken = BusFrameMessage(source="ann", frame=sound, direction=FrameDirection.DOWNSTREAM)
        before = opened.counts.lost
        for _ in range(500):
            await ann.send_bus_message(spoken)
        for number in range(WAITING_LETTERS):
            await ann.send_bus_message(say(str(number)))
        assert len(opened._waiting) == WAITING_LETTERS
        assert opened.counts.shed == 500
        assert opened.counts.lost - before < 10  # what the server was handed last


@pytest.mark.parametrize("how", ["stop", "freeze"])
async def test_leaving_waits_for_no_dead_server(server, channel, how):
    ann = Ear("ann")
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(ours(server, channel, ann))
        await asyncio.to_thread(getattr(server, how))
        await ann.send_bus_message(say("anybody?"))
        began = time.monotonic()
    assert time.monotonic() - began < 4


async def test_a_server_that_is_not_there_is_told_without_the_password(free_port):
    url = f"redis+pubsub://me:rosebud@localhost:{free_port}"
    with pytest.raises(PmwError) as caught:
        async with open_channel(url, channel="c"):
            pass
    assert "nothing listens" in caught.value.what
    assert "rosebud" not in caught.value.what + caught.value.mend


async def test_what_is_said_to_mend_a_missing_right_mends_it(server, channel):
    url = url_of(server).replace("://", "://stranger:rosebud@")
    ann, bob = Ear("ann"), Ear("bob")
    with server.client() as admin:
        admin.execute_command("ACL", "SETUSER", "stranger", "on", ">rosebud")
        with pytest.raises(PmwError, match="may not do all") as caught:
            async with open_channel(url, channel=channel):
                pass
        _, _, rights = caught.value.mend.partition("ACL SETUSER name ")
        admin.execute_command("ACL", "SETUSER", "stranger", *rights.split())
    async with open_channel(url, channel=channel) as opened, ours(server, channel, bob):
        bus = PubSubBus(opened, admits=lambda _: True)
        with opened.taking(bus.take):
            async with running([ann], bus):
                await ann.send_bus_message(say("allowed"))
                await bob.hears("allowed")


GARBAGE = [
    b"",
    b"hello",
    b"[" * 10_000,
    b"x" * 5_000_000,
    b'{"__type__":"os.system","__data__":{"source":"x"}}',
    b'{"__type__":"pipecat.bus.messages.BusJobRequestMessage","__data__":{"source":"x"}}',
]


async def test_garbage_is_refused_and_counted_and_the_bus_lives(server, two):
    ann, bob, first, _ = two
    async with Redis.from_url(server.url) as client:
        for garbage in GARBAGE * 3:
            await client.publish(first.name, garbage)
    await bob.send_bus_message(say("after it", source="bob"))
    await ann.hears("after it")
    assert first.counts.refused.total() == 3 * len(GARBAGE)


async def test_what_is_said_in_the_name_of_somebody_here_is_not_heard(server, two):
    ann, bob, *_ = two
    await bob.send_bus_message(say("I am ann", source="ann"))
    await bob.send_bus_message(say("I am bob", source="bob"))
    await ann.hears("I am bob")
    assert ann.words() == ["I am bob"]


async def test_what_may_not_come_in_is_decided_where_it_arrives(server, channel):
    ann, bob = Ear("ann"), Ear("bob")
    asked = []

    def admits(message):
        asked.append(type(message))
        return not isinstance(message, BusEndMessage)

    async with ours(server, channel, ann, admits=admits), ours(server, channel, bob) as second:
        second.send(b'{"__type__":"pipecat.bus.messages.BusEndMessage","__data__":{"source":"x"}}')
        await bob.send_bus_message(say("still there?", source="bob"))
        await ann.hears("still there?")
        assert BusEndMessage in asked
        assert not any(isinstance(one, BusEndMessage) for one in ann.heard)


async def test_a_frame_that_means_nothing_here_is_handed_on_by_who_has_the_call(server, channel):
    ann, desk = Ear("ann"), Ear("desk")
    sound = InputAudioRawFrame(bytes(640), sample_rate=16_000, num_channels=1)
    frame = BusFrameMessage(source="desk", frame=sound, direction=FrameDirection.DOWNSTREAM)
    active: list[str] = []

    def frames_of(source):
        return [m for m in desk.heard if isinstance(m, BusFrameMessage) and m.source == source]

    async with (
        ours(server, channel, ann, hands_on=lambda: active[0] if active else None),
        stock(server, channel, desk),
    ):
        await desk.send_bus_message(frame)  # nobody has the call: it is lost, as in stock
        await desk.send_bus_message(say("now", source="desk"))
        await ann.hears("now")
        active.append("ann")
        await desk.send_bus_message(frame)
        await until(lambda: frames_of("ann"))
        assert [one.frame.audio for one in frames_of("ann")] == [bytes(640)]
