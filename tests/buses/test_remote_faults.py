"""What a call's bus in two processes promises while the connections between them are cut."""

import asyncio
from contextlib import AsyncExitStack, asynccontextmanager

import pytest
from pipecat.bus import (
    BusActivateWorkerMessage,
    BusCancelMessage,
    BusEndMessage,
    BusFrameMessage,
    BusJobRequestMessage,
    BusJobResponseMessage,
    BusJobUpdateMessage,
    BusSubscriber,
)
from pipecat.frames.frames import Frame, FunctionCallResultFrame, LLMTextFrame
from pipecat.pipeline.job_context import JobParams, JobStatus
from pipecat.pipeline.job_decorator import job
from pipecat.processors.frame_processor import FrameDirection
from pipecat.workers.base_worker import BaseWorker

from pipecat_workers_cli.buses import remote
from pipecat_workers_cli.buses.post import open_post
from pipecat_workers_cli.buses.remote import UNKNOWN, HubBus, Seat, SpokeBus
from pipecat_workers_cli.call.run import running
from pipecat_workers_cli.wire.format import Codec
from pipecat_workers_cli.wire.letter import Letter
from pipecat_workers_cli.wire.limits import FUNCTION_CALLS, MESSAGE_BYTES
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

    @job(name="hold")
    async def on_hold(self, message) -> None:
        """Leave a job without an answer."""


class Words(BusSubscriber):
    """Notes the words that another says on a bus, jobs that failed, and what would end a call."""

    name = "words"

    def __init__(self, source: str) -> None:
        self._source = source
        self.said: list[str] = []
        self.failed: dict[str, str] = {}
        self.ends = 0

    def accepts_bus_message(self, message) -> bool:
        return True

    async def on_bus_message(self, message) -> None:
        self.ends += isinstance(message, BusEndMessage | BusCancelMessage)
        if isinstance(message, BusJobResponseMessage) and message.status == JobStatus.FAILED:
            self.failed[message.job_id] = message.response["error"]
        if isinstance(message, BusFrameMessage) and message.source == self._source:
            self.said.append(getattr(message.frame, "text", ""))


def framed(source: str, frame: Frame) -> BusFrameMessage:
    return BusFrameMessage(source=source, frame=frame, direction=FrameDirection.DOWNSTREAM)


def words(source: str, text: str) -> BusFrameMessage:
    return framed(source, LLMTextFrame(text))


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

    async def hold(self, *ids: str) -> None:
        """Ask for jobs that are answered by nobody."""
        for id in ids:
            await self.hub.send(
                BusJobRequestMessage(source=MAIN, target=WORKER, job_id=id, job_name="hold")
            )

    async def arrive(self) -> None:
        """Wait until all that the worker has said is here."""
        before = len(self.heard_here.said)
        await self.spoke.send(words(WORKER, "."))
        await until(lambda: "." in self.heard_here.said[before:])

    async def die(self) -> None:
        """Have the worker taken over by another host, of which nothing is heard."""
        await self.arrive()
        seat = self.hub.seats[WORKER]
        self.hub.take_in(WORKER, Seat("elsewhere", EPOCH + 1, seat.post))
        await self.hub.send(words(WORKER, "over"))
        await until(lambda: "over" in self.heard_here.said)


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


@on_redis
async def test_of_two_jobs_that_began_the_one_without_an_answer_is_not_done_again(line):
    await line.hold("a", "b", "c")
    assert await line.spoke.announce("a", "hold")
    assert await line.spoke.announce("b", "hold")
    done = {"job_id": "a", "status": JobStatus.COMPLETED}
    await line.spoke.send(BusJobResponseMessage(source=WORKER, target=MAIN, **done))
    await line.die()
    assert line.heard_here.failed == {"b": UNKNOWN}
    assert line.hub.jobs_of(WORKER) == ["c"]


@on_redis
async def test_nothing_is_done_for_a_hub_that_hears_another_by_now(line, monkeypatch):
    monkeypatch.setattr(remote, "NOTED_WITHIN", 0.3)
    assert await line.spoke.announce("tool_1", "pay")
    await line.die()
    assert not await line.spoke.announce("tool_2", "pay")


@on_redis
async def test_a_worker_that_has_too_many_tools_at_once_runs_no_more(line, monkeypatch):
    monkeypatch.setattr(remote, "NOTED_WITHIN", 0.3)
    await line.hold("a")
    for number in range(FUNCTION_CALLS):
        assert await line.spoke.announce(f"tool_{number}", "pay")
    assert not await line.spoke.announce("one_more", "pay")
    assert await line.spoke.announce("a", "hold")


@on_redis
async def test_a_tool_of_the_conversation_fails_no_job(line):
    assert await line.spoke.announce("tool_1", "pay")
    await line.arrive()
    await line.hold("a")
    assert await line.spoke.announce("tool_2", "pay")
    result = FunctionCallResultFrame("pay", "tool_2", {}, "paid")
    await line.spoke.send(framed(WORKER, result))
    await line.die()
    assert line.heard_here.failed == {}
    assert line.hub.jobs_of(WORKER) == ["a"]


@on_redis
async def test_a_tool_fails_the_job_that_tells_of_it(line):
    await line.hold("a", "b")
    assert await line.spoke.announce("tool_1", "pay")
    told = {"type": "tool_call", "name": "pay", "tool_call_id": "tool_1"}
    await line.spoke.send(BusJobUpdateMessage(source=WORKER, target=MAIN, job_id="a", update=told))
    await line.die()
    assert line.heard_here.failed == {"a": UNKNOWN}
    assert line.hub.jobs_of(WORKER) == ["b"]


@on_redis
async def test_a_tool_of_which_no_job_has_told_fails_all_that_may_have_called_it(line):
    await line.hold("a", "b")
    assert await line.spoke.announce("tool_1", "pay")
    await line.arrive()
    await line.hold("c")
    await line.die()
    assert line.heard_here.failed == dict.fromkeys("ab", UNKNOWN)
    assert line.hub.jobs_of(WORKER) == ["c"]


@on_redis
async def test_nothing_is_done_if_the_hub_can_not_hear_of_it(server, line):
    post, hub = line.spoke._hub.post, line.spoke._hub.address
    await asyncio.to_thread(server.stop)
    full = Letter(CALL, WORKER, EPOCH, b"x" * MESSAGE_BYTES)
    for _ in range(2):
        while post.send(hub, full):
            pass
        await asyncio.sleep(0.2)  # which takes a parcel off, once
    announcing = asyncio.create_task(line.spoke.announce("tool_1", "x" * 200))
    await asyncio.sleep(0.2)
    await asyncio.to_thread(server.start)
    await asyncio.sleep(1)
    await line.spoke.send(words(WORKER, "later"))
    assert not await announcing
