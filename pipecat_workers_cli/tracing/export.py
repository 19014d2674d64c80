"""What leaves this process of a span: by the GenAI conventions' names, and no words or secrets.

Pipecat notes on its spans all that an LLM was told and said, and each setting of a service. Of
that, only what stands here is sent; words only if the conventions' own variable asks for them.
It happens in the exporter's thread, off the event loop.

Imported only while tracing is on.
"""

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from loguru import logger
from opentelemetry import context as otel
from opentelemetry.context import Context
from opentelemetry.sdk.trace import Event, ReadableSpan, Span, SpanProcessor
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult
from opentelemetry.trace import SpanKind, Status

from pipecat_workers_cli.logs import redact
from pipecat_workers_cli.tracing.spans import SCOPE, WHOSE

CAPTURE = "OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT"
CAPTURING = ("true", "span_only", "span_and_event")
OF_PIPECAT = "pipecat"
OF_THE_SERVER = "fastapi"
"""FastAPI makes spans of its own once there is a provider: of each probe, and none of a call."""

KEPT = frozenset(
    {
        *("gen_ai.operation.name", "gen_ai.provider.name", "gen_ai.output.type"),
        *("gen_ai.conversation.id", "gen_ai.agent.name", "gen_ai.workflow.name"),
        *("gen_ai.tool.name", "gen_ai.tool.type", "gen_ai.tool.call.id"),
        *("gen_ai.request.model", "gen_ai.request.temperature", "gen_ai.request.max_tokens"),
        *("gen_ai.request.top_p", "gen_ai.request.top_k", "gen_ai.request.seed"),
        *("gen_ai.request.frequency_penalty", "gen_ai.request.presence_penalty", "error.type"),
    }
)
KEPT_BEGIN = ("gen_ai.usage.", "pmw.")
RENAMED = {
    "stream": "gen_ai.request.stream",
    "metrics.ttfb": "gen_ai.response.time_to_first_chunk",
    "metrics.character_count": "pmw.characters",
    "metrics.audio_seconds": "pmw.audio_seconds",
    "tool_count": "pmw.tools",
    "tts.interrupted": "pmw.interrupted",
    "voice_id": "pmw.voice",
}
UNSAID = "NOT_GIVEN"
"""Pipecat's word for a setting that was left to the provider."""


class WhoseProcessor(SpanProcessor):
    """Notes on each span of which call and worker it is, as its parent's context says."""

    def on_start(self, span: Span, parent_context: Context | None = None) -> None:
        """Look at the parent of a span that begins."""
        whose = otel.get_value(WHOSE, parent_context)
        if isinstance(whose, tuple):
            call, worker = whose
            span.set_attribute("gen_ai.conversation.id", call)
            if worker and "gen_ai.agent.name" not in (span.attributes or {}):
                span.set_attribute("gen_ai.agent.name", worker)


class ToldExporter(SpanExporter):
    """Sends spans as they may be seen, and tells once that a collector takes none."""

    def __init__(self, exporter: SpanExporter, endpoint: str) -> None:
        """Prepare.

        Args:
            exporter: Sends them.
            endpoint: Where to, for people.
        """
        self._exporter = exporter
        self._endpoint = redact(endpoint)
        self._failing = False
        self._with_words = os.environ.get(CAPTURE, "").strip().lower() in CAPTURING

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Send spans; blocks its own thread for as long as the exporter tries."""
        ours = [
            outgoing(span, with_words=self._with_words)
            for span in spans
            if not _scope(span).startswith(OF_THE_SERVER)
        ]
        if not ours:
            return SpanExportResult.SUCCESS
        outcome = self._exporter.export(ours)
        failing = outcome is not SpanExportResult.SUCCESS
        if failing and not self._failing:
            logger.warning(f"traces are lost: {self._endpoint} takes none; calls go on")
        elif self._failing and not failing:
            logger.info(f"traces arrive again at {self._endpoint}")
        self._failing = failing
        return outcome

    def shutdown(self) -> None:
        """Give up what is being sent."""
        self._exporter.shutdown()

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        """Hold nothing back."""
        return self._exporter.force_flush(timeout_millis)


def outgoing(span: ReadableSpan, *, with_words: bool) -> ReadableSpan:
    """Return a span as it may leave; those of somebody else's scope are left as they are.

    Args:
        span: As it was recorded.
        with_words: Whether what was said and heard may leave too.
    """
    scope = _scope(span)
    if scope != SCOPE and not scope.startswith(OF_PIPECAT):
        return span
    attributes = dict(_told(span.attributes or {}))
    kind = span.kind
    if scope != SCOPE and (operation := attributes.get("gen_ai.operation.name")):
        attributes["pmw.kind"] = span.name  # Pipecat's llm, stt, tts
        name = f"{operation} {attributes.get('gen_ai.request.model', '')}".strip()
        kind = SpanKind.CLIENT
    else:
        name = span.name
    if with_words:
        attributes.update(_words(span.attributes or {}))
    return ReadableSpan(
        name=name,
        context=span.context,
        parent=span.parent,
        resource=span.resource,
        attributes=attributes,
        events=[
            Event(event.name, dict(_of_error(event)), event.timestamp) for event in span.events
        ],
        links=span.links,
        kind=kind,
        instrumentation_scope=span.instrumentation_scope,
        status=Status(span.status.status_code),  # its text quotes exceptions
        start_time=span.start_time,
        end_time=span.end_time,
    )


def _scope(span: ReadableSpan) -> str:
    return span.instrumentation_scope.name if span.instrumentation_scope else ""


def _told(attributes: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    for key, value in attributes.items():
        name = RENAMED.get(key, key)
        kept = name != key or name in KEPT or name.startswith(KEPT_BEGIN)
        if value == UNSAID or not kept:
            continue
        is_provider = name == "gen_ai.provider.name"
        yield name, _provider(str(value)) if is_provider else value


def _provider(name: str) -> str:
    """Return a provider's name without what its class has besides."""
    return name.lstrip("_").removesuffix("tts").removesuffix("stt")


def _of_error(event: Event) -> Iterator[tuple[str, str]]:
    """Give of an exception what it was; its text and its traceback may hold anything."""
    kind = (event.attributes or {}).get("exception.type")
    if isinstance(kind, str):
        yield "exception.type", kind


def _words(attributes: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Give what was said and heard, as the conventions have it."""
    if (given := attributes.get("input")) is not None:
        yield "gen_ai.input.messages", _as_json(list(_messages(str(given))))
    if (told := attributes.get("gen_ai.system_instructions")) is not None:
        yield "gen_ai.system_instructions", _as_json([_text(told)])
    if (tools := attributes.get("tools")) is not None:
        yield "gen_ai.tool.definitions", redact(str(tools))
    for key, role, name in (
        ("output", "assistant", "gen_ai.output.messages"),
        ("transcript", "user", "gen_ai.output.messages"),
        ("text", "assistant", "gen_ai.input.messages"),
    ):
        if (words := attributes.get(key)) is not None:
            yield name, _as_json([{"role": role, "parts": [_text(words)]}])


def _messages(given: str) -> Iterator[dict[str, Any]]:
    """Give a provider's own messages by role and parts."""
    try:
        messages = json.loads(given)
    except ValueError:
        return
    for message in messages if isinstance(messages, list) else []:
        if not isinstance(message, dict):
            continue
        content, parts = message.get("content"), list[dict[str, Any]]()
        if isinstance(content, str):
            parts.append(_text(content))
        elif isinstance(content, list):
            parts += [part for part in content if isinstance(part, dict)]
        parts += [{"type": "tool_call", **call} for call in message.get("tool_calls") or ()]
        yield {"role": str(message.get("role", "user")), "parts": parts}


def _text(words: Any) -> dict[str, str]:
    return {"type": "text", "content": str(words)}


def _as_json(value: Any) -> str:
    return redact(json.dumps(value, ensure_ascii=False))
