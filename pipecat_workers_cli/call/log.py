"""What happened in a call, told as entries, and whether the last turn has been answered."""

import asyncio
import time
from collections.abc import Callable
from typing import Any

from pipecat.bus import (
    BusActivateWorkerMessage,
    BusEndMessage,
    BusJobCancelMessage,
    BusJobRequestMessage,
    BusJobResponseMessage,
    BusJobResponseUrgentMessage,
    BusJobStreamDataMessage,
    BusJobStreamEndMessage,
    BusJobUpdateMessage,
    BusJobUpdateUrgentMessage,
    BusMessage,
)
from pipecat.frames.frames import (
    BotStartedSpeakingFrame,
    BotStoppedSpeakingFrame,
    ErrorFrame,
    Frame,
    FunctionCallCancelFrame,
    FunctionCallInProgressFrame,
    FunctionCallResultFrame,
    InterruptionFrame,
    LLMContextAssistantTurnFrame,
    LLMContextUserTurnFrame,
    LLMFullResponseEndFrame,
    LLMFullResponseStartFrame,
    TTSSpeakFrame,
)
from pipecat.observers.base_observer import BaseObserver, FramePushed
from pipecat.pipeline.job_context import JobStatus
from pipecat.processors.frame_processor import FrameDirection
from pipecat.processors.frameworks.rtvi.frames import RTVISendTextFrame

from pipecat_workers_cli.logs import redact
from pipecat_workers_cli.recipe.names import END, TRANSFER
from pipecat_workers_cli.traffic.entry import Entry
from pipecat_workers_cli.traffic.jobs import STATES, JobState
from pipecat_workers_cli.workers.jobs import ANSWER, COST, ERROR, TOOL_CALL
from pipecat_workers_cli.workers.main import FROM_WORKER


class CallLog(BaseObserver):
    """Watches the main worker's pipeline and bus, and tells each event once, in order.

    It reads frames from one queue, so what it tells keeps the order in which frames were
    first pushed.

    Attributes:
        failure: What the last error since the latest turn said; an answer that it cut short
            does not take it back.
    """

    def __init__(
        self,
        call: str,
        *,
        main: str,
        emit: Callable[[Entry], None],
    ) -> None:
        """Begin a call's log.

        Args:
            call: The call's id.
            main: The main worker's name: activations that it sends are no transfers.
            emit: Told every entry; must not block.
        """
        super().__init__(observe_every_push=False)
        self._call = call
        self._main = main
        self._emit = emit
        self._began = time.monotonic()
        self._speaker: str | None = None
        self._turns = 0
        self.failure: str | None = None
        self._waits = _Waits()
        self._jobs: set[tuple[str, str]] = set()

    def tell(self, **fields: object) -> None:
        """Emit an entry of this call, at this moment."""
        at_ms = round((time.monotonic() - self._began) * 1000)
        self._emit(Entry(call=self._call, at_ms=at_ms, **fields))  # type: ignore[arg-type]

    async def settled(self) -> None:
        """Wait until the latest turn, or the opening, has been answered to the end."""
        await self._waits.quiet.wait()

    def expect_opening(self) -> None:
        """Count the call as unsettled until somebody has spoken."""
        self._waits.begin_turn()

    def expect_turn(self) -> None:
        """Count the call as unsettled until the turn about to be sent has been answered."""
        self.failure = None
        self._waits.send_turn()

    def on_bus(self, message: BusMessage) -> None:
        """Take note of a message on the bus: who gets the call, and that it ends."""
        if isinstance(message, BusActivateWorkerMessage):
            if message.source != self._main:
                metadata = (message.args or {}).get("metadata") or {}
                self.tell(
                    event="transfer",
                    worker=message.source,
                    target=message.target,
                    reason=metadata.get("reason"),
                )
                self._waits.handed_over()
        elif isinstance(message, BusEndMessage):
            self._waits.ended()
        else:
            self._follow_job(message)

    async def on_push_frame(self, data: FramePushed) -> None:
        """Turn a frame into an entry, if it is one of those that tell something."""
        frame = data.frame
        self._waits.note(frame)
        if isinstance(frame, LLMFullResponseStartFrame):
            self._speaker = frame.metadata.get(FROM_WORKER, self._main)
        if isinstance(frame, RTVISendTextFrame):
            self.tell(event="user", text=frame.text)
        elif isinstance(frame, ErrorFrame):
            self._tell_error(frame)
        elif data.direction is FrameDirection.DOWNSTREAM:  # the other half of a broadcast
            self._tell_downstream(frame)

    def _tell_downstream(self, frame: Frame) -> None:
        if isinstance(frame, LLMContextUserTurnFrame):
            self.tell(event="user", text=frame.text)
        elif isinstance(frame, LLMContextAssistantTurnFrame):
            self._turns += 1
            self.tell(event="bot", worker=self._speaker, text=frame.text.strip(), turn=self._turns)
            self._waits.answered()
        elif isinstance(frame, FunctionCallInProgressFrame):
            self.tell(
                event="tool",
                worker=frame.metadata.get(FROM_WORKER, self._main),
                name=frame.function_name,
                args=dict(frame.arguments),
            )
        elif isinstance(frame, TTSSpeakFrame):  # said without a turn, such as a filler
            self.tell(
                event="bot", worker=frame.metadata.get(FROM_WORKER, self._main), text=frame.text
            )

    def _follow_job(self, message: BusMessage) -> None:
        match message:
            case BusJobRequestMessage():
                self._tell_job(message.job_id, message.target, "started", args=message.payload)
            case BusJobUpdateMessage() | BusJobUpdateUrgentMessage():
                self._tell_update(message.job_id, message.source, message.update or {})
            case BusJobStreamDataMessage():
                self._tell_job(message.job_id, message.source, "update")
            case BusJobResponseMessage() | BusJobResponseUrgentMessage():
                told = message.response or {}
                text = told.get(ANSWER) or told.get(ERROR)
                state, cost = STATES[JobStatus(message.status)], told.get(COST)
                self._tell_job(message.job_id, message.source, state, text=text, cost_usd=cost)
            case BusJobStreamEndMessage():
                self._tell_job(message.job_id, message.source, "completed")
            case BusJobCancelMessage():
                state = "timeout" if message.reason == "timeout" else "cancelled"
                self._tell_job(message.job_id, message.target, state)
            case _:
                return

    def _tell_update(self, id: str, worker: str, update: dict[str, Any]) -> None:
        if update.get("type") != TOOL_CALL:
            self._tell_job(id, worker, "update", text=update.get("text"))
        elif "result" not in update:
            self.tell(event="tool", worker=worker, name=update.get("name"), args=update.get("args"))

    def _tell_job(self, id: str, worker: str | None, state: JobState, **more: Any) -> None:
        """Tell of a job's state, but of one end only: a cancelled worker still answers."""
        key = (id, worker or "")
        if state == "started":
            self._jobs.add(key)
        elif key not in self._jobs:
            return
        elif state != "update":
            self._jobs.discard(key)
        self.tell(event="job", id=id, name=worker, state=state, **more)

    def _tell_error(self, frame: ErrorFrame) -> None:
        source = type(frame.processor).__name__.lstrip("_") if frame.processor else "pipeline"
        self.failure = redact(f"{source}: {frame.error}")
        worker = frame.metadata.get(FROM_WORKER, self._main)
        self.tell(event="error", worker=worker, text=self.failure)
        self._waits.answered()


class _Waits:
    """What a turn still waits for: an answer, a response, tools, a handover, speech."""

    def __init__(self) -> None:
        self.quiet = asyncio.Event()
        self._answered = False
        self._underway = 0
        self._responses = 0
        self._tools: dict[str, str] = {}
        self._run_owed = False
        self._ending = False
        self._speaking = False

    def send_turn(self) -> None:
        self._underway += 1
        self.begin_turn()

    def begin_turn(self) -> None:
        self._answered = False
        self.quiet.clear()

    def answered(self) -> None:
        self._answered = True
        self._settle()

    def handed_over(self) -> None:
        self._answered = False
        self._run_owed = True
        self._settle()

    def ended(self) -> None:
        self.quiet.set()

    def note(self, frame: Frame) -> None:
        match frame:
            case RTVISendTextFrame():
                self._underway = max(0, self._underway - 1)
                self.begin_turn()
            case LLMContextUserTurnFrame():
                self.begin_turn()
            case InterruptionFrame():
                self._responses = 0
                self._run_owed = self._ending = False
            case LLMFullResponseStartFrame():
                self._responses += 1
                self._run_owed = False
            case LLMFullResponseEndFrame():
                self._responses = max(0, self._responses - 1)
            case FunctionCallInProgressFrame():
                self._tools[frame.tool_call_id] = frame.function_name
            case FunctionCallResultFrame():
                self._finish_tool(frame)
            case FunctionCallCancelFrame():
                self._tools.pop(frame.tool_call_id, None)
            case BotStartedSpeakingFrame():
                self._speaking = True
            case BotStoppedSpeakingFrame():
                self._speaking = False
            case _:
                return
        self._settle()

    def _finish_tool(self, frame: FunctionCallResultFrame) -> None:
        name = self._tools.pop(frame.tool_call_id, None)
        runs = frame.properties is None or frame.properties.run_llm is not False
        # After a transfer another agent speaks; after a goodbye the call ends.
        self._run_owed = self._run_owed or name == TRANSFER or (name is not None and runs)
        self._ending = self._ending or name == END

    def _settle(self) -> None:
        waiting = (
            self._underway,
            self._responses,
            self._tools,
            self._run_owed,
            self._ending,
            self._speaking,
        )
        if self._answered and not any(waiting):
            self.quiet.set()
        else:
            self.quiet.clear()
