"""A main worker that bridges the call to whichever agent is active."""

import asyncio
from collections import Counter
from typing import TYPE_CHECKING, Any

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
    LLMFullResponseEndFrame,
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
from pipecat_workers_cli.workers.owed import GOES_ON, Owed

if TYPE_CHECKING:
    from pipecat_workers_cli.tracing.turns import CallTrace

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
        owed: What the caller waits for from the agent.
        dropped: By worker, words and sound that came when it wasn't active.
    """

    def __init__(
        self,
        *,
        bus: WorkerBus,
        worker_name: str,
        conversation: LLMContext,
        trace: "CallTrace | None" = None,
    ) -> None:
        super().__init__(bus=bus, worker_name=worker_name)
        self._trace = trace
        self.agent: str | None = None
        self.owed = Owed()
        self.dropped: Counter[str] = Counter()
        self._conversation = conversation
        self._renewal: BusActivateWorkerMessage | None = None
        self._silent = False
        self._ending = False
        self._to_agent = bus
        self._source = worker_name
        self._probes: dict[tuple[int, FrameDirection], PipelineFlushFrame] = {}

    async def process_frame(self, frame: Frame, direction: FrameDirection) -> None:
        """Send a frame to the agent, or keep it in this pipeline, or both."""
        if isinstance(frame, TO_AGENT) and self.agent is not None and not self._is_alone(frame):
            if isinstance(frame, PipelineFlushFrame) and frame.origin == self._source:
                self._probes[frame.flush_id, direction] = frame
            elif isinstance(frame, LLMContextFrame):
                self.owed.asked(frame.context)
                self._stamp(frame)
            await super().process_frame(frame, direction)
            if self._silent and isinstance(frame, InterruptionFrame):
                await self.push_frame(frame, direction)  # it may never come back
            return
        await FrameProcessor.process_frame(self, frame, direction)
        if isinstance(frame, COPIED_TO_AGENT):
            copy = BusFrameMessage(source=self._source, frame=frame, direction=direction)
            await self._to_agent.send(copy)
        await self.push_frame(frame, direction)

    def _stamp(self, frame: LLMContextFrame) -> None:
        """Let the agent's process know of what its answer will be part."""
        if self._trace is not None:
            self._trace.stamp(frame)

    def _is_alone(self, frame: Frame) -> bool:
        """Tell of a probe that has nobody to go round by."""
        return self._silent and isinstance(frame, PipelineFlushFrame)

    async def on_bus_message(self, message: BusMessage) -> None:
        """Follow who is active; let the active agent's frames into the pipeline."""
        if isinstance(message, BusActivateWorkerMessage):
            if message is not self._renewal:
                self.owed = Owed(message)
                if self._trace is not None and message.source != self._source and message.target:
                    self._trace.hand_over(message.source, message.target)
            await self._follow(message.target)
        elif isinstance(message, BusDeactivateWorkerMessage) and message.target == self.agent:
            await self._follow(None)
        elif not isinstance(message, BusFrameMessage) or message.source == self._source:
            return
        elif message.source != self.agent:
            self.dropped[message.source] += isinstance(message.frame, SAID)
        elif not isinstance(message.frame, COPIED_TO_AGENT):
            await self._take(message)

    async def _take(self, message: BusFrameMessage) -> None:
        """Let a frame of the active agent in, unless it is the rest of what was cut short."""
        frame = message.frame
        self._silent = self._ending
        self.owed.said(frame)
        if self.owed.deaf and isinstance(frame, LLMFullResponseEndFrame):
            # All of what was cut short is here, and was dropped. From a tool that it called it goes
            # on with the result, and to be asked again would call that twice.
            if not (self.owed.asked_since or self.owed.called):
                await self._ask_again()
        elif not (self.owed.deaf and isinstance(frame, SAID)):
            frame.metadata[FROM_WORKER] = message.source
            if isinstance(frame, PipelineFlushFrame) and frame.origin == self._source:
                self._probes.pop((frame.flush_id, message.direction), None)
            await super().on_bus_message(message)

    def end(self) -> None:
        """Wait for nothing more from agents: the last of them has said goodbye."""
        self._ending = self._silent = True

    async def hold(self) -> bool:
        """Cut an answer short whose agent has gone silent; tell whether the caller waits."""
        if self._ending:
            return False
        self._silent = True
        await self._take_up_probes()
        if self.owed and not self.owed.deaf:
            self.owed.cut_short()
            cut = InterruptionFrame()
            cut.metadata[GOES_ON] = True
            await self.push_frame(cut)
        return bool(self.owed)

    async def resume(self) -> None:
        """Give whoever runs the agent now the call, and what the caller waits for."""
        self._silent = False
        await self._take_up_probes()
        given = self.owed.activation
        args = given.args if given else None
        self._renewal = BusActivateWorkerMessage(source=self._source, target=self.agent, args=args)
        await self._to_agent.send(self._renewal)
        if given is None and self.owed:
            for result in self.owed.settle(self._conversation):
                await self.push_frame(result)
            await self._ask_again()

    async def _ask_again(self) -> None:
        self.owed.take_back(self._conversation)
        self.owed.asked(self._conversation)
        frame = LLMContextFrame(self._conversation)
        self._stamp(frame)
        await self._to_agent.send(
            BusFrameMessage(source=self._source, frame=frame, direction=FrameDirection.DOWNSTREAM)
        )

    async def _follow(self, agent: str | None) -> None:
        """Note who has the call."""
        if agent != self.agent:
            self.agent = agent
            self._silent = False
            await self._take_up_probes()

    async def _take_up_probes(self) -> None:
        """Send the probes on that whoever had the call may never return.

        An agent that is asleep or gone drops what reaches it, and this worker would wait ten
        seconds for its probe, the caller's turn with it.
        """
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
        conversation = LLMContext()
        self.bridge = AgentBridge(
            bus=bus, worker_name=name, conversation=conversation, trace=line.trace
        )
        self._opener = opener
        self._opening = opening
        self._opener_ready = asyncio.Event()
        # What agents say comes in at the bridge, so whoever speaks before it hears none of that.
        before = [line.standby] if line.standby else []
        super().__init__(name, line, middle=[*before, self.bridge], conversation=conversation)

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
        if self._opening:
            self.trace_opening()
        await self._opener_ready.wait()
        messages = self._take_unanswered() or (
            [opening_cue(self._opening)] if self._opening else None
        )
        await self.activate_worker(self._opener, args=LLMWorkerActivationArgs(messages=messages))

    def _take_unanswered(self) -> list[Any]:
        """Take out of the conversation what the caller said while nobody was there yet."""
        messages: list[Any] = list(self.conversation.get_messages())
        answered = len(messages)
        while answered and _is_by_caller(messages[answered - 1]):
            answered -= 1
        self.conversation.set_messages(messages[:answered])
        return messages[answered:]

    async def on_worker_ready(self, data: WorkerReadyData) -> None:
        """Note that the opener is there."""
        await super().on_worker_ready(data)
        if data.worker_name == self._opener:
            self._opener_ready.set()


def _is_by_caller(message: Any) -> bool:
    return isinstance(message, dict) and message.get("role") == "user"
