"""The main worker: what crosses the bus, whom it listens to, when the opener gets the call."""

import asyncio
import time
from itertools import permutations

import pytest
from pipecat.bus import BusDeactivateWorkerMessage, BusEndMessage
from pipecat.frames.frames import (
    AudioRawFrame,
    BotStartedSpeakingFrame,
    ErrorFrame,
    InputAudioRawFrame,
    InterruptionFrame,
    LLMConfigureOutputFrame,
    LLMContextFrame,
    LLMTextFrame,
    PipelineFlushFrame,
    StartFrame,
    TranscriptionFrame,
    UserAudioRawFrame,
    UserStartedSpeakingFrame,
)
from pipecat.processors.aggregators.llm_context import LLMContext
from pipecat.processors.filters.identity_filter import IdentityFilter
from pipecat.processors.frame_processor import FrameDirection
from pipecat.workers.runner import WorkerRunner

from pipecat_workers_cli.buses.local import LocalBus
from pipecat_workers_cli.transports.console import ConsoleTransport
from pipecat_workers_cli.workers.bridging import BridgingMain
from pipecat_workers_cli.workers.main import APOLOGY, FAREWELL, FROM_WORKER, Line
from tests.workers.conftest import Bench, Frames, agent, bench

SILENCE = bytes(640)


async def test_an_interruption_with_no_agent_active_still_reaches_the_output():
    async with bench(opener="nobody") as pipeline:
        assert pipeline.main.agent is None
        await pipeline.main.queue_frame(InterruptionFrame())
        await pipeline.output.first(InterruptionFrame)
        assert pipeline.crossed(InterruptionFrame) == 0


async def test_an_interruption_goes_round_by_way_of_the_active_agent():
    async with bench(agent("ann")) as pipeline:
        await pipeline.until(lambda: pipeline.main.agent == "ann")
        await pipeline.main.queue_frame(InterruptionFrame())
        await pipeline.output.first(InterruptionFrame)
        assert pipeline.crossed(InterruptionFrame) == 2


async def test_only_the_active_agent_is_let_in_and_its_frames_bear_its_name():
    async with bench(opener="nobody") as pipeline:
        await pipeline.send_as("ann", LLMTextFrame("before she has the call"))
        await pipeline.activate("ann")
        await pipeline.send_as("bob", LLMTextFrame("somebody else's"))
        await pipeline.send_as("ann", LLMTextFrame("hers"))
        await pipeline.activate("bob")
        await pipeline.send_as("ann", LLMTextFrame("stale"))
        await pipeline.send_as("bob", LLMTextFrame("his"))
        await pipeline.output.until(lambda: len(pipeline.output.of(LLMTextFrame)) >= 2)
        told = [(f.text, f.metadata[FROM_WORKER]) for f in pipeline.output.of(LLMTextFrame)]
    assert told == [("hers", "ann"), ("his", "bob")]
    assert pipeline.main.bridge.dropped == {"bob": 1, "ann": 2}


async def test_what_the_caller_sounds_like_never_crosses_the_bus():
    async with bench(opener="nobody") as pipeline:
        await pipeline.activate("ann")
        kept = (
            InputAudioRawFrame(SILENCE, 16_000, 1),
            UserAudioRawFrame(user_id="caller", audio=SILENCE, sample_rate=16_000, num_channels=1),
            UserStartedSpeakingFrame(),
        )
        for frame in kept:
            await pipeline.main.queue_frame(frame)
        await pipeline.main.queue_frame(LLMContextFrame(LLMContext()))
        for frame in kept:
            await pipeline.output.first(type(frame))
        await pipeline.until(lambda: pipeline.crossed(LLMContextFrame))
        assert pipeline.crossed(AudioRawFrame) == 0
        assert pipeline.crossed(UserStartedSpeakingFrame) == 0
        assert pipeline.crossed(TranscriptionFrame) == 0


async def test_an_agent_is_told_that_the_bot_speaks_and_the_output_does_not_wait_for_it():
    async with bench(opener="nobody") as pipeline:
        await pipeline.activate("ann")  # she isn't there, so nothing comes back from her
        await pipeline.main.queue_frame(BotStartedSpeakingFrame())
        await pipeline.output.first(BotStartedSpeakingFrame)
        assert pipeline.crossed(BotStartedSpeakingFrame) == 1


async def test_whether_to_speak_reaches_agents_that_have_not_got_the_call_and_stops_there():
    ann, bob = agent("ann"), agent("bob")
    heard = [Frames(worker.llm) for worker in (ann, bob)]
    async with bench(ann, bob) as pipeline:
        await pipeline.until(lambda: pipeline.main.agent == "ann")
        await pipeline.main.queue_frame(LLMConfigureOutputFrame(skip_tts=True))
        for frames in heard:
            await frames.first(LLMConfigureOutputFrame)
        # What would bounce has had the time that a whole round takes.
        await pipeline.main.queue_frame(InterruptionFrame())
        await pipeline.output.first(InterruptionFrame)
        assert pipeline.crossed(LLMConfigureOutputFrame) == 1
        assert [len(frames.of(LLMConfigureOutputFrame)) for frames in heard] == [1, 1]


class LateCaller(ConsoleTransport):
    """The caller comes when the test says so, not when the pipeline starts."""

    async def client_connected(self) -> None:
        pass

    async def arrive(self) -> None:
        await super().client_connected()


@pytest.mark.parametrize("order", [*permutations(("client", "pipeline", "opener"))])
async def test_the_opener_gets_the_call_once_all_three_are_there(order):
    bus, transport = LocalBus(), LateCaller()
    main = BridgingMain("main", Line(transport=transport), bus=bus, opener="ann", opening="Begin.")
    ann = agent("ann")
    output, thoughts = Frames(transport.output()), Frames(ann.llm)
    pipeline = Bench(main, bus, output)
    runner = WorkerRunner(bus=bus, handle_sigint=False)
    run = asyncio.create_task(runner.run(auto_end=False))

    async def bring(what: str) -> None:
        if what == "client":
            await transport.arrive()
        elif what == "pipeline":
            await runner.add_workers(main)
            await output.first(StartFrame)
        else:
            await runner.add_workers(ann)
            await thoughts.first(StartFrame)

    try:
        for what in order:
            assert pipeline.activations() == []
            await bring(what)
        await thoughts.first(LLMContextFrame)
        await output.first(LLMTextFrame)
        assert pipeline.activations() == ["ann"]
        tools = {schema.name for schema in main.conversation.tools.standard_tools}
        assert tools == {"end_conversation"}
    finally:
        await runner.cancel("the test is over")
        await asyncio.wait({run}, timeout=5)


async def test_without_an_opening_the_opener_has_the_call_and_waits_for_the_caller():
    ann = agent("ann")
    thoughts = Frames(ann.llm)
    async with bench(ann, opening=None) as pipeline:
        await pipeline.until(lambda: pipeline.main.agent == "ann")
        await pipeline.main.queue_frame(InterruptionFrame())
        await pipeline.output.first(InterruptionFrame)
        assert not thoughts.of(LLMContextFrame)


async def test_a_service_that_is_lost_is_told_of_once_and_holds_up_nobody_who_hangs_up():
    lost = IdentityFilter()
    async with bench(opener="nobody") as pipeline:
        await pipeline.activate("ann")  # she answers no flush, so ending takes its time
        await lost.set_usable(False)
        for _ in range(3):
            error = ErrorFrame("its key is refused", processor=lost)
            await pipeline.main.queue_frame(error, FrameDirection.UPSTREAM)
        await pipeline.until(pipeline.said)
        began = time.monotonic()
    assert time.monotonic() - began < 2
    assert pipeline.said() == [FAREWELL]


async def test_trouble_that_may_pass_is_told_of_once_in_a_while_and_ends_nothing():
    async with bench(opener="nobody") as pipeline:
        await pipeline.activate("ann")
        for _ in range(3):
            error = ErrorFrame("it did not answer", processor=IdentityFilter())
            await pipeline.main.queue_frame(error, FrameDirection.UPSTREAM)
        await pipeline.main.queue_frame(BotStartedSpeakingFrame(), FrameDirection.UPSTREAM)
        await pipeline.until(lambda: pipeline.crossed(BotStartedSpeakingFrame))
        await pipeline.until(pipeline.said)
        assert pipeline.said() == [APOLOGY]
        assert not pipeline.sent(BusEndMessage)


async def test_a_probe_that_a_leaving_agent_keeps_does_not_hold_up_the_callers_turn():
    async with bench(opener="nobody") as pipeline:
        await pipeline.activate("ann")  # who takes what she is sent, and returns nothing
        flushing = asyncio.create_task(pipeline.main.flush_pipeline())
        await pipeline.until(lambda: pipeline.crossed(PipelineFlushFrame))
        await pipeline.bus.send(BusDeactivateWorkerMessage(source="ann", target="ann"))
        assert await asyncio.wait_for(flushing, 2)
