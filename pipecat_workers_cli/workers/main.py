"""The main worker: has the caller, the conversation and, unless agents do, the voice."""

import asyncio
import time
from abc import abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from pipecat.bus import (
    BusFrameMessage,
    BusJobUpdateMessage,
    BusMessage,
    BusTTSSpeakMessage,
    BusWorkerLocalErrorMessage,
)
from pipecat.frames.frames import (
    BotSpeakingFrame,
    ErrorFrame,
    ExternalFunctionCall,
    ExternalFunctionCallInProgressFrame,
    ExternalFunctionCallResultFrame,
    ExternalFunctionCallsStartedFrame,
    Frame,
    InterimTranscriptionFrame,
    LLMContextFrame,
    LLMTextFrame,
    TranscriptionFrame,
    TTSSpeakFrame,
    UserSpeakingFrame,
    UserStartedSpeakingFrame,
)
from pipecat.observers.base_observer import BaseObserver
from pipecat.pipeline.pipeline import Pipeline
from pipecat.pipeline.worker import PipelineParams, PipelineWorker
from pipecat.processors.aggregators.llm_context import LLMContext
from pipecat.processors.aggregators.llm_response_universal import (
    LLMAssistantAggregator,
    LLMContextAggregatorPair,
    LLMUserAggregatorParams,
)
from pipecat.processors.frame_processor import FrameDirection, FrameProcessor
from pipecat.processors.frameworks.rtvi.observer import RTVIObserverParams
from pipecat.services.ai_service import AIService
from pipecat.services.stt_service import STTService
from pipecat.services.tts_service import TTSService
from pipecat.transports.base_transport import BaseTransport
from pipecat.utils.errors import ErrorCategory

from pipecat_workers_cli.logs import redact
from pipecat_workers_cli.workers.jobs import TOOL_CALL, JobsEnd
from pipecat_workers_cli.workers.turns import text_turns, trim
from pipecat_workers_cli.workers.watch import watch_hearing, watch_speaking

if TYPE_CHECKING:
    from pipecat_workers_cli.tracing.turns import CallTrace

AUDIO_IN = 16_000  # Hz; what the VAD and the offline STT are trained on
AUDIO_OUT = 24_000  # Hz; Pipecat's default, between telephone and studio
SETUP_TIMEOUT = 12.0  # seconds; Cartesia gives up on a silent server after ten
KEPT_MESSAGES = 400  # of a call's conversation: some hundred and fifty turns with their tools

APOLOGY = "I'm sorry, something went wrong just now. Could you say that again?"
FAREWELL = "I'm sorry, something here has failed, and this call can't go on. Goodbye."
APOLOGY_EVERY = 10.0  # seconds; a provider that is down fails at each turn

FROM_WORKER = "worker"
"""The key in a frame's metadata under which the bridge notes whose frame it is."""

SIGNS_OF_LIFE = (
    BotSpeakingFrame,
    InterimTranscriptionFrame,
    LLMContextFrame,
    LLMTextFrame,
    TranscriptionFrame,
    UserSpeakingFrame,
    UserStartedSpeakingFrame,
)
"""Somebody is saying something, by voice or in writing: the call isn't idle."""


UNHEARD = RTVIObserverParams(
    bot_output_enabled=False,
    bot_llm_enabled=False,
    bot_tts_enabled=False,
    bot_speaking_enabled=False,
    user_llm_enabled=False,
    user_speaking_enabled=False,
    user_input_enabled=False,
    metrics_enabled=False,
)
"""For a call whose client doesn't listen: Pipecat would send a message for each word through
the whole pipeline, a third of all that a turn in words costs."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """The caller's end of a call: how they are heard and answered, and who looks on.

    Attributes:
        transport: The caller's path.
        stt: Hears the caller; None for a call in words.
        tts: Speaks; None if agents speak themselves or nobody does.
        standby: Speaks for agents that speak themselves while they are out of reach.
        hearing: How the caller's turns are told apart; None for a call in words.
        observers: Watch the main worker's frames.
        on_bus: Told every message that the main worker sees on the bus; must not block.
        idle_timeout: Seconds in which nobody says anything before the call is cancelled;
            None waits for ever.
        has_client: Whether an RTVI client is at the other end to be told of events.
        trace: The call's spans; None while calls aren't traced.
    """

    transport: BaseTransport
    stt: STTService | None = None
    tts: TTSService | None = None
    standby: TTSService | None = None
    hearing: LLMUserAggregatorParams | None = None
    observers: Sequence[BaseObserver] = ()
    on_bus: Callable[[BusMessage], None] | None = None
    idle_timeout: float | None = None
    has_client: bool = True
    trace: "CallTrace | None" = None


class MainWorker(JobsEnd, PipelineWorker):
    """Owns the caller's transport, the conversation and, unless agents do, the voice.

    Who answers is decided by what stands in the middle of its pipeline: a way to agents
    (`BridgingMain`), or an LLM (`TalkingMain`).

    Attributes:
        conversation: All that was said, the only copy there is; its oldest turns are cut.
        client_connected: Set once the caller is there.
    """

    def __init__(
        self,
        name: str,
        line: Line,
        *,
        middle: Sequence[FrameProcessor],
        conversation: LLMContext,
    ) -> None:
        """Assemble the main pipeline.

        Args:
            name: The worker's name on the bus.
            line: The caller's end.
            middle: What answers a turn, between hearing and speaking.
            conversation: A fresh one, with the tools that it begins with.
        """
        self._line = line
        self._apologise_from = 0.0
        self.client_connected = asyncio.Event()
        self._opening_task: asyncio.Task[None] | None = None
        self._ending_task: asyncio.Task[None] | None = None
        self.conversation = conversation
        aggregators = LLMContextAggregatorPair(
            conversation, user_params=line.hearing or text_turns()
        )
        pipeline = Pipeline(
            [
                line.transport.input(),
                *([line.stt] if line.stt else []),
                aggregators.user(),
                *middle,
                *([line.tts] if line.tts else []),
                line.transport.output(),
                aggregators.assistant(),
            ]
        )
        super().__init__(
            pipeline,
            name=name,
            observers=list(line.observers),
            params=PipelineParams(
                audio_in_sample_rate=AUDIO_IN,
                audio_out_sample_rate=AUDIO_OUT,
                enable_metrics=True,
                enable_usage_metrics=True,
            ),
            # Nothing here asks for Pipecat's count of turns: `CallLog` has ours.
            enable_turn_tracking=False,
            rtvi_observer_params=None if line.has_client else UNHEARD,
            setup_timeout_secs=SETUP_TIMEOUT,
            idle_timeout_secs=line.idle_timeout,
            idle_timeout_frames=SIGNS_OF_LIFE,
        )

        if line.trace is not None:
            line.trace.follow(aggregators.user(), aggregators.assistant())
        if line.stt is not None:
            watch_hearing(aggregators.user(), partial(self._report, line.stt))
        watch_speaking(line.transport.output(), partial(self._report, line.tts))

        @self.rtvi.event_handler("on_before_process_frame")
        async def on_before_told(_rtvi: FrameProcessor, frame: Frame) -> None:
            if isinstance(frame, ErrorFrame):  # the caller's client is sent its text
                frame.error = redact(frame.error)

        @self.event_handler("on_pipeline_error")
        async def on_pipeline_error(_worker: PipelineWorker, frame: ErrorFrame) -> None:
            await self._tell_caller(frame)

        @line.transport.event_handler("on_client_connected")
        async def on_client_connected(_transport: BaseTransport, _client: object) -> None:
            self.client_connected.set()

        @aggregators.assistant().event_handler("on_assistant_turn_stopped")
        async def on_turn_stopped(assistant: LLMAssistantAggregator, _said: object) -> None:
            if not assistant.has_function_calls_in_progress:
                trim(conversation, KEPT_MESSAGES)

    @property
    @abstractmethod
    def agent(self) -> str | None:
        """Who talks to the caller now, if anybody does."""

    @abstractmethod
    async def open(self) -> None:
        """Let the first to talk begin; the caller is there, and this pipeline runs."""

    async def start(self) -> None:
        """Once this pipeline runs, open the call as soon as the caller is there."""
        await super().start()
        self._opening_task = self.create_task(self._open(), "opening")

    async def stop(self) -> None:
        """Stop waiting for the caller or for last words, then stop as any worker does."""
        for task in (self._opening_task, self._ending_task):
            if task is not None:
                await self.cancel_task(task)
        self._opening_task = None
        await super().stop()

    async def on_bus_message(self, message: BusMessage) -> None:
        """Show the message to whoever watches, then handle it."""
        if not isinstance(message, BusFrameMessage):
            if self._line.on_bus is not None:
                self._line.on_bus(message)
            if isinstance(message, BusJobUpdateMessage) and isinstance(message.update, dict):
                await self._announce_tool(message.update)
            elif isinstance(message, BusWorkerLocalErrorMessage):
                frame = ErrorFrame(message.error, category=ErrorCategory.APPLICATION)
                frame.metadata[FROM_WORKER] = message.source
                await self.queue_frame(frame, FrameDirection.UPSTREAM)
        await super().on_bus_message(message)

    async def _open(self) -> None:
        await self.client_connected.wait()
        await self.open()

    def trace_opening(self) -> None:
        """Let what is said now be the call's opening."""
        if self._line.trace is not None:
            self._line.trace.begin_opening()

    async def _announce_tool(self, update: dict[str, Any]) -> None:
        """Let a client hear of a tool that another worker's LLM called for a job."""
        if update.get("type") != TOOL_CALL:
            return
        name, id = str(update.get("name")), str(update.get("tool_call_id"))
        args = update.get("args")
        if "result" in update:
            result = update["result"]
            await self.queue_frame(ExternalFunctionCallResultFrame(name, id, args, result))
            return
        calls = [ExternalFunctionCall(function_name=name, tool_call_id=id)]
        await self.queue_frame(ExternalFunctionCallsStartedFrame(calls))
        await self.queue_frame(ExternalFunctionCallInProgressFrame(name, id, args))

    async def _report(self, service: AIService | None, what: str) -> None:
        """Make an error of a failure that nobody reported; an agent's voice isn't known here."""
        frame = ErrorFrame(what, processor=service)
        if service is None and self.agent is not None:
            frame.metadata[FROM_WORKER] = self.agent
        await self.queue_frame(frame, FrameDirection.UPSTREAM)

    async def _tell_caller(self, frame: ErrorFrame) -> None:
        """Tell the caller that something failed; end the call if it can't go on."""
        service = frame.processor
        if frame.category is ErrorCategory.APPLICATION and service is not None:
            return  # a tool raised; the LLM is told so, and has an answer to it
        if service is not None and service is self._line.standby:
            return  # the call goes on without it
        lost = service is not None and not service.is_usable
        now = time.monotonic()
        if self._ending_task is not None or (not lost and now < self._apologise_from):
            return
        self._apologise_from = now + APOLOGY_EVERY
        if not (lost and isinstance(service, TTSService)):  # a voice that is back can say it
            await self._speak(FAREWELL if lost else APOLOGY)
        if lost:
            # Ending waits until all is said. Not here, for a worker that is stopped waits for
            # its event handlers: a caller's hang-up meanwhile would take ten seconds.
            ending = self.end(reason=f"{type(service).__name__} can't be used")
            self._ending_task = self.create_task(ending, "ending")

    async def _speak(self, text: str) -> None:
        if self._line.tts is not None or self.agent == self.name:
            await self.queue_frame(TTSSpeakFrame(text, append_to_context=False))
        elif self.agent is not None:
            await self.send_bus_message(
                BusTTSSpeakMessage(
                    source=self.name, target=self.agent, text=text, append_to_context=False
                )
            )
