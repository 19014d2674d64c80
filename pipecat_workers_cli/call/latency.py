"""How long each answer took, counted from the caller's words.

In words an answer takes from the turn's arrival to its first text; spoken, from the end of the
caller's speech to the first sound. Every answer to a turn counts from the same words: what
comes after a transfer or a tool too, whether or not something was said before it. A filler and
an answer that no words of the caller's asked for, such as an opening, have no latency; an
answer that the caller cut short has the one it had by then.
"""

import time
from collections import deque
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from typing import Any

from pipecat.bus import (
    BusActivateWorkerMessage,
    BusJobCancelMessage,
    BusJobRequestMessage,
    BusJobResponseMessage,
    BusJobResponseUrgentMessage,
    BusJobStreamEndMessage,
    BusMessage,
)
from pipecat.frames.frames import (
    BotStartedSpeakingFrame,
    BotStoppedSpeakingFrame,
    Frame,
    FunctionCallCancelFrame,
    FunctionCallInProgressFrame,
    FunctionCallResultFrame,
    InputTransportMessageFrame,
    LLMContextFrame,
    LLMContextUserTurnFrame,
    LLMFullResponseStartFrame,
    LLMTextFrame,
    StartFrame,
    TranscriptionFrame,
    TTSAudioRawFrame,
    TTSSpeakFrame,
    TTSStartedFrame,
    VADUserStoppedSpeakingFrame,
)
from pipecat.observers.base_observer import FramePushed
from pipecat.processors.aggregators.llm_response_universal import LLMAssistantAggregator
from pipecat.processors.frame_processor import FrameDirection
from pipecat.processors.frameworks.rtvi.frames import RTVISendTextFrame

from pipecat_workers_cli.call.parts import Latency, Moment, Step, reckon
from pipecat_workers_cli.errors import PmwError
from pipecat_workers_cli.recipe.names import TRANSFER
from pipecat_workers_cli.traffic.entry import Entry
from pipecat_workers_cli.traffic.tap import Tap
from pipecat_workers_cli.workers.main import FROM_WORKER

MOMENTS = 500  # of one turn: a hundred tools; what comes after them counts to the last part
ARRIVALS = 16  # texts that wait for their turn; people don't type as fast as that
SECOND = 1_000_000_000  # nanoseconds

OF_THE_CALLER = (
    StartFrame,
    InputTransportMessageFrame,
    RTVISendTextFrame,
    VADUserStoppedSpeakingFrame,
    TranscriptionFrame,
    LLMContextUserTurnFrame,
)
OF_AN_ANSWER = (
    LLMContextFrame,
    LLMFullResponseStartFrame,
    LLMTextFrame,
    FunctionCallInProgressFrame,
    FunctionCallResultFrame,
    FunctionCallCancelFrame,
)
OF_A_VOICE = (
    TTSSpeakFrame,
    TTSStartedFrame,
    TTSAudioRawFrame,
    BotStartedSpeakingFrame,
    BotStoppedSpeakingFrame,
)


@dataclass(slots=True)
class _Answer:
    """How far one response of an LLM got; moments in nanoseconds, None before they come."""

    text: int | None = None
    voice: str | None = None
    audio: int | None = None
    sound: int | None = None

    @property
    def reached_caller(self) -> int | None:
        """When the caller had something of it: the best that is known."""
        known = (at for at in (self.sound, self.audio, self.text) if at is not None)
        return next(known, None)


@dataclass(slots=True)
class _Turn:
    """One turn of the caller's, until the next.

    Attributes:
        moments: What happened since the caller's words.
        answers: Responses that were not told of yet.
        over_bus: Whether the LLM that answers is an agent's.
        link: Seconds that a link to that agent takes, there and back.
        asked: Whether an LLM was given the turn.
        begun: Whether one has begun to answer.
        goes_on: Whether a tool or a transfer makes an LLM speak once more.
    """

    moments: list[Moment]
    answers: deque[_Answer] = field(default_factory=deque)
    over_bus: bool = False
    link: float = 0.0
    asked: bool = False
    begun: bool = False
    goes_on: bool = False


class TurnWatch:
    """Follows the main worker's frames and bus, and knows how long each answer took.

    It is fed by whoever reads them anyway: another observer would be another queue and one
    more switch of tasks for each frame.

    Attributes:
        link_to: Tells the seconds that a link to a worker takes, there and back; 0 without one.
    """

    def __init__(self) -> None:
        """Begin a call; nobody has said anything."""
        self.link_to: Callable[[str], float] = lambda _worker: 0.0
        self._zero = 0  # of the pipeline's clock, on that of `time.monotonic_ns`
        self._turn: _Turn | None = None
        self._arrivals: deque[int] = deque(maxlen=ARRIVALS)
        self._speech: list[Moment] = []
        self._fillers = 0

    def see(self, pushed: FramePushed) -> None:
        """Take note of a frame's first push."""
        about = _about(type(pushed.frame))
        at = self._zero + pushed.timestamp
        if about is OF_AN_ANSWER:
            self._note_answer(pushed, at)
        elif about is OF_A_VOICE:
            self._note_voice(pushed, at)
        elif about is OF_THE_CALLER:
            self._note_caller(pushed, at)

    def on_bus(self, message: BusMessage) -> None:
        """Take note of a message between workers, at this moment."""
        now = time.monotonic_ns()
        match message:
            case BusActivateWorkerMessage():
                self._mark(now, Step.LEAVING)
                if self._turn is not None:
                    self._turn.goes_on = True
            case BusJobRequestMessage():
                self._mark(now, Step.JOB, f"{message.job_id} {message.target}")
            case BusJobCancelMessage():
                self._mark(now, Step.JOB_DONE, f"{message.job_id} {message.target}")
            case BusJobResponseMessage() | BusJobResponseUrgentMessage() | BusJobStreamEndMessage():
                self._mark(now, Step.JOB_DONE, f"{message.job_id} {message.source}")
            case _:
                return

    def answered(self) -> Latency | None:
        """Tell how long the answer took that has just been given; None if no turn asked for it.

        To be called once for each answer, in their order.
        """
        turn = self._turn
        while turn is not None and turn.answers:
            reached = turn.answers.popleft().reached_caller
            if reached is not None:
                latency = reckon(turn.moments, reached, over_bus=turn.over_bus, link=turn.link)
                self._mark(reached, Step.GIVEN)
                return latency
        return None

    def _mark(self, at: int, step: Step, id: str = "") -> None:
        if self._turn is not None and len(self._turn.moments) < MOMENTS:
            self._turn.moments.append(Moment(at, step, id))

    def _note_caller(self, pushed: FramePushed, at: int) -> None:
        frame = pushed.frame
        downstream = pushed.direction is FrameDirection.DOWNSTREAM  # not a broadcast's other half
        match frame:
            case StartFrame():
                self._zero = clock_zero(pushed)
            case InputTransportMessageFrame() if downstream and _is_turn(frame.message):
                self._arrivals.append(at)
            case RTVISendTextFrame():
                came = self._arrivals.popleft() if self._arrivals else at
                self._turn = _Turn([Moment(came, Step.COME)])
            case VADUserStoppedSpeakingFrame():
                fell_silent = at - round(frame.stop_secs * SECOND)
                self._speech = [Moment(fell_silent, Step.COME), Moment(at, Step.STOPPED)]
            case TranscriptionFrame() if self._speech:
                self._speech[2:] = [Moment(at, Step.HEARD)]
            case LLMContextUserTurnFrame() if downstream:
                came, *heard = self._speech or [Moment(at, Step.COME)]
                # Words that were there before the silence was sure were not waited for.
                self._turn = _Turn([came, *(heard if len(heard) > 1 else ())])
                self._speech = []
            case _:
                return

    def _note_answer(self, pushed: FramePushed, at: int) -> None:
        frame, turn = pushed.frame, self._turn
        if turn is None:
            return
        match frame:
            case LLMTextFrame():
                if turn.answers and turn.answers[-1].text is None and frame.text.strip():
                    turn.answers[-1].text = at
            case LLMContextFrame() if not _has_been_answered(pushed):
                turn.asked = True
                self._mark(at, Step.ASKED)
            case LLMFullResponseStartFrame() if turn.asked:
                self._note_response(turn, frame, at)
            case FunctionCallInProgressFrame():
                turn.goes_on = True
                self._mark(at, Step.TOOL, frame.tool_call_id)
                if frame.function_name == TRANSFER:
                    self._mark(at, Step.LEAVING)
            case FunctionCallResultFrame() | FunctionCallCancelFrame():
                self._mark(at, Step.TOOL_DONE, frame.tool_call_id)
            case _:
                return

    def _note_response(self, turn: _Turn, frame: Frame, at: int) -> None:
        if turn.begun and not turn.goes_on:
            self._turn = None  # the turn has been answered; this is of the agent's own accord
            return
        turn.begun, turn.goes_on = True, False
        agent = frame.metadata.get(FROM_WORKER)
        turn.over_bus, turn.link = agent is not None, self.link_to(agent) if agent else 0.0
        turn.answers.append(_Answer())
        self._mark(at, Step.BEGUN)

    def _note_voice(self, pushed: FramePushed, at: int) -> None:
        if pushed.direction is not FrameDirection.DOWNSTREAM:
            return
        match pushed.frame:
            case TTSSpeakFrame():
                self._fillers += 1
            case TTSStartedFrame() if self._fillers:
                self._fillers -= 1
            case TTSStartedFrame(context_id=voice):
                if answer := self._first(lambda one: one.voice is None):
                    answer.voice = voice or ""
                    self._mark(at, Step.SPEAKING)
            case TTSAudioRawFrame(context_id=voice):
                if answer := self._first(lambda one: one.voice == (voice or "")):
                    self._note_audio(answer, at)
            case BotStoppedSpeakingFrame():
                self._mark(at, Step.SAID)
            case BotStartedSpeakingFrame():
                self._mark(at, Step.SAYING)
                if answer := self._first(lambda one: one.sound is None and one.audio is not None):
                    answer.sound = at
            case _:
                return

    def _note_audio(self, answer: _Answer, at: int) -> None:
        if answer.audio is None:
            answer.audio = at
            self._mark(at, Step.SOUND)

    def _first(self, fits: Callable[[_Answer], bool]) -> _Answer | None:
        answers = self._turn.answers if self._turn is not None else ()
        return next(filter(fits, answers), None)


@cache
def _about(kind: type[Frame]) -> tuple[type[Frame], ...] | None:
    """Return what a kind of frame is about; most say nothing of a turn, audio above all."""
    groups = (OF_AN_ANSWER, OF_A_VOICE, OF_THE_CALLER)
    return next((group for group in groups if issubclass(kind, group)), None)


def clock_zero(pushed: FramePushed) -> int:
    """Return where the pipeline's clock began, in nanoseconds of `time.monotonic_ns`."""
    return time.monotonic_ns() - pushed.source.get_clock().get_time()


def _is_turn(message: Any) -> bool:
    return isinstance(message, dict) and message.get("type") == "send-text"


def _has_been_answered(pushed: FramePushed) -> bool:
    """Tell a context that an assistant aggregator sends on from one that an LLM is given."""
    sent_on = pushed.direction is FrameDirection.DOWNSTREAM
    return sent_on and isinstance(pushed.source, LLMAssistantAggregator)


@contextmanager
def turn_limit(tap: Tap, most_ms: int | None) -> Generator[None]:
    """Fail at the block's end if an answer took longer than `most_ms`; None allows any.

    The calls run to their end, so that all of them can be looked at. A session that is
    interrupted fails too: that is how people end one.

    Raises:
        PmwError: The slowest answer was too slow.
    """
    slowest: Entry | None = None

    def note(entry: Entry) -> None:
        nonlocal slowest
        if (entry.latency_ms or 0) > max(most_ms or 0, (slowest and slowest.latency_ms) or 0):
            slowest = entry

    if most_ms is None:
        yield
        return
    unsubscribe = tap.subscribe(note)
    try:
        yield
    except KeyboardInterrupt:
        if slowest is not None:
            raise _too_slow(slowest, most_ms) from None
        raise
    finally:
        unsubscribe()
    if slowest is not None:
        raise _too_slow(slowest, most_ms)


def _too_slow(entry: Entry, most_ms: int) -> PmwError:
    parts = entry.parts or {}
    largest = max(parts, key=lambda name: parts[name], default="")
    why = f", {parts[largest]:.0f} ms of it {largest}" if largest else ""
    return PmwError(
        f"answer {entry.turn}, {entry.worker}'s, took {entry.latency_ms:.0f} ms{why}",
        mend=f"make that part faster, or allow more than --max-turn-ms {most_ms}",
    )
