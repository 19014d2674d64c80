"""The main worker: has the caller, and bridges the call to whichever agent is active."""

import asyncio
import time
from collections.abc import Callable, Sequence
from functools import partial

from pipecat.bus import (
    BusActivateWorkerMessage,
    BusDeactivateWorkerMessage,
    BusFrameMessage,
    BusMessage,
    BusTTSSpeakMessage,
    WorkerBus,
)
from pipecat.bus.bridge_processor import BusBridgeProcessor
from pipecat.frames.frames import (
    BotSpeakingFrame,
    BotStartedSpeakingFrame,
    BotStoppedSpeakingFrame,
    ErrorFrame,
    Frame,
    InterimTranscriptionFrame,
    InterruptionFrame,
    LLMConfigureOutputFrame,
    LLMContextFrame,
    LLMTextFrame,
    LLMUpdateSettingsFrame,
    PipelineFlushFrame,
    TranscriptionFrame,
    TTSSpeakFrame,
    TTSUpdateSettingsFrame,
    UserSpeakingFrame,
    UserStartedSpeakingFrame,
)
from pipecat.observers.base_observer import BaseObserver
from pipecat.pipeline.pipeline import Pipeline
from pipecat.pipeline.worker import PipelineParams, PipelineWorker
from pipecat.processors.aggregators.llm_context import LLMContext
from pipecat.processors.aggregators.llm_response_universal import (
    LLMContextAggregatorPair,
    LLMUserAggregatorParams,
)
from pipecat.processors.frame_processor import FrameDirection, FrameProcessor
from pipecat.processors.frameworks.rtvi.observer import RTVIObserverParams
from pipecat.registry.types import WorkerReadyData
from pipecat.services.ai_service import AIService
from pipecat.services.stt_service import STTService
from pipecat.services.tts_service import TTSService
from pipecat.transports.base_transport import BaseTransport
from pipecat.workers.llm import LLMWorkerActivationArgs

from pipecat_workers_cli.workers.cues import opening_cue
from pipecat_workers_cli.workers.turns import text_turns
from pipecat_workers_cli.workers.watch import watch_hearing, watch_speaking

AUDIO_IN = 16_000  # Hz; what the VAD and the offline STT are trained on
AUDIO_OUT = 24_000  # Hz; Pipecat's default, between telephone and studio
SETUP_TIMEOUT = 12.0  # seconds; Cartesia gives up on a silent server after ten

APOLOGY = "I'm sorry, something went wrong just now. Could you say that again?"
FAREWELL = "I'm sorry, something here has failed, and this call can't go on. Goodbye."
APOLOGY_EVERY = 10.0  # seconds; a provider that is down fails at each turn

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


class AgentBridge(BusBridgeProcessor):
    """Stands where an LLM would stand: sends turns to the active agent, takes its answers.

    Answers count only while their agent is active, so nothing stale is spoken. With no
    agent active an interruption still reaches the speaker.
    """

    def __init__(self, *, bus: WorkerBus, worker_name: str) -> None:
        super().__init__(bus=bus, worker_name=worker_name)
        self.agent: str | None = None
        self._to_agent = bus
        self._source = worker_name

    async def process_frame(self, frame: Frame, direction: FrameDirection) -> None:
        """Send a frame to the agent, or keep it in this pipeline, or both."""
        if isinstance(frame, TO_AGENT) and self.agent is not None:
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
            self.agent = message.target
        elif isinstance(message, BusDeactivateWorkerMessage) and message.target == self.agent:
            self.agent = None
        elif (
            isinstance(message, BusFrameMessage)
            and message.source == self.agent
            and not isinstance(message.frame, COPIED_TO_AGENT)
        ):
            message.frame.metadata[FROM_WORKER] = message.source
            await super().on_bus_message(message)


class MainWorker(PipelineWorker):
    """Owns the caller's transport, the conversation and, unless agents do, the voice.

    The opener is activated once the client is there, this pipeline runs and the opener
    is ready: sooner, its tools and its greeting would find nobody.

    Attributes:
        bridge: The way to the active agent.
        conversation: All that was said, the only copy there is.
        client_connected: Set once the caller is there.
    """

    def __init__(
        self,
        name: str,
        *,
        bus: WorkerBus,
        transport: BaseTransport,
        opener: str,
        opening: str | None,
        stt: STTService | None = None,
        tts: TTSService | None = None,
        hearing: LLMUserAggregatorParams | None = None,
        observers: Sequence[BaseObserver] = (),
        on_bus: Callable[[BusMessage], None] | None = None,
        idle_timeout: float | None = None,
        has_client: bool = True,
    ) -> None:
        """Assemble the main pipeline.

        Args:
            name: The worker's name on the bus.
            bus: The call's bus.
            transport: The caller's path.
            opener: The agent that gets the call first.
            opening: What the opener is told; None lets the caller speak first.
            stt: Hears the caller; None for a call in words.
            tts: Speaks for the agents; None if they speak themselves or nobody does.
            hearing: How the caller's turns are told apart; None for a call in words.
            observers: Watch this pipeline's frames.
            on_bus: Told every message that this worker sees on the bus; must not block.
            idle_timeout: Seconds in which nobody says anything before the call is
                cancelled; None waits for ever.
            has_client: Whether an RTVI client is at the other end to be told of events.
        """
        self.bridge = AgentBridge(bus=bus, worker_name=name)
        self._opener = opener
        self._opening = opening
        self._on_bus = on_bus
        self._speaks = tts is not None
        self._apologise_from = 0.0
        self.client_connected = asyncio.Event()
        self._opener_ready = asyncio.Event()
        self._opening_task: asyncio.Task[None] | None = None
        self._ending_task: asyncio.Task[None] | None = None
        self.conversation = LLMContext()
        aggregators = LLMContextAggregatorPair(
            self.conversation, user_params=hearing or text_turns()
        )
        pipeline = Pipeline(
            [
                transport.input(),
                *([stt] if stt else []),
                aggregators.user(),
                self.bridge,
                *([tts] if tts else []),
                transport.output(),
                aggregators.assistant(),
            ]
        )
        super().__init__(
            pipeline,
            name=name,
            observers=list(observers),
            params=PipelineParams(
                audio_in_sample_rate=AUDIO_IN,
                audio_out_sample_rate=AUDIO_OUT,
                enable_metrics=True,
                enable_usage_metrics=True,
            ),
            # Nothing here asks for Pipecat's count of turns: `CallLog` has ours.
            enable_turn_tracking=False,
            rtvi_observer_params=None if has_client else UNHEARD,
            setup_timeout_secs=SETUP_TIMEOUT,
            idle_timeout_secs=idle_timeout,
            idle_timeout_frames=SIGNS_OF_LIFE,
        )

        if stt is not None:
            watch_hearing(aggregators.user(), partial(self._report, stt))
        watch_speaking(transport.output(), partial(self._report, tts))

        @self.event_handler("on_pipeline_error")
        async def on_pipeline_error(_worker: PipelineWorker, frame: ErrorFrame) -> None:
            await self._tell_caller(frame)

        @transport.event_handler("on_client_connected")
        async def on_client_connected(_transport: BaseTransport, _client: object) -> None:
            self.client_connected.set()

    @property
    def agent(self) -> str | None:
        """The agent that has the call now, if any."""
        return self.bridge.agent

    async def start(self) -> None:
        """Once this pipeline runs, give the call to the opener as soon as it can take it."""
        await super().start()
        self._opening_task = self.create_task(self._open(), "opening")
        await self.watch_workers(self._opener)

    async def stop(self) -> None:
        """Stop waiting for the opener or for last words, then stop as any worker does."""
        for task in (self._opening_task, self._ending_task):
            if task is not None:
                await self.cancel_task(task)
        self._opening_task = None
        await super().stop()

    async def on_worker_ready(self, data: WorkerReadyData) -> None:
        """Note that the opener is there."""
        await super().on_worker_ready(data)
        if data.worker_name == self._opener:
            self._opener_ready.set()

    async def on_bus_message(self, message: BusMessage) -> None:
        """Show the message to whoever watches, then handle it."""
        if self._on_bus is not None and not isinstance(message, BusFrameMessage):
            self._on_bus(message)
        await super().on_bus_message(message)

    async def _report(self, service: AIService | None, what: str) -> None:
        """Make an error of a failure that nobody reported; an agent's voice isn't known here."""
        frame = ErrorFrame(what, processor=service)
        if service is None and self.agent is not None:
            frame.metadata[FROM_WORKER] = self.agent
        await self.queue_frame(frame, FrameDirection.UPSTREAM)

    async def _tell_caller(self, frame: ErrorFrame) -> None:
        """Tell the caller that something failed; end the call if it can't go on."""
        service = frame.processor
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
        if self._speaks:
            await self.queue_frame(TTSSpeakFrame(text, append_to_context=False))
        elif self.agent is not None:
            await self.send_bus_message(
                BusTTSSpeakMessage(
                    source=self.name, target=self.agent, text=text, append_to_context=False
                )
            )

    async def _open(self) -> None:
        await self.client_connected.wait()
        await self._opener_ready.wait()
        messages = [opening_cue(self._opening)] if self._opening else None
        await self.activate_worker(self._opener, args=LLMWorkerActivationArgs(messages=messages))
