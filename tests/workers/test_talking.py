"""A main worker that talks itself: it opens, answers, apologises, and says goodbye once."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from pipecat.bus import BusEndMessage
from pipecat.frames.frames import (
    ErrorFrame,
    Frame,
    InterruptionFrame,
    LLMContextFrame,
    LLMMessagesAppendFrame,
    LLMTextFrame,
    TTSSpeakFrame,
)
from pipecat.processors.frame_processor import FrameDirection
from pipecat.services.llm_service import LLMService
from pipecat.utils.errors import ErrorCategory

from pipecat_workers_cli.buses.local import LocalBus
from pipecat_workers_cli.call.run import running
from pipecat_workers_cli.transports.console import ConsoleTransport
from pipecat_workers_cli.workers.cues import parse_cue
from pipecat_workers_cli.workers.main import APOLOGY, FAREWELL, KEPT_MESSAGES, Line
from pipecat_workers_cli.workers.talking import TalkingMain
from tests.peers.acme import SETTINGS
from tests.workers.conftest import Bench, Frames, RehearsedLLM, tool

END = tool("end_conversation", reason="all is said")


class FailingLLM(LLMService):
    """Fails at each turn, and can be used no more after so many."""

    def __init__(self, *, lost_after: int) -> None:
        super().__init__(settings=SETTINGS)
        self._left = lost_after

    async def process_frame(self, frame: Frame, direction: FrameDirection) -> None:
        await super().process_frame(frame, direction)
        if not isinstance(frame, LLMContextFrame):
            await self.push_frame(frame, direction)
            return
        self._left -= 1
        if not self._left:
            await self.set_usable(False)
        await self.push_error(error_msg="no connection", category=ErrorCategory.CONNECTION)


@asynccontextmanager
async def talking(llm: LLMService, *, opening: str | None = None) -> AsyncIterator[Bench]:
    bus, transport = LocalBus(), ConsoleTransport()
    main = TalkingMain("main", Line(transport=transport), llm=llm, opening=opening)
    output = Frames(transport.output())
    async with running([main], bus):
        yield Bench(main, bus, output)


async def say(bench: Bench, text: str) -> None:
    message = {"role": "user", "content": text}
    await bench.main.queue_frame(LLMMessagesAppendFrame([message], run_llm=True))


def words(bench: Bench) -> list[str]:
    return [frame.text for frame in bench.output.of(LLMTextFrame)]


def spoken(bench: Bench) -> list[str]:
    return [frame.text for frame in bench.output.of(TTSSpeakFrame)]


async def test_it_opens_the_call_by_its_instruction():
    async with talking(RehearsedLLM(["Hello!"]), opening="Say hello.") as call:
        await call.output.until(lambda: words(call))
        assert words(call) == ["Hello!"]
        [cue] = [parse_cue(message) for message in call.main.conversation.get_messages()[:1]]
        assert (cue.kind, cue.message) == ("opening", "Say hello.")
        assert call.main.agent == "main"


async def test_without_an_opening_the_caller_speaks_first():
    async with talking(RehearsedLLM(["Yes?"])) as call:
        await call.main.client_connected.wait()
        await call.main.queue_frame(InterruptionFrame())
        await call.output.first(InterruptionFrame)
        assert not call.main.conversation.get_messages()
        await say(call, "Hello?")
        await call.output.until(lambda: words(call) == ["Yes?"])


@pytest.mark.parametrize(
    ("responses", "heard"),
    [
        pytest.param([["Goodbye!", END], ["Goodbye again!"]], ["Goodbye!"], id="said with it"),
        pytest.param([[END], ["Goodbye!"], ["Goodbye again!"]], ["Goodbye!"], id="said after it"),
        pytest.param([[" ", END], ["Goodbye!"]], [" ", "Goodbye!"], id="a blank is no goodbye"),
    ],
)
async def test_goodbye_is_said_once_and_then_the_call_ends(responses, heard):
    async with talking(RehearsedLLM(*responses)) as call:
        await say(call, "Bye.")
        await call.until(lambda: call.sent(BusEndMessage))
        assert words(call) == heard
        [end] = call.sent(BusEndMessage)
        assert end.reason == "all is said"
        await asyncio.wait_for(call.main.wait(), 5)
        assert words(call) == heard


async def test_words_of_an_earlier_answer_are_no_goodbye():
    llm = RehearsedLLM(["Hello!"], [END], ["Goodbye!"])
    async with talking(llm, opening="Say hello.") as call:
        await call.output.until(lambda: words(call) == ["Hello!"])
        await say(call, "That was all.")
        await call.until(lambda: call.sent(BusEndMessage))
        assert words(call) == ["Hello!", "Goodbye!"]


async def test_trouble_that_may_pass_is_told_of_once_in_a_while_and_ends_nothing():
    async with talking(FailingLLM(lost_after=99)) as call:
        for _ in range(3):
            await say(call, "Hello?")
        await call.output.until(lambda: spoken(call))
        await call.main.queue_frame(InterruptionFrame())
        await call.output.first(InterruptionFrame)
        assert spoken(call) == [APOLOGY]
        assert not call.sent(BusEndMessage)


async def test_an_llm_that_can_be_used_no_more_is_told_of_and_ends_the_call():
    async with talking(FailingLLM(lost_after=1)) as call:
        await say(call, "Hello?")
        await call.until(lambda: call.sent(BusEndMessage))
        assert spoken(call) == [FAREWELL]


async def test_a_long_conversation_is_cut_where_the_caller_speaks():
    rounds = KEPT_MESSAGES
    llm = RehearsedLLM(*[["Yes."]] * rounds)
    async with talking(llm) as call:
        for number in range(rounds):
            await say(call, f"round {number}")
            await call.output.until(lambda n=number: len(words(call)) > n)
        messages = call.main.conversation.get_messages()
        assert len(messages) <= KEPT_MESSAGES + 1
        assert messages[0]["role"] == "user"
        assert any(message["content"] == f"round {rounds - 1}" for message in messages)


async def test_an_error_of_nobody_in_particular_is_told_of_too():
    async with talking(RehearsedLLM()) as call:
        error = ErrorFrame("the line is bad")
        await call.main.queue_frame(error, FrameDirection.UPSTREAM)
        await call.output.until(lambda: spoken(call))
        assert spoken(call) == [APOLOGY]
