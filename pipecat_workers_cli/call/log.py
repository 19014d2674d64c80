"""What happened in a call, told as entries, and whether the last turn has been answered."""

import json
import time
from collections.abc import Callable
from typing import Any

from pipecat.adapters.llm.schemas.tools_schema import ToolsSchema
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
    ErrorFrame,
    Frame,
    FunctionCallCancelFrame,
    FunctionCallInProgressFrame,
    FunctionCallResultFrame,
    LLMContextAssistantTurnFrame,
    LLMContextFrame,
    LLMContextUserTurnFrame,
    LLMFullResponseStartFrame,
    TTSSpeakFrame,
)
from pipecat.observers.base_observer import BaseObserver, FramePushed
from pipecat.pipeline.job_context import JobStatus
from pipecat.processors.aggregators.llm_context import LLMContext
from pipecat.processors.aggregators.llm_response_universal import LLMUserAggregator
from pipecat.processors.frame_processor import FrameDirection
from pipecat.processors.frameworks.rtvi.frames import RTVISendTextFrame
from pipecat.utils.errors import ErrorCategory

from pipecat_workers_cli.call.latency import TurnWatch
from pipecat_workers_cli.call.waits import Waits
from pipecat_workers_cli.logs import redact
from pipecat_workers_cli.traffic.entry import Entry
from pipecat_workers_cli.traffic.jobs import STATES, JobState
from pipecat_workers_cli.traffic.setup_file import plain
from pipecat_workers_cli.workers.jobs import ANSWER, COST, ERROR, TOOL_CALL
from pipecat_workers_cli.workers.main import FROM_WORKER


class CallLog(BaseObserver):
    """Watches the main worker's pipeline and bus, and tells each event once, in order.

    It reads frames from one queue, so what it tells keeps the order in which frames were
    first pushed.

    Attributes:
        began: When the call began, in seconds of `time.monotonic`.
        failure: What the last error since the latest turn said; an answer that it cut short
            does not take it back.
        code_failed: Whether it came from code of the user's own, and not from a service.
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
        self.began = time.monotonic()
        self._speaker: str | None = None
        self._turns = 0
        self.failure: str | None = None
        self.code_failed = False
        self._waits = Waits()
        self._watch = TurnWatch()
        self._agent: str | None = None
        self._jobs: dict[tuple[str, str], float] = {}
        self._tools: dict[str, float] = {}
        self._given: list[Any] = []

    @property
    def mend(self) -> str:
        """What to do about the failure."""
        if self.code_failed:
            return "mend its code; see where it failed with -v"
        return "check keys and network: pmw doctor; or see -v"

    def tell(self, **fields: object) -> None:
        """Emit an entry of this call, at this moment."""
        at_ms = round((time.monotonic() - self.began) * 1000)
        self._emit(Entry(call=self._call, at_ms=at_ms, **fields))  # type: ignore[arg-type]

    async def settled(self) -> None:
        """Wait until the latest turn, or the opening, has been answered to the end."""
        await self._waits.quiet.wait()

    async def heard(self) -> None:
        """Wait until the turn that was sent last has arrived; spoken, until it is words."""
        await self._waits.arrived.wait()

    def expect_opening(self) -> None:
        """Count the call as unsettled until somebody has spoken, unless it failed already."""
        if self.failure is None:
            self._waits.begin_turn()

    def expect_turn(self) -> None:
        """Count the call as unsettled until the turn about to be sent has been answered."""
        self.failure = None
        self._waits.send_turn()

    def link_by(self, link_to: Callable[[str], float]) -> None:
        """Have the parts of answers tell what links take.

        Args:
            link_to: Tells the seconds that a link to a worker takes, there and back.
        """
        self._watch.link_to = link_to

    def on_bus(self, message: BusMessage) -> None:
        """Take note of a message on the bus: who gets the call, and that it ends."""
        self._watch.on_bus(message)
        if isinstance(message, BusActivateWorkerMessage):
            self._agent = message.target
            if message.source != self._main:
                metadata = (message.args or {}).get("metadata") or {}
                self.tell(
                    event="transfer",
                    worker=message.source,
                    target=message.target,
                    reason=_text(metadata.get("reason")),
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
        self._watch.see(data)
        if isinstance(frame, LLMFullResponseStartFrame):
            self._speaker = frame.metadata.get(FROM_WORKER, self._main)
        if isinstance(frame, RTVISendTextFrame):
            self.tell(event="user", text=frame.text)
        elif isinstance(frame, ErrorFrame):
            self._tell_error(frame)
        elif isinstance(frame, LLMContextFrame):
            # The assistant's half also pushes it downstream, once an answer is in it.
            upstream = data.direction is FrameDirection.UPSTREAM
            if upstream or isinstance(data.source, LLMUserAggregator):
                self._tell_context(frame.context)
        elif data.direction is FrameDirection.DOWNSTREAM:  # the other half of a broadcast
            self._tell_downstream(frame)

    def _tell_downstream(self, frame: Frame) -> None:
        if isinstance(frame, LLMContextUserTurnFrame):
            self.tell(event="user", text=frame.text)
        elif isinstance(frame, LLMContextAssistantTurnFrame):
            self._tell_answer(frame)
        elif isinstance(frame, FunctionCallResultFrame | FunctionCallCancelFrame):
            self._tell_tool_end(frame)
        elif isinstance(frame, FunctionCallInProgressFrame):
            self._tools[frame.tool_call_id] = time.monotonic()
            self.tell(
                event="tool",
                worker=frame.metadata.get(FROM_WORKER, self._main),
                name=plain(frame.function_name),
                args=plain(frame.arguments),
                id=plain(frame.tool_call_id),
            )
        elif isinstance(frame, TTSSpeakFrame):  # said without a turn, such as a filler
            self.tell(
                event="bot", worker=frame.metadata.get(FROM_WORKER, self._main), text=frame.text
            )

    def _tell_answer(self, frame: LLMContextAssistantTurnFrame) -> None:
        self._turns += 1
        took = self._watch.answered()
        self.tell(
            event="bot",
            worker=self._speaker,
            text=frame.text.strip(),
            turn=self._turns,
            latency_ms=took.ms if took else None,
            parts=took.parts if took else None,
        )
        self._waits.answered()

    def _tell_tool_end(self, frame: FunctionCallResultFrame | FunctionCallCancelFrame) -> None:
        began = self._tools.pop(frame.tool_call_id, None)
        if began is None:
            return
        ended = isinstance(frame, FunctionCallResultFrame)
        self.tell(
            event="tool",
            worker=frame.metadata.get(FROM_WORKER, self._main),
            name=plain(frame.function_name),
            id=plain(frame.tool_call_id),
            state="completed" if ended else "cancelled",
            result=plain(frame.result) if ended else None,
            took_ms=_since(began),
        )

    def _tell_context(self, context: LLMContext) -> None:
        """Tell what an LLM is given, as far as it is not what one was given before."""
        messages = [plain(message) for message in context.get_messages()]
        same = 0
        for old, new in zip(self._given, messages, strict=False):
            if old != new:
                break
            same += 1
        self._given = messages
        tools = context.tools
        self.tell(
            event="context",
            worker=self._agent or self._main,
            payload={
                "of": len(messages),
                "since": same,
                "messages": messages[same:],
                "tools": [schema.name for schema in tools.standard_tools]
                if isinstance(tools, ToolsSchema)
                else [],
            },
        )

    def _follow_job(self, message: BusMessage) -> None:
        match message:
            case BusJobRequestMessage():
                given = {"worker": message.source, "args": _args(message.payload)}
                self._tell_job(message.job_id, message.target, "started", **given)
            case BusJobUpdateMessage() | BusJobUpdateUrgentMessage():
                self._tell_update(message.job_id, message.source, _table(message.update))
            case BusJobStreamDataMessage():
                self._tell_job(message.job_id, message.source, "update")
            case BusJobResponseMessage() | BusJobResponseUrgentMessage():
                told = _table(message.response)
                text = _text(told.get(ANSWER) or told.get(ERROR))
                state, cost = STATES[JobStatus(message.status)], told.get(COST)
                cost = cost if isinstance(cost, int | float) else None
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
            self._tell_job(id, worker, "update", text=_text(update.get("text")))
            return
        call_id = str(update.get("tool_call_id"))
        told = {"worker": worker, "name": _text(update.get("name")), "id": call_id}
        if "result" not in update:
            self._tools[call_id] = time.monotonic()
            self.tell(event="tool", args=_args(update.get("args")), **told)
        elif began := self._tools.pop(call_id, None):
            result = {"state": "completed", "result": plain(update["result"])}
            self.tell(event="tool", took_ms=_since(began), **told, **result)

    def _tell_job(self, id: str, name: str | None, state: JobState, **more: Any) -> None:
        """Tell of a job's state, but of one end only: a cancelled worker still answers."""
        key = (id, name or "")
        if state == "started":
            self._jobs[key] = time.monotonic()
        elif key not in self._jobs:
            return
        elif state != "update":
            more["took_ms"] = _since(self._jobs.pop(key))
        self.tell(event="job", id=id, name=name, state=state, **more)

    def _tell_error(self, frame: ErrorFrame) -> None:
        worker = frame.metadata.get(FROM_WORKER, self._main)
        self.code_failed = frame.category is ErrorCategory.APPLICATION
        # A tool is its worker's; the LLM only called it.
        service = None if self.code_failed else frame.processor
        source = type(service).__name__.lstrip("_") if service else worker
        self.failure = redact(f"{source}: {frame.error}")
        self.tell(event="error", worker=worker, text=self.failure)
        self._waits.failed()


def _since(began: float) -> float:
    return round((time.monotonic() - began) * 1000, 1)


# What follows takes any type: a worker of somebody else's may send what it likes.


def _table(value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _args(value: object) -> dict[str, Any] | None:
    return plain(value) if isinstance(value, dict) else None


def _text(value: object) -> str | None:
    if value is None or isinstance(value, str):
        return value
    return json.dumps(plain(value), ensure_ascii=False)
