"""The spans of a worker, jobs and tools, and of what they and its services' are part.

The spans of LLM, STT and TTS are Pipecat's own; they ask their worker's `TracingContext` for
their parent, and ours tells them. Nothing here goes by whose turn it is in the event loop but
what a tool or a job's handler does itself: with twenty calls in one loop that would mix them.

Imported only while tracing is on.
"""

from collections.abc import Generator, Mapping
from contextlib import contextmanager, nullcontext
from contextvars import ContextVar

from opentelemetry import context as otel
from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.trace import NonRecordingSpan, Span, SpanContext, StatusCode, TraceFlags
from pipecat.bus import (
    BusFrameMessage,
    BusJobCancelMessage,
    BusJobRequestMessage,
    BusJobResponseMessage,
    BusJobResponseUrgentMessage,
    BusJobStreamEndMessage,
    BusMessage,
)
from pipecat.frames.frames import LLMContextFrame
from pipecat.pipeline.job_context import JobStatus
from pipecat.utils.tracing.tracing_context import TracingContext

from pipecat_workers_cli.wire.trace import carried, carry

SCOPE = "pmw"
WHOSE = otel.create_key("pmw-whose")
"""Under which a parent's context says of which call and worker its spans are."""

ANSWERS = (BusJobResponseMessage, BusJobResponseUrgentMessage)

_inside: ContextVar[SpanContext | None] = ContextVar("pmw_inside_span", default=None)


def traceparent(span: SpanContext) -> str:
    """Return a span as W3C has it travel."""
    return f"00-{span.trace_id:032x}-{span.span_id:016x}-{span.trace_flags:02x}"


def ids_of_now() -> Mapping[str, str]:
    """Return the ids of the tool's or the job's span in which this is asked, if it is in one."""
    span = _inside.get()
    return ids(span) if span is not None else {}


def ids(span: SpanContext) -> dict[str, str]:
    """Return a span's ids as log lines have them."""
    return {"trace_id": f"{span.trace_id:032x}", "span_id": f"{span.span_id:016x}"}


def _parse(text: str) -> SpanContext | None:
    """Return the span that a `traceparent` names; the wire has checked its form."""
    _, trace_id, span_id, flags = text.split("-")
    span = SpanContext(int(trace_id, 16), int(span_id, 16), True, TraceFlags(int(flags, 16)))
    return span if span.is_valid else None


def start(name: str, context: Context, *, kind: str, **attributes: str) -> Span:
    """Begin a span.

    Args:
        name: What it is called.
        context: What it is part of.
        kind: Of ours: call, turn, handoff, job, tool.
        **attributes: By their names in the GenAI conventions, `agent_name` for
            `gen_ai.agent.name`.
    """
    told = {f"gen_ai.{name.replace('_', '.')}": value for name, value in attributes.items()}
    return trace.get_tracer(SCOPE).start_span(
        name, context=context, attributes={"pmw.kind": kind, **told}
    )


def fail(span: Span, kind: str) -> None:
    """Note that what a span is about failed, and in which way."""
    span.set_attribute("error.type", kind)
    span.set_status(StatusCode.ERROR)


class WorkerTrace(TracingContext):
    """Of what a worker's next spans are part; one a worker and call.

    Attributes:
        call: The call's id.
        worker: The worker's name.
    """

    def __init__(self, call: str, worker: str, parent: SpanContext | None = None) -> None:
        """Begin under a span; under none until a message says one.

        Args:
            call: The call's id.
            worker: The worker's name.
            parent: The span.
        """
        super().__init__()
        self.call = call
        self.worker = worker
        self._context = self.under(parent)
        self._jobs: dict[tuple[str, str], Span] = {}

    def under(self, parent: SpanContext | None) -> Context:
        """Return what begins a span of this worker that is part of another, or of none."""
        context = otel.set_value(WHOSE, (self.call, self.worker), Context())
        return trace.set_span_in_context(NonRecordingSpan(parent), context) if parent else context

    def hang(self, parent: SpanContext) -> None:
        """Let the worker's next spans be part of another."""
        self._context = self.under(parent)

    def hang_from(self, message: BusMessage) -> None:
        """Let the worker's next spans be part of what a message says, if it says so."""
        told = carried(message)
        if told is not None and (parent := _parse(told)) is not None:
            self.hang(parent)

    def get_turn_context(self) -> Context:
        """Tell Pipecat's services of what their next span is part."""
        return self._context

    def get_conversation_context(self) -> Context:
        """Tell the same: no service's span is to be the root of a trace of its own."""
        return self._context

    def _here(self) -> Context:
        """Return of what a span is part that begins now, in a tool, a job's handler or neither."""
        inside = _inside.get()
        return self.under(inside) if inside is not None else self._context

    def takes(self, message: BusMessage) -> None:
        """Look at a message that arrives: a turn to be answered, or the answer to a job."""
        if isinstance(message, BusFrameMessage):
            if isinstance(message.frame, LLMContextFrame):
                self.hang_from(message)
        elif isinstance(message, ANSWERS) and message.target == self.worker:
            status = JobStatus(message.status)
            self._end_job(
                message.job_id,
                message.source,
                "" if status is JobStatus.COMPLETED else status.value,
            )
        elif isinstance(message, BusJobStreamEndMessage) and message.target == self.worker:
            self._end_job(message.job_id, message.source, "")

    def sends(self, message: BusMessage) -> None:
        """Look at a message that leaves: a job that begins or is given up."""
        if isinstance(message, BusJobRequestMessage) and message.target is not None:
            span = start(
                f"invoke_agent {message.target}",
                self._here(),
                kind="job",
                operation_name="invoke_agent",
                agent_name=message.target,
            )
            span.set_attribute("pmw.source", self.worker)
            span.set_attribute("pmw.job.id", message.job_id)
            self._jobs[message.job_id, message.target] = span
            carry(message, traceparent(span.get_span_context()))
        elif isinstance(message, BusJobCancelMessage) and message.target is not None:
            why = "timeout" if message.reason == "timeout" else "cancelled"
            self._end_job(message.job_id, message.target, why)

    def _end_job(self, id: str, worker: str, failed: str) -> None:
        span = self._jobs.pop((id, worker), None)
        if span is not None:
            if failed:
                fail(span, failed)
            span.end()

    @contextmanager
    def handling(self, job: BusJobRequestMessage) -> Generator[None]:
        """Let what is begun in the block be part of a job."""
        told = carried(job)
        parent = _parse(told) if told is not None else None
        with nullcontext() if parent is None else self._entered(parent):
            yield

    @contextmanager
    def tool(self, name: str, id: str) -> Generator[None]:
        """Let the block be a span, of a tool that the worker's LLM called."""
        span = start(
            f"execute_tool {name}",
            self._context,
            kind="tool",
            operation_name="execute_tool",
            tool_name=name,
            tool_type="function",
            tool_call_id=id,
        )
        try:
            with self._entered(span.get_span_context()):
                yield
        except BaseException as error:
            fail(span, type(error).__name__)
            raise
        finally:
            span.end()

    @contextmanager
    def _entered(self, span: SpanContext) -> Generator[None]:
        """Let what is begun in the block be part of a span, libraries' own spans too."""
        before = _inside.set(span)
        token = otel.attach(self.under(span))
        try:
            yield
        finally:
            otel.detach(token)
            _inside.reset(before)

    def close(self) -> None:
        """End the spans of jobs that nobody waits for any more."""
        for id, worker in list(self._jobs):
            self._end_job(id, worker, "cancelled")
