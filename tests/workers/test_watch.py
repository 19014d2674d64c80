"""What no service reports is reported: turns without words, a voice that breaks off."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest
from pipecat.frames.frames import (
    Frame,
    InterruptionFrame,
    LLMFullResponseEndFrame,
    LLMFullResponseStartFrame,
    StartFrame,
    TranscriptionFrame,
    TTSAudioRawFrame,
    TTSStartedFrame,
    TTSStoppedFrame,
    UserStartedSpeakingFrame,
    UserStoppedSpeakingFrame,
)
from pipecat.pipeline.pipeline import Pipeline
from pipecat.pipeline.worker import PipelineWorker
from pipecat.processors.aggregators.llm_context import LLMContext
from pipecat.processors.aggregators.llm_response_universal import (
    LLMContextAggregatorPair,
    LLMUserAggregator,
    LLMUserAggregatorParams,
)
from pipecat.processors.filters.identity_filter import IdentityFilter
from pipecat.processors.frame_processor import FrameProcessor
from pipecat.turns.user_turn_strategies import ExternalUserTurnStrategies

from pipecat_workers_cli.buses.local import LocalBus
from pipecat_workers_cli.call.run import running
from pipecat_workers_cli.workers.watch import watch_hearing, watch_speaking
from tests.workers.conftest import Frames

BEGIN, END = LLMFullResponseStartFrame, LLMFullResponseEndFrame


def started(context):
    return TTSStartedFrame(context_id=context)


def sound(context):
    return TTSAudioRawFrame(bytes(960), 24_000, 1, context_id=context)


def stopped(context):
    return TTSStoppedFrame(context_id=context)


def spoken():
    return [BEGIN(), started("a"), sound("a"), sound("a"), stopped("a"), END()]


def broken_off():
    return [BEGIN(), started("a"), sound("a"), END()]


@pytest.mark.parametrize(
    ("frames", "reports"),
    [
        pytest.param(spoken(), 0, id="spoken to the end"),
        pytest.param(broken_off(), 1, id="broken off"),
        pytest.param([*broken_off(), *spoken()], 1, id="broken off, then well again"),
        pytest.param([*broken_off(), *broken_off()], 2, id="broken off twice"),
        pytest.param(
            [BEGIN(), sound("a"), sound("b"), stopped("b"), END()],
            1,
            id="went on in another context",
        ),
        pytest.param([BEGIN(), END()], 0, id="nothing to speak"),
        pytest.param([BEGIN(), started("a"), END()], 0, id="no sound: Pipecat's own error"),
        pytest.param(
            [BEGIN(), sound("a"), InterruptionFrame(), END(), *spoken()], 0, id="interrupted"
        ),
        pytest.param(
            [BEGIN(), sound("a"), BEGIN(), sound("b"), stopped("b"), END()],
            0,
            id="an agent that lost the call in mid-word",
        ),
        pytest.param([sound("filler"), stopped("filler"), *spoken()], 0, id="a filler between"),
    ],
)
async def test_a_voice_that_never_finished_is_reported_at_the_answers_end(frames, reports):
    speaker = IdentityFilter()
    told, heard = Told(), Frames(speaker)
    watch_speaking(speaker, told)
    async with feeding(speaker) as feed:
        for frame in frames:
            await feed(frame)
            await heard.until(lambda sent=frame: sent in heard.all)
    assert told.reports == ["the voice broke off"] * reports


@pytest.mark.parametrize(
    ("turns", "reports"),
    [
        pytest.param(["hello", "", "how much?"], [], id="a cough between"),
        pytest.param(["", "hello", "", "how much?", ""], [], id="a cough now and then"),
        pytest.param(["hello", "", ""], [2], id="twice in a row"),
        pytest.param(["", "", "", "hello", ""], [2, 3], id="until words come again"),
    ],
)
async def test_speech_that_makes_no_words_is_reported_at_the_second_turn(turns, reports):
    hearing = LLMUserAggregatorParams(
        user_turn_strategies=ExternalUserTurnStrategies(), user_turn_stop_timeout=0.05
    )
    caller = LLMContextAggregatorPair(LLMContext(), user_params=hearing).user()
    over, told = Turns(caller), Told()
    watch_hearing(caller, told)
    async with feeding(caller) as feed:
        for number, text in enumerate(turns, 1):
            await feed(UserStartedSpeakingFrame())
            if text:
                await feed(TranscriptionFrame(text, "caller", "now"))
            await feed(UserStoppedSpeakingFrame())
            await over.until(number)
    assert told.reports == [f"no words were heard in {number} turns" for number in reports]


class Told:
    """Keeps what is reported."""

    def __init__(self) -> None:
        self.reports: list[str] = []

    async def __call__(self, what: str) -> None:
        self.reports.append(what)


class Turns:
    """Counts the caller's turns that are over."""

    def __init__(self, caller: LLMUserAggregator) -> None:
        self._over = 0
        self._changed = asyncio.Event()

        @caller.event_handler("on_user_turn_stopped")
        async def on_stopped(*_: object) -> None:
            self._over += 1
            self._changed.set()

    async def until(self, number: int) -> None:
        async with asyncio.timeout(5):
            while self._over < number:
                self._changed.clear()
                await self._changed.wait()


@asynccontextmanager
async def feeding(processor: FrameProcessor) -> AsyncIterator[Callable[[Frame], Awaitable[None]]]:
    """Run a processor in a pipeline; gives what sends it a frame."""
    worker = PipelineWorker(Pipeline([processor]), name="main", idle_timeout_secs=None)
    began = Frames(processor)
    async with running([worker], LocalBus()):
        await began.first(StartFrame)
        yield worker.queue_frame
