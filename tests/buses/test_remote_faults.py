"""What a call's bus in two processes promises while the connections between them are cut."""

import asyncio
from contextlib import AsyncExitStack, asynccontextmanager

import pytest
from pipecat.bus import (
    BusActivateWorkerMessage,
    BusCancelMessage,
    BusEndMessage,
    BusFrameMessage,
    BusSubscriber,
)
from pipecat.frames.frames import LLMTextFrame
from pipecat.pipeline.job_context import JobParams
from pipecat.pipeline.job_decorator import job
from pipecat.processors.frame_processor import FrameDirection
from pipecat.workers.base_worker import BaseWorker

from pipecat_workers_cli.buses.post import open_post
from pipecat_workers_cli.buses.remote import HubBus, Seat, SpokeBus
from pipecat_workers_cli.call.run import running
from pipecat_workers_cli.wire.format import Codec
from pipecat_workers_cli.wire.letter import Letter
from tests.waiting import until

CALL, MAIN, WORKER, EPOCH = "call", "acme", "ann", 1001
on_redis = pytest.mark.parametrize("server", ["redis"], indirect=True)  # the engine is no matter


class Doubler(BaseWorker):
    """Answers each job once; notes what it was asked."""

    def __init__(self) -> None:
        super().__init__(WORKER)
        self.asked: list[dict] = []

    @job(name="double", sequential=True)
    async def on_double(self, message) -> None:
        self.asked.append(message.payload)
        await self.send_job_response(message.job_id, message.payload)


class Words(BusSubscriber):
    """Notes the words that another says on a bus, and what would end a call."""

    name = "words"

    def __init__(self, source: str) -> None:
        self._source = source
        self.said: list[str] = []
        self.ends = 0

    def accepts_bus_message(self, message) -> bool:
        return True

    async def on_bus_message(self, message) -> None:
        self.ends += isinstance(message, BusEndMessage | BusCancelMessage)
        if isinstance(message, BusFrameMessage) and message.source == self._source:
            self.said.append(message.frame.text)


def words(source: str, text: str) -> BusFrameMessage:
    frame, down = LLMTextFrame(text), FrameDirection.DOWNSTREAM
    return BusFrameMessage(source=source, frame=frame, direction=down)


class Line:
    """A call in two processes: a main worker here, a worker there, and who listens at both."""

    def __init__(self, hub: HubBus, spoke: SpokeBus) -> None:
        self.hub, self.spoke = hub, spoke
        self.main, self.doubler = BaseWorker(MAIN), Doubler()
        self.heard_here, self.heard_there = Words(WORKER), Words(MAIN)

    async def ask(self, payload: dict) -> dict:
        params = JobParams(name="double", payload=payload, timeout=10)
        async with self.main.job(WORKER, params=params) as asked:
            pass
        return asked.response


@pytest.fixture
async def line(server, channel):
    async with AsyncExitStack() as stack:
        here, there = [
            await stack.enter_async_context(
                open_post(await stack.enter_async_context(server.open_network(channel)))
            )
            for _ in range(2)
        ]
        hub = HubBus(CALL, main=MAIN, on_notice=lambda *_: None, on_end=lambda _: None)
        seat = Seat(here.address, EPOCH, there)
        spoke = SpokeBus(CALL, worker=WORKER, hub=seat, on_notice=lambda *_: None)
        line = Line(hub, spoke)
        stack.enter_context(here.taking(CALL, [WORKER], hub.take))
        stack.enter_context(there.taking(CALL, [WORKER], spoke.take))
        await stack.enter_async_context(running([line.main], hub))
        await stack.enter_async_context(running([line.doubler], spoke))
        await hub.subscribe(line.heard_here)
        await spoke.subscribe(line.heard_there)
        hub.take_in(WORKER, Seat(there.address, EPOCH, here))
        await hub.send(BusActivateWorkerMessage(source=MAIN, target=WORKER))
        yield line


@asynccontextmanager
async def cut_three_times(server):
    """Cut all connections, three times while the block lasts."""

    async def cut() -> None:
        for _ in range(3):
            await asyncio.sleep(0.15)
            await asyncio.to_thread(server.cut)

    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(cut())
        yield


async def test_jobs_are_done_once_and_in_order_while_connections_are_cut(server, line):
    number = 0
    async with cut_three_times(server), asyncio.timeout(20):
        while number < 60:
            batch = range(number, number + 5)
            answers = await asyncio.gather(*(line.ask({"number": n}) for n in batch))
            assert [answer["number"] for answer in answers] == list(batch)
            number += len(batch)
            await asyncio.sleep(0.02)
    assert [payload["number"] for payload in line.doubler.asked] == list(range(number))


async def test_frames_arrive_once_and_in_order_while_connections_are_cut(server, line):
    async with cut_three_times(server):
        for number in range(600):
            await line.hub.send(words(MAIN, str(number)))
            await line.spoke.send(words(WORKER, str(number)))
            await asyncio.sleep(0.001)
    numbers = [str(number) for number in range(600)]
    await until(lambda: len(line.heard_there.said) >= 600 <= len(line.heard_here.said))
    assert line.heard_there.said == numbers
    assert line.heard_here.said == numbers


@on_redis
async def test_a_payload_that_names_a_module_is_data(line):
    payload = {"__type__": "os.system", "__data__": {"command": "touch /tmp/owned"}, "n": [1]}
    assert await line.ask(payload) == payload
    assert line.doubler.asked == [payload]


@on_redis
async def test_what_the_present_holder_has_not_said_is_dropped_and_counted(server, channel, line):
    codec = Codec()
    said = codec.encode(words(WORKER, "stale"))
    ended = codec.encode(BusEndMessage(source=WORKER, reason="stale"))
    async with server.open_network(channel) as network, open_post(network) as stranger:
        here, there = line.spoke._hub.address, line.hub.seats[WORKER].address
        for body in (said, ended):
            stranger.send(here, Letter(CALL, WORKER, EPOCH, body))
            stranger.send(here, Letter(CALL, WORKER, EPOCH - 1, body))
        stranger.send(there, Letter(CALL, WORKER, EPOCH, codec.encode(words(MAIN, "stale"))))
        await stranger.sent(here, within=3)
        await stranger.sent(there, within=3)
    assert await line.ask({"number": 1}) == {"number": 1}
    await line.spoke.send(words(WORKER, "fresh"))
    await until(lambda: line.heard_here.said)
    assert line.heard_here.said == ["fresh"]
    assert line.heard_there.said == []
    assert line.heard_here.ends == line.heard_there.ends == 0
    assert line.hub.late == {WORKER: 4}
