"""A main worker that bridges the call to whichever agent is active."""

import asyncio
from collections import Counter

from pipecat.bus import (
    BusActivateWorkerMessage,
    BusDeactivateWorkerMessage,
    BusFrameMessage,
    BusMessage,
    WorkerBus,
)
from pipecat.bus.bridge_processor import BusBridgeProcessor
from pipecat.frames.frames import (
    AudioRawFrame,
    BotStartedSpeakingFrame,
    BotStoppedSpeakingFrame,
    Frame,
    InterruptionFrame,
    LLMConfigureOutputFrame,
    LLMContextFrame,
    LLMUpdateSettingsFrame,
    PipelineFlushFrame,
    TextFrame,
    TTSUpdateSettingsFrame,
)
from pipecat.processors.aggregators.llm_context import LLMContext
from pipecat.processors.frame_processor import FrameDirection, FrameProcessor
from pipecat.registry.types import WorkerReadyData
from pipecat.workers.llm import LLMWorkerActivationArgs

from pipecat_workers_cli.workers.cues import opening_cue
from pipecat_workers_cli.workers.main import FROM_WORKER, Line, MainWorker

TO_AGENT = (
    InterruptionFrame,
    LLMContextFrame,
    LLMUpdateSettingsFrame,
    PipelineFlushFrame,
    TTSUpdateSettingsFrame,
)
"""What goes round by way of the agent. All else stays in the main pipeline, so user audio
and the frames about who is speaking neither load the bus nor wait for an agent."""

COPIED_TO_AGENT = (BotStartedSpeakingFrame, BotStoppedSpeakingFrame, LLMConfigureOutputFrame)
"""What the agent needs to know, but the main pipeline doesn't wait for."""

SAID = (TextFrame, AudioRawFrame)
"""What a caller would have heard."""


class AgentBridge(BusBridgeProcessor):
    """Stands where an LLM would stand: sends turns to the active agent, takes its answers.

    Answers count only while their agent is active, so nothing stale is spoken. With no
    agent active an interruption still reaches the speaker.

    Attributes:
        agent: Who is active, if anybody.
        dropped: By worker, words and sound that came when it wasn't active.
    """

    def __init__(self, *, bus: WorkerBus, worker_name: str) -> None:
        super().__init__(bus=bus, worker_name=worker_name)
        self.agent: str | None = None
        self.dropped: Counter[str] = Counter()
        self._to_agent = bus
        self._source = worker_name
        self._probes: dict[tuple[int, FrameDirection], PipelineFlushFrame] = {}

    async def process_frame(self, frame: Frame, direction: FrameDirection) -> None:
        """Send a frame to the agent, or keep it in this pipeline, or both."""
        if isinstance(frame, TO_AGENT) and self.agent is not None:
            if isinstance(frame, PipelineFlushFrame) and frame.origin == self._source:
                self._probes[frame.flush_id, direction] = frame
            await super().process_frame(frame, direction)
            return
        await FrameProcessor.process_frame(self, frame, direction)
        if isinstance(frame, COPIED_TO_AGENT):
            copy = BusFrameMessage(source=self._source, frame=frame, direction=direction)
            await self._to_agent.send(copy)
        await self.push_frame(frame, direction)

    async def on_bus_message(self, message: BusMessage) -> None:
        """Follow who is active; let the active agent's frames into the pipeline."""
        if isinstance(message, BusActivateWorkerMessage):
            await self._follow(message.target)
        elif isinstance(message, BusDeactivateWorkerMessage) and message.target == self.agent:
            await self._follow(None)
        elif not isinstance(message, BusFrameMessage) or message.source == self._source:
            return
        elif message.source != self.agent:
            self.dropped[message.source] += isinstance(message.frame, SAID)
        elif not isinstance(message.frame, COPIED_TO_AGENT):
            message.frame.metadata[FROM_WORKER] = message.source
            if isinstance(message.frame, PipelineFlushFrame):
                self._probes.pop((message.frame.flush_id, message.direction), None)
            await super().on_bus_message(message)

    async def _follow(self, agent: str | None) -> None:
        """Note who has the call; take up the probes that the agent before it may never return.

        An agent that is asleep drops what reaches it, and this worker would wait ten seconds
        for its probe, the caller's turn with it.
        """
        if agent == self.agent:
            return
        self.agent = agent
        probes, self._probes = self._probes, {}
        for (_, direction), probe in probes.items():
            await self.push_frame(probe, direction)


class BridgingMain(MainWorker):
    """Hands each turn to the agent that has the call.

    The opener is activated once the client is there, this pipeline runs and the opener
    is ready: sooner, its tools and its greeting would find nobody.

    Attributes:
        bridge: The way to the active agent.
    """

    def __init__(
        self, name: str, line: Line, *, bus: WorkerBus, opener: str, opening: str | None
    ) -> None:
        """Assemble the main pipeline round a bridge.

        Args:
            name: The worker's name on the bus.
            line: The caller's end.
            bus: The call's bus.
            opener: The agent that gets the call first.
            opening: What the opener is told; None lets the caller speak first.
        """
        self.bridge = AgentBridge(bus=bus, worker_name=name)
        self._opener = opener
        self._opening = opening
        self._opener_ready = asyncio.Event()
        super().__init__(name, line, middle=[self.bridge], conversation=LLMContext())

    @property
    def agent(self) -> str | None:
        """The agent that has the call now, if any."""
        return self.bridge.agent

    async def start(self) -> None:
        """Start, and look out for the opener."""
        await super().start()
        await self.watch_workers(self._opener)

    async def open(self) -> None:
        """Give the call to the opener as soon as it can take it."""
        await self._opener_ready.wait()
        messages = [opening_cue(self._opening)] if self._opening else None
        await self.activate_worker(self._opener, args=LLMWorkerActivationArgs(messages=messages))

    async def on_worker_ready(self, data: WorkerReadyData) -> None:
        """Note that the opener is there."""
        await super().on_worker_ready(data)
        if data.worker_name == self._opener:
            self._opener_ready.set()
