"""A call's trace where its main worker is: the call, its turns, and who was given it in one.

Imported only while tracing is on.
"""

import time
from collections.abc import Callable

from opentelemetry import context as otel
from opentelemetry.context import Context
from opentelemetry.trace import Span
from pipecat.frames.frames import (
    BotStoppedSpeakingFrame,
    Frame,
    FunctionCallResultFrame,
    LLMContextFrame,
    LLMFullResponseEndFrame,
    LLMMessagesAppendFrame,
    UserStartedSpeakingFrame,
    UserStoppedSpeakingFrame,
)
from pipecat.processors.frame_processor import FrameProcessor

from pipecat_workers_cli.tracing.spans import WHOSE, WorkerTrace, fail, ids, start, traceparent
from pipecat_workers_cli.traffic.entry import Entry
from pipecat_workers_cli.wire.trace import carry

OF_AN_ANSWER = (BotStoppedSpeakingFrame, FunctionCallResultFrame, LLMFullResponseEndFrame)


class CallTrace:
    """The spans of a call that its workers' hang from.

    Attributes:
        main: The main worker's part.
        ids: Of the call's own span, as log lines have them.
    """

    def __init__(self, call: str, *, recipe: str, main: str) -> None:
        """Begin with the call.

        Args:
            call: Its id.
            recipe: The recipe's name.
            main: The main worker's.
        """
        root = otel.set_value(WHOSE, (call, ""), Context())
        self._span = start(
            f"invoke_workflow {recipe}",
            root,
            kind="call",
            operation_name="invoke_workflow",
            workflow_name=recipe,
        )
        self._call = call
        self.ids = ids(self._span.get_span_context())
        self.main = WorkerTrace(call, main, self._span.get_span_context())
        self._turn: Span | None = None
        self._handoff: Span | None = None
        self._turns = 0
        self._touched_ns = 0
        self._speaking = False

    def worker(self, name: str) -> WorkerTrace:
        """Return the part of a worker that runs beside the main one."""
        return WorkerTrace(self._call, name, self._span.get_span_context())

    def follow(self, entrance: FrameProcessor, exit: FrameProcessor) -> None:
        """Tell turns by the frames of the main worker's two aggregators.

        In their pipeline and not by an observer, which hears of a frame when what comes of it
        may be on its way already.

        Args:
            entrance: Takes what the caller says.
            exit: Takes what is answered.
        """

        async def on_taken(_processor: FrameProcessor, frame: Frame) -> None:
            if isinstance(frame, LLMMessagesAppendFrame):
                self.begin_turn()

        async def on_pushed(_processor: FrameProcessor, frame: Frame) -> None:
            if isinstance(frame, UserStartedSpeakingFrame):
                if not self._speaking:  # it is pushed both ways
                    self.begin_turn()
                self._speaking = True
            elif isinstance(frame, UserStoppedSpeakingFrame):
                self._speaking = False

        async def on_answered(_processor: FrameProcessor, frame: Frame) -> None:
            if isinstance(frame, OF_AN_ANSWER):
                self._touched_ns = time.time_ns()

        entrance.add_event_handler("on_before_process_frame", on_taken)
        entrance.add_event_handler("on_before_push_frame", on_pushed)
        exit.add_event_handler("on_before_process_frame", on_answered)

    def begin_turn(self) -> None:
        """Begin one of the caller's turns; the one before is over."""
        self._turns += 1
        self._open_turn(self._turns)

    def begin_opening(self) -> None:
        """Begin what is said before the caller says anything: turn 0."""
        if self._turn is None:
            self._open_turn(0)

    def _open_turn(self, number: int) -> None:
        self._end_turn()
        context = self.main.under(self._span.get_span_context())
        self._turn = start("turn", context, kind="turn")
        self._turn.set_attribute("pmw.turn.number", number)
        self._touched_ns = 0
        self.main.hang(self._turn.get_span_context())

    def _end_turn(self) -> None:
        """End the turn and its handoff, when the last of its answer was said."""
        at = self._touched_ns or None
        for span in (self._handoff, self._turn):
            if span is not None:
                span.end(at)
        self._turn = self._handoff = None

    def hand_over(self, source: str, target: str) -> None:
        """Note that an agent gave the call to another; what that one says now is part of it."""
        if self._handoff is not None:
            self._handoff.end()
        above = self._turn or self._span
        self._handoff = start(
            f"invoke_agent {target}",
            self.main.under(above.get_span_context()),
            kind="handoff",
            operation_name="invoke_agent",
            agent_name=target,
        )
        self._handoff.set_attribute("pmw.source", source)
        self.main.hang(self._handoff.get_span_context())

    def stamp(self, frame: LLMContextFrame) -> None:
        """Let an agent know of what its answer will be part."""
        now = self._handoff or self._turn or self._span
        carry(frame, traceparent(now.get_span_context()))

    def telling(self, emit: Callable[[Entry], None]) -> Callable[[Entry], None]:
        """Return what takes an entry of the call as `emit` does, and looks at it before."""

        def told(entry: Entry) -> None:
            self._note(entry)
            emit(entry)

        return told

    def _note(self, entry: Entry) -> None:
        turn = self._turn
        if turn is None:
            return
        if entry.event == "bot" and entry.latency_ms is not None:
            turn.set_attribute("pmw.turn.latency_ms", entry.latency_ms)
            for part, took_ms in (entry.parts or {}).items():
                turn.set_attribute(f"pmw.turn.parts.{part}", took_ms)
        elif entry.event == "error":
            fail(turn, "error")

    def close(self) -> None:
        """End what is open; the call is over."""
        self.main.close()
        self._end_turn()
        self._span.end()
