"""The console's transport: the caller comes with the pipeline, speaks in writing, and goes."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from pipecat.frames.frames import (
    Frame,
    InputTransportMessageFrame,
    LLMContextFrame,
    LLMTextFrame,
    StartFrame,
)
from pipecat.pipeline.pipeline import Pipeline
from pipecat.pipeline.worker import PipelineWorker
from pipecat.processors.aggregators.llm_context import LLMContext
from pipecat.processors.aggregators.llm_response_universal import LLMContextAggregatorPair
from pipecat.processors.filters.identity_filter import IdentityFilter
from pipecat.processors.frame_processor import FrameProcessor

from pipecat_workers_cli.buses.local import LocalBus
from pipecat_workers_cli.call.run import running
from pipecat_workers_cli.transports.console import ConsoleTransport
from pipecat_workers_cli.workers.turns import text_turns


class Line:
    """A console's transport in a pipeline, and what happened at its ends.

    Attributes:
        events: The transport's events, oldest first.
        came: The frames that came by behind the transport's input.
    """

    def __init__(self) -> None:
        self.transport = ConsoleTransport()
        self.events: list[str] = []
        self.came: list[Frame] = []
        self._changed = asyncio.Event()
        self.conversation = LLMContext()
        passing = IdentityFilter()
        turns = LLMContextAggregatorPair(self.conversation, user_params=text_turns())
        middle = [self.transport.input(), turns.user(), passing, self.transport.output()]
        self.worker = PipelineWorker(Pipeline(middle), name="main", idle_timeout_secs=None)

        @passing.event_handler("on_before_process_frame")
        async def on_frame(_processor: FrameProcessor, frame: Frame) -> None:
            self.came.append(frame)
            self._changed.set()

        @self.transport.event_handler("on_client_connected")
        async def on_connected(_transport: ConsoleTransport, _client: object) -> None:
            self.events.append("connected")
            self._changed.set()

        @self.transport.event_handler("on_client_disconnected")
        async def on_disconnected(_transport: ConsoleTransport, _client: object) -> None:
            self.events.append("disconnected")
            self._changed.set()

    async def until(self, happened) -> None:
        async with asyncio.timeout(5):
            while not happened():
                self._changed.clear()
                await self._changed.wait()

    def of(self, kind: type[Frame]) -> list[Frame]:
        return [frame for frame in self.came if isinstance(frame, kind)]


@asynccontextmanager
async def line() -> AsyncIterator[Line]:
    opened = Line()
    async with running([opened.worker], LocalBus()):
        await opened.until(lambda: opened.of(StartFrame))
        await opened.until(lambda: opened.events)
        yield opened


async def test_the_caller_is_there_once_when_the_pipeline_starts():
    async with line() as console:
        assert console.events == ["connected"]


async def test_hanging_up_is_what_a_client_that_goes_away_does():
    async with line() as console:
        await console.transport.hang_up()
        await console.until(lambda: len(console.events) > 1)
        assert console.events == ["connected", "disconnected"]


async def test_turns_are_the_callers_words_in_order_and_run_the_llm_each():
    texts = ["How much are the boots?", 'And "paint"?\nIn two lines.', "Grüße 👋"]
    async with line() as console:
        for number, text in enumerate(texts, 1):
            await console.transport.send_turn(text)
            await console.until(lambda n=number: len(console.of(LLMContextFrame)) >= n)
        said = [m["content"] for m in console.conversation.get_messages() if m["role"] == "user"]
    assert said == texts


async def test_a_turn_is_a_clients_message_with_an_id_of_its_own():
    async with line() as console:
        for _ in range(2):
            await console.transport.send_turn("Hello?")
        await console.until(lambda: len(console.of(InputTransportMessageFrame)) >= 2)
        messages = [frame.message for frame in console.of(InputTransportMessageFrame)]
    assert [message["type"] for message in messages] == ["send-text"] * len(messages)
    assert len({message["id"] for message in messages}) == 2


async def test_everything_passes_the_output():
    async with line() as console:
        words = LLMTextFrame("Hello.")
        reached = asyncio.Event()

        @console.worker.event_handler("on_frame_reached_downstream")
        async def on_reached(_worker: PipelineWorker, frame: Frame) -> None:
            if frame is words:
                reached.set()

        console.worker.set_reached_downstream_filter((LLMTextFrame,))
        await console.worker.queue_frame(words)
        await asyncio.wait_for(reached.wait(), 5)
