"""Workers on a bus of their own, and what arrives at the main worker's end."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any

from pipecat.bus import (
    BusActivateWorkerMessage,
    BusFrameMessage,
    BusMessage,
    BusTTSSpeakMessage,
)
from pipecat.frames.frames import (
    Frame,
    FunctionCallFromLLM,
    LLMContextFrame,
    LLMFullResponseEndFrame,
    LLMFullResponseStartFrame,
    LLMTextFrame,
    StartFrame,
)
from pipecat.processors.aggregators.llm_context import LLMContext
from pipecat.processors.frame_processor import FrameDirection, FrameProcessor
from pipecat.services.llm_service import LLMService
from pipecat.workers.base_worker import BaseWorker

from pipecat_workers_cli.buses.local import LocalBus
from pipecat_workers_cli.call.run import running
from pipecat_workers_cli.recipe.model import Rule
from pipecat_workers_cli.services.providers import Persona
from pipecat_workers_cli.services.scripted import ScriptedLLMService
from pipecat_workers_cli.transports.console import ConsoleTransport
from pipecat_workers_cli.workers.agent import Agent
from pipecat_workers_cli.workers.bridging import BridgingMain
from pipecat_workers_cli.workers.main import Line
from tests.peers.acme import SETTINGS

DOWNSTREAM = FrameDirection.DOWNSTREAM


class Frames:
    """What a processor was given, in order."""

    def __init__(self, processor: FrameProcessor) -> None:
        self.all: list[Frame] = []
        self._changed = asyncio.Event()

        @processor.event_handler("on_before_process_frame")
        async def on_frame(_processor: FrameProcessor, frame: Frame) -> None:
            self.all.append(frame)
            self._changed.set()

    def of(self, kind: type[Frame]) -> list[Frame]:
        return [frame for frame in self.all if isinstance(frame, kind)]

    async def until(self, happened: Callable[[], object]) -> None:
        """Wait until something holds that depends on these frames."""
        async with asyncio.timeout(10):
            while not happened():
                self._changed.clear()
                await self._changed.wait()

    async def first(self, kind: type[Frame]) -> Frame:
        await self.until(lambda: self.of(kind))
        return self.of(kind)[0]


ToolCall = dict[str, Any]


class RehearsedLLM(LLMService):
    """Gives one response after the other: texts, tool calls, and lists of calls made at once."""

    def __init__(self, *responses: Sequence[str | ToolCall | list[ToolCall]]) -> None:
        super().__init__(settings=SETTINGS)
        self._responses = list(responses)
        self._calls = 0

    async def process_frame(self, frame: Frame, direction: FrameDirection) -> None:
        await super().process_frame(frame, direction)
        if not isinstance(frame, LLMContextFrame):
            await self.push_frame(frame, direction)
            return
        await self.push_frame(LLMFullResponseStartFrame())
        parts = self._responses.pop(0) if self._responses else ["Nothing more was rehearsed."]
        for part in parts:
            if isinstance(part, str):
                await self.push_frame(LLMTextFrame(part))
            else:
                await self._call(part if isinstance(part, list) else [part], frame.context)
        await self.push_frame(LLMFullResponseEndFrame())

    async def _call(self, calls: list[ToolCall], context: LLMContext) -> None:
        made: list[FunctionCallFromLLM] = []
        for call in calls:
            self._calls += 1
            id = f"{self.name}-{self._calls}"
            made.append(FunctionCallFromLLM(context=context, tool_call_id=id, **call))
        await self.run_function_calls(made)


def tool(name: str, **arguments: Any) -> ToolCall:
    """Word a call of a tool, for `RehearsedLLM`."""
    return {"function_name": name, "arguments": arguments}


class Bench:
    """A main worker that runs, with whoever else does.

    Attributes:
        output: What arrived at the transport's output.
    """

    def __init__(self, main: BridgingMain, bus: LocalBus, output: Frames) -> None:
        self.main = main
        self.bus = bus
        self.output = output

    def activations(self) -> list[str | None]:
        """Return who was given the call, oldest first."""
        return [message.target for message in self.sent(BusActivateWorkerMessage)]

    def said(self) -> list[str]:
        """Return what the main worker had an agent speak, oldest first."""
        return [message.text for message in self.sent(BusTTSSpeakMessage)]

    def sent(self, kind: type[BusMessage]) -> list[BusMessage]:
        """Return the messages of a kind that crossed the bus, oldest first."""
        return [message for _, message in self.bus.recent if isinstance(message, kind)]

    def crossed(self, kind: type[Frame]) -> int:
        """Return how many frames of a kind crossed the bus."""
        return sum(t.count for key, t in self.bus.tallies.items() if issubclass(key[0], kind))

    async def activate(self, name: str) -> None:
        """Let an agent that need not exist count as active."""
        await self.bus.send(BusActivateWorkerMessage(source="main", target=name))
        await self.until(lambda: self.main.agent == name)

    async def until(self, happened: Callable[[], object]) -> None:
        """Wait until something holds that messages on the bus bring about."""
        async with asyncio.timeout(5):
            while not happened():  # noqa: ASYNC110  # a bus has no event of its own
                await asyncio.sleep(0)

    async def send_as(self, name: str, frame: Frame) -> None:
        """Send a frame as an agent's pipeline would."""
        await self.bus.send(BusFrameMessage(source=name, frame=frame, direction=DOWNSTREAM))


def agent(name: str, *rules: Rule, transfers: tuple[str, ...] = ()) -> Agent:
    """Build an agent with a script."""
    llm = ScriptedLLMService(persona=Persona(name, script=rules))
    return Agent(name, llm=llm, transfers=dict.fromkeys(transfers, ""))


@asynccontextmanager
async def bench(
    *others: BaseWorker, opener: str = "ann", opening: str | None = "Begin."
) -> AsyncIterator[Bench]:
    """Run a main worker for a call in words beside others; gives it once its pipeline runs."""
    bus, transport = LocalBus(), ConsoleTransport()
    main = BridgingMain("main", Line(transport=transport), bus=bus, opener=opener, opening=opening)
    output = Frames(transport.output())
    async with running([main, *others], bus):
        await output.first(StartFrame)
        yield Bench(main, bus, output)
