"""How long an answer took, as arithmetic: moments go in, parts that sum to the whole come out."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum, auto
from itertools import pairwise
from typing import NamedTuple

MILLISECOND = 1_000_000  # nanoseconds, in which Pipecat's clock counts


class Part(StrEnum):
    """What an answer was waited for.

    Attributes:
        TURN: That the caller's turn counts as complete: in words once all that was under way
            has settled, spoken once silence and the turn's sense say so.
        STT: That speech is made words.
        BUS: That the conversation reaches an agent, and the first sign of its answer is back.
        LINK: Of that, what the way to another machine and back takes.
        LLM: An LLM's first words, or its tool call; spoken, its first sentence.
        TOOL: A tool that does its work in the agent.
        JOB: Another worker that a tool asks.
        TRANSFER: That another agent has the call.
        TTS: The first sound of a sentence.
        OUT: That this sound leaves, and what is still being said before it: a tool's result
            too waits for a filler's end.
        OTHER: Steps between processors of one pipeline.
    """

    TURN = auto()
    STT = auto()
    BUS = auto()
    LINK = auto()
    LLM = auto()
    TOOL = auto()
    JOB = auto()
    TRANSFER = auto()
    TTS = auto()
    OUT = auto()
    OTHER = auto()


class Step(StrEnum):
    """What happened at a moment of a turn: from then on something else is waited for."""

    COME = auto()  # the caller has fallen silent, or the text is here
    STOPPED = auto()  # this is sure now, and the words are yet to come
    HEARD = auto()
    ASKED = auto()  # an LLM is to answer
    BEGUN = auto()  # it has begun
    TOOL = auto()
    TOOL_DONE = auto()
    JOB = auto()
    JOB_DONE = auto()
    LEAVING = auto()  # the agent hands the call over
    SPEAKING = auto()  # a sentence is being made sound
    SOUND = auto()
    SAYING = auto()  # something is being said, such as a filler
    SAID = auto()
    GIVEN = auto()  # an answer has reached the caller; others may follow


class Moment(NamedTuple):
    """A step and when it happened, in nanoseconds; tools and jobs have ids."""

    at: int
    step: Step
    id: str = ""


@dataclass(frozen=True, slots=True)
class Latency:
    """How long an answer took.

    Attributes:
        ms: Milliseconds in all.
        parts: Milliseconds by part, those of none left out, in the order of their first
            appearance; they sum to `ms`.
    """

    ms: int
    parts: dict[str, int]


def reckon(moments: Sequence[Moment], until: int, *, over_bus: bool, link: float = 0.0) -> Latency:
    """Part the time from a turn's first moment until its answer.

    Args:
        moments: In any order: they come from the pipeline and from the bus.
        until: When the answer reached the caller, in nanoseconds; what came later is left out.
        over_bus: Whether the LLM is reached over the bus.
        link: Seconds that a link to it takes, there and back; 0 where there is none.
    """
    ordered = sorted(moments, key=lambda moment: moment.at)
    began, waiting = ordered[0].at, _Waiting(Part.BUS if over_bus else Part.OTHER)
    parts: dict[str, int] = {}
    spent = 0
    for moment, after in pairwise([*ordered, Moment(until, Step.GIVEN)]):
        waiting.take(moment)
        # Rounded at the edges, not each by itself: so the parts sum to the whole.
        edge = round((min(after.at, until) - began) / MILLISECOND)
        if edge > spent:
            part = waiting.part.value
            parts[part] = parts.get(part, 0) + edge - spent
            spent = edge
    return Latency(spent, _with_link(parts, round(link * 1000)))


def _with_link(parts: dict[str, int], link: int) -> dict[str, int]:
    """Tell what a link takes of the bus's part, which can't be less."""
    bus = parts.get(Part.BUS, 0)
    if not link or not bus:
        return parts
    split = {Part.BUS.value: max(0, bus - link), Part.LINK.value: min(bus, link)}
    told: dict[str, int] = {}
    for part, ms in parts.items():
        told.update({k: v for k, v in split.items() if v} if part == Part.BUS else {part: ms})
    return told


class _Waiting:
    """What is waited for, moment after moment."""

    def __init__(self, hop: Part) -> None:
        self._then = {
            Step.COME: Part.TURN,
            Step.STOPPED: Part.STT,
            Step.HEARD: Part.TURN,
            Step.ASKED: hop,
            Step.BEGUN: Part.LLM,
            Step.SPEAKING: Part.TTS,
            Step.SOUND: Part.OUT,
            Step.GIVEN: Part.OTHER,
        }
        self._stage = Part.TURN
        self._tools: set[str] = set()
        self._jobs: set[str] = set()
        self._leaving = False
        self._saying = False

    def take(self, moment: Moment) -> None:
        match moment.step:
            case Step.TOOL:
                self._tools.add(moment.id)
                if self._stage is Part.LLM:
                    self._stage = Part.OTHER
            case Step.TOOL_DONE:
                self._tools.discard(moment.id)
            case Step.JOB:
                self._jobs.add(moment.id)
            case Step.JOB_DONE:
                self._jobs.discard(moment.id)
            case Step.LEAVING:
                self._leaving = True
            case Step.SAYING | Step.SAID:
                self._saying = moment.step is Step.SAYING
            case step:
                self._stage = self._then[step]
                if step is Step.ASKED:
                    self._leaving = False

    @property
    def part(self) -> Part:
        if self._stage in (Part.TTS, Part.OUT):  # words said beside a tool come before it
            return self._stage
        if self._leaving:
            return Part.TRANSFER
        if self._tools:
            return Part.JOB if self._jobs else Part.TOOL
        return Part.OUT if self._saying and self._stage is Part.OTHER else self._stage
