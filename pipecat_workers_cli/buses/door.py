"""What may cross a link between a call and one of its workers, whose other end is not trusted.

The format lets in closed types alone, and the bus only what is said in the name of the one
worker that the link is for. The door adds what that worker may say, or be told: nothing about
anybody's life, nothing to everybody, nothing that was not asked.
"""

from collections.abc import Collection
from typing import Protocol

from pipecat import bus as messages
from pipecat.bus import BusMessage
from pipecat.frames import frames
from pipecat.processors.frameworks.rtvi.frames import RTVIServerMessageFrame

from pipecat_workers_cli.wire.limits import Refused
from pipecat_workers_cli.wire.reading import BusReadingMessage

ANSWERING = (
    messages.BusJobResponseMessage,
    messages.BusJobResponseUrgentMessage,
    messages.BusJobUpdateMessage,
    messages.BusJobUpdateUrgentMessage,
    messages.BusJobStreamStartMessage,
    messages.BusJobStreamDataMessage,
    messages.BusJobStreamEndMessage,
)
ASKING = (
    messages.BusJobRequestMessage,
    messages.BusJobCancelMessage,
    messages.BusJobUpdateRequestMessage,
)
GIVING = (messages.BusActivateWorkerMessage, messages.BusDeactivateWorkerMessage)

RETURNED = (
    frames.InterruptionFrame,
    frames.LLMConfigureOutputFrame,
    frames.LLMUpdateSettingsFrame,
    frames.PipelineFlushFrame,
    frames.TTSUpdateSettingsFrame,
)
"""Frames that a worker is sent, and gives back when it has seen them."""

TO_WORKER = frozenset[type](
    {
        *RETURNED,
        frames.BotStartedSpeakingFrame,
        frames.BotStoppedSpeakingFrame,
        frames.LLMContextFrame,
    }
)
FROM_WORKER = frozenset[type](
    {
        *RETURNED,
        frames.AggregatedTextFrame,
        frames.AggregatedTextProgressFrame,
        frames.ErrorFrame,
        frames.FunctionCallCancelFrame,
        frames.FunctionCallInProgressFrame,
        frames.FunctionCallResultFrame,
        frames.FunctionCallsStartedFrame,
        frames.LLMAssistantPushAggregationFrame,
        frames.LLMFullResponseEndFrame,
        frames.LLMFullResponseStartFrame,
        frames.LLMMarkerFrame,
        frames.LLMMessagesAppendFrame,
        frames.LLMMessagesUpdateFrame,
        frames.LLMRunFrame,
        frames.LLMSetToolChoiceFrame,
        frames.LLMSetToolsFrame,
        frames.LLMTextFrame,
        frames.LLMThoughtEndFrame,
        frames.LLMThoughtStartFrame,
        frames.LLMThoughtTextFrame,
        frames.MetricsFrame,
        frames.OutputAudioRawFrame,
        frames.TextFrame,
        frames.TTSAudioRawFrame,
        frames.TTSSpeakFrame,
        frames.TTSStartedFrame,
        frames.TTSStoppedFrame,
        frames.TTSTextFrame,
        frames.UserTurnInferenceCompletedFrame,
        RTVIServerMessageFrame,
    }
)


class Door(Protocol):
    """One end's rules for what crosses a link."""

    def lets_out(self, message: BusMessage) -> bool:
        """Say whether a message may leave by the link; what may not is no fault."""
        ...

    def let_in(self, message: BusMessage) -> None:
        """Let in what came over the link.

        Raises:
            Refused: It may not.
        """
        ...


class Standing(Protocol):
    """What the call knows of a worker at the other end."""

    @property
    def holder(self) -> str | None:
        """Who has the call, or had it last and has yet to hand it on."""
        ...

    def jobs_of(self, worker: str) -> list[str]:
        """Return the ids of the jobs that a worker has not answered."""
        ...


class CallersDoor:
    """The rules where the caller is: what a worker at the other end may say.

    What it sends to the caller counts only while it has the call, which is the bridge's
    business. To others it may do what its table in the recipe grants.

    Attributes:
        from_worker: The frames that it may send.
    """

    from_worker: Collection[type] = FROM_WORKER

    def __init__(
        self,
        worker: str,
        standing: Standing,
        *,
        main: str,
        transfers: Collection[str],
        asks: Collection[str],
    ) -> None:
        """Pin the names.

        Args:
            worker: Who is at the other end.
            standing: What the call knows of it.
            main: The main worker's name.
            transfers: To whom it may hand the call.
            asks: Whom it may ask by a job.
        """
        self._worker = worker
        self._standing = standing
        self._main = main
        self._transfers = frozenset(transfers)
        self._asks = frozenset(asks)

    def lets_out(self, message: BusMessage) -> bool:
        """Say whether a message is for the worker, and none about its life."""
        return _is_for_worker(message, self._worker, self._main)

    def let_in(self, message: BusMessage) -> None:
        """Let in what the worker may say.

        Raises:
            Refused: It may not.
        """
        match message:
            case messages.BusFrameMessage():
                _require(message.target in (None, self._main), message)
                _require_frame(message.frame, self.from_worker)
            case messages.BusActivateWorkerMessage():
                _require(self._has_call() and message.target in self._transfers, message)
            case messages.BusDeactivateWorkerMessage():
                _require(message.target == self._worker, message)
            case messages.BusTTSSpeakMessage():
                _require(self._has_call() and message.target == self._main, message)
            case messages.BusEndMessage():
                _require(self._has_call(), message)
            case messages.BusFlushProgressMessage():
                _require(message.target is not None, message)
            case BusReadingMessage():
                pass
            case _ if isinstance(message, ANSWERING):
                # Of a job that was cancelled meanwhile, the answer is only late.
                known = message.job_id in self._standing.jobs_of(self._worker)
                _require(message.target is not None, message)
                if not known:
                    raise Refused("an answer to a job that nobody waits for")
            case _ if isinstance(message, ASKING):
                _require(message.target in self._asks, message)
            case _:
                _require(False, message)

    def _has_call(self) -> bool:
        return self._standing.holder == self._worker


class WorkersDoor:
    """The rules where the worker is: what the caller's end may tell it."""

    def __init__(self, worker: str, *, main: str) -> None:
        """Pin the names.

        Args:
            worker: Who is here.
            main: The main worker's name, at the other end.
        """
        self._worker = worker
        self._main = main

    def lets_out(self, message: BusMessage) -> bool:
        """Say whether the other end would take a message; the rest is this process's alone."""
        match message:
            case messages.BusFrameMessage():
                return type(message.frame) in FROM_WORKER
            case messages.BusEndMessage() | BusReadingMessage() | messages.BusTTSSpeakMessage():
                return True
            case messages.BusFlushProgressMessage():
                return message.target is not None
            case _:
                return isinstance(message, (*GIVING, *ANSWERING, *ASKING))

    def let_in(self, message: BusMessage) -> None:
        """Let in what the worker may be told.

        Raises:
            Refused: It may not.
        """
        if message.source == self._worker:
            raise Refused("it was said in the name of the worker that is here")
        if isinstance(message, messages.BusFrameMessage):
            _require(message.source == self._main, message)
            _require_frame(message.frame, TO_WORKER)
        _require(_is_for_worker(message, self._worker, self._main), message)


def _is_for_worker(message: BusMessage, worker: str, main: str) -> bool:
    if isinstance(message, messages.BusFrameMessage):
        mine = message.target in (None, worker) and message.source == main
        return mine and type(message.frame) in TO_WORKER
    allowed = (*GIVING, *ASKING, *ANSWERING, messages.BusFlushProgressMessage)
    return message.target == worker and isinstance(message, allowed)


def _require_frame(frame: frames.Frame, allowed: Collection[type]) -> None:
    if type(frame) not in allowed:
        raise Refused(f"a {type(frame).__name__} may not cross this way")


def _require(holds: bool, message: BusMessage) -> None:
    if not holds:
        raise Refused(f"a {type(message).__name__} that its sender may not send")
