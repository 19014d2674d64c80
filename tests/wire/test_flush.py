"""A flush ends when all is said, though its probe goes through two processes.

Pipelines, bridge and workers are real; a bus of its own stands for each process, and what
is said on one gets to the others only as bytes.
"""

import asyncio
import time
from contextlib import AsyncExitStack, asynccontextmanager

from pipecat.bus import BusMessage
from pipecat.frames.frames import (
    Frame,
    LLMContextFrame,
    LLMMessagesAppendFrame,
    LLMTextFrame,
    PipelineFlushFrame,
    StartFrame,
)
from pipecat.processors.frame_processor import FrameDirection

from pipecat_workers_cli.buses.local import LocalBus
from pipecat_workers_cli.call.run import running
from pipecat_workers_cli.transports.console import ConsoleTransport
from pipecat_workers_cli.wire.flush import PROBES, Probes
from pipecat_workers_cli.wire.format import Codec
from pipecat_workers_cli.workers.agent import Agent
from pipecat_workers_cli.workers.bridging import BridgingMain
from pipecat_workers_cli.workers.main import Line
from tests.wire.samples import carried
from tests.workers.conftest import Frames, RehearsedLLM, tool

UP = FrameDirection.UPSTREAM


class ProcessBus(LocalBus):
    """Delivers here what is said here, and in each other process what the bytes of it say."""

    def __init__(self) -> None:
        super().__init__()
        self.codec = Codec()
        self.others: list[ProcessBus] = []

    async def publish(self, message: BusMessage) -> None:
        await super().publish(message)
        data = self.codec.encode(message)
        for other in self.others if data is not None else []:
            other.on_message_received(other.codec.decode(data))


class Call:
    """A main worker and agents, each in a process of its own."""

    def __init__(self, main: BridgingMain, output: Frames, buses: list[ProcessBus]) -> None:
        self.main = main
        self.output = output
        self.buses = buses

    def said(self) -> str:
        return "".join(frame.text for frame in self.output.of(LLMTextFrame))

    async def until_said(self, words: str) -> None:
        await self.output.until(lambda: words in self.said())


@asynccontextmanager
async def call(*agents: Agent):
    buses = [ProcessBus() for _ in range(len(agents) + 1)]
    for bus in buses:
        bus.others = [other for other in buses if other is not bus]
    transport = ConsoleTransport()
    line = Line(transport=transport)
    main = BridgingMain("main", line, bus=buses[0], opener=agents[0].name, opening="Begin.")
    output = Frames(transport.output())
    async with AsyncExitStack() as stack:
        for agent, bus in zip(agents, buses[1:], strict=True):
            await stack.enter_async_context(running([agent], bus))
        await stack.enter_async_context(running([main], buses[0]))
        await output.first(StartFrame)
        yield Call(main, output, buses)


class SlowLLM(RehearsedLLM):
    """Thinks for a while before each answer."""

    async def process_frame(self, frame: Frame, direction: FrameDirection) -> None:
        if isinstance(frame, LLMContextFrame):
            await asyncio.sleep(0.3)
        await super().process_frame(frame, direction)


async def test_the_main_worker_waits_for_an_answer_that_is_made_elsewhere_and_no_longer():
    ann = Agent("ann", llm=SlowLLM(["Hello."], ["It is $199."]), transfers={})
    async with call(ann) as there:
        await there.until_said("Hello.")
        began = time.monotonic()
        await there.main.queue_frame(
            LLMMessagesAppendFrame([{"role": "user", "content": "How much?"}], run_llm=True)
        )
        assert await there.main.flush_pipeline()
        assert there.said() == "Hello.It is $199."
        assert time.monotonic() - began < 2


async def test_an_agent_waits_until_it_has_said_all_and_no_longer():
    ann = Agent("ann", llm=SlowLLM(["Hello."], ["It is $199."]), transfers={})
    async with call(ann) as there:
        await there.until_said("Hello.")
        began = time.monotonic()
        await ann.queue_frame(
            LLMMessagesAppendFrame([{"role": "user", "content": "How much?"}], run_llm=True)
        )
        assert await ann.flush_pipeline()
        assert 0.3 < time.monotonic() - began < 2
        await there.until_said("Hello.It is $199.")


async def test_a_call_is_handed_on_between_processes_at_once_and_every_word_is_heard_once():
    leaving = [tool("transfer_to_agent", agent="bob", reason="asks for boots")]
    ann = Agent(
        "ann", llm=RehearsedLLM(["Welcome ", "to ", "Acme. "], leaving), transfers={"bob": ""}
    )
    bob = Agent("bob", llm=RehearsedLLM(["Bob ", "here."]), transfers={})
    async with call(ann, bob) as there:
        await there.until_said("Acme.")
        began = time.monotonic()
        await there.main.queue_frame(
            LLMMessagesAppendFrame([{"role": "user", "content": "Boots?"}], run_llm=True)
        )
        await there.until_said("Bob here.")
        assert time.monotonic() - began < 2
        assert there.said() == "Welcome to Acme. Bob here."
        assert there.main.agent == "bob"
        assert [bus.codec._probes._out for bus in there.buses[1:]] == [{}, {}]


def leg(probe: PipelineFlushFrame, *, returning: bool = False) -> PipelineFlushFrame:
    """The same probe on another leg, as Pipecat makes it where the one before has ended."""
    return PipelineFlushFrame(
        event=probe.event, origin=probe.origin, flush_id=probe.flush_id, returning=returning
    )


async def test_a_probe_gets_its_event_back_in_its_own_process_alone():
    here, there = Codec(), Codec()
    probe = PipelineFlushFrame(event=asyncio.Event(), origin="main")
    away = there.decode(here.encode(carried(probe))).frame
    assert away.event is None
    assert (away.origin, away.flush_id) == (probe.origin, probe.flush_id)
    assert here.decode(there.encode(carried(away))).frame.event is probe.event
    assert not probe.event.is_set()


async def test_another_workers_probe_of_the_same_number_is_not_taken_for_ones_own():
    here, there = Codec(), Codec()
    probe = PipelineFlushFrame(event=asyncio.Event(), origin="main", flush_id=7)
    here.encode(carried(probe))
    other = PipelineFlushFrame(event=asyncio.Event(), origin="ann", flush_id=7)
    assert here.decode(there.encode(carried(other))).frame.event is None


def test_probes_that_nobody_waits_for_are_forgotten_and_the_others_are_bounded():
    probes = Probes()
    done = PipelineFlushFrame(event=asyncio.Event(), origin="main")
    probes.leave(done)
    done.event.set()
    probes.leave(PipelineFlushFrame(event=asyncio.Event(), origin="main"))
    assert len(probes) == 1
    for _ in range(3 * PROBES):
        probes.leave(PipelineFlushFrame(event=asyncio.Event(), origin="main"))
    assert len(probes) == PROBES
