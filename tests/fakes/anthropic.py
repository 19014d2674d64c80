"""An Anthropic that answers by a function: `/v1/messages`, streamed, and its token count."""

import itertools
import json
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from aiohttp import web

from tests.fakes.acme import ToolCall
from tests.fakes.provider import Behaviour, FakeProvider, Seen, drop

Answer = str | ToolCall | Sequence[ToolCall]
Script = Callable[[list[dict[str, Any]], list[dict[str, Any]]], Answer]
"""From the conversation, without system messages, and the offered tools to the answer."""

FRAGMENT = 9  # characters of a tool call's input in one event, so that words are torn
SENT_BEFORE_A_FAULT = 4  # events: the message's start, its block's, and the first words


@dataclass(frozen=True, slots=True)
class Refusal:
    """An error as Anthropic words it."""

    status: int
    kind: str
    message: str

    @property
    def body(self) -> dict[str, Any]:
        """The JSON of it."""
        return {"type": "error", "error": {"type": self.kind, "message": self.message}}


WRONG_KEY = Refusal(401, "authentication_error", "invalid x-api-key")
RATE_LIMIT = Refusal(429, "rate_limit_error", "This request would exceed your rate limit.")
OVERLOADED = Refusal(529, "overloaded_error", "Overloaded")
NO_VERSION = Refusal(400, "invalid_request_error", "anthropic-version: header is required")
NO_MODEL = Refusal(404, "not_found_error", "model: no-such-model")


def say_ok(_messages: list[dict[str, Any]], _tools: list[dict[str, Any]]) -> Answer:
    """Answer whatever is asked."""
    return "ok"


class FakeAnthropic(FakeProvider):
    """Answers each request by its script, word by word.

    A request that offers no tools is the client's own business, a title or a probe, and gets
    "ok". Under `STALL` the first words are sent and then nothing; under `CUT` and `ERROR` the
    stream ends there, without a last event or with an error in it.

    Attributes:
        script: What it answers.
    """

    def __init__(
        self,
        script: Script = say_ok,
        *,
        key: str = "sk-ant-fake-0123456789abcdefghijkl",
        behaviour: Behaviour = Behaviour.NORMAL,
    ) -> None:
        super().__init__(key=key, behaviour=behaviour)
        self.script = script

    @property
    def asked(self) -> list[Seen]:
        """The requests that offered tools: the conversation itself."""
        return [seen for seen in self.requests if seen.body and seen.body.get("tools")]

    @property
    def everything(self) -> str:
        """All that was ever sent here, as one text, to look for what must not be in it."""
        return json.dumps([[seen.path, seen.query, seen.body] for seen in self.requests])

    def add_routes(self, app: web.Application) -> None:
        """Serve messages, the count of their tokens, and what a model is."""
        app.router.add_get("/v1/models/{name}", self._model)
        app.router.add_post("/v1/messages", self._message)
        app.router.add_post("/v1/messages/count_tokens", self._count)

    async def _model(self, request: web.Request) -> web.Response:
        seen = await self.see(request)
        name = request.match_info["name"]
        seen.body = {"model": name}
        if refusal := self._refused(seen):
            return _refuse(refusal)
        if not seen.headers.get("anthropic-version"):
            return _refuse(NO_VERSION)
        told = {"type": "model", "id": name, "created_at": "2025-10-15T00:00:00Z"}
        return _json(told | {"display_name": name})

    async def _count(self, request: web.Request) -> web.Response:
        seen = await self.see(request)
        if refusal := self._refused(seen):
            return _refuse(refusal)
        return _json({"input_tokens": len(json.dumps(seen.body)) // 4})

    async def _message(self, request: web.Request) -> web.StreamResponse:
        async with self.connected(request):
            seen = await self.see(request)
            if refusal := self._refused(seen):
                return _refuse(refusal)
            answer = self._answer(seen.body)
            if not seen.body.get("stream"):
                return _json(_whole(seen.body, answer))
            response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
            with suppress(ConnectionError):  # a client that was interrupted leaves in mid-answer
                await response.prepare(request)
                await self._stream(request, response, _events(seen.body, answer))
            return response

    def _answer(self, body: Mapping[str, Any]) -> Answer:
        tools = body.get("tools") or []
        messages = [part for part in body["messages"] if part.get("role") != "system"]
        return self.script(messages, tools) if tools else "ok"

    async def _stream(
        self,
        request: web.Request,
        response: web.StreamResponse,
        events: Iterator[dict[str, Any]],
    ) -> None:
        """Send the events, or as many as the behaviour lets through, and the end."""
        behaviour = self.behaviour
        sent = None if behaviour is Behaviour.NORMAL else SENT_BEFORE_A_FAULT
        for event in itertools.islice(events, sent):
            await response.write(_written(event))
        if behaviour is Behaviour.CUT:
            drop(request)
            return
        if behaviour is Behaviour.STALL:
            await self.stall()
        if behaviour is Behaviour.ERROR:
            await response.write(_written(OVERLOADED.body))
        await response.write_eof()

    def _refused(self, seen: Seen) -> Refusal | None:
        match self.refusal(seen.headers.get("x-api-key")):
            case Behaviour.LIMIT:
                return RATE_LIMIT
            case Behaviour.WRONG_KEY:
                return WRONG_KEY
        return NO_MODEL if seen.body.get("model") == "no-such-model" else None


def last_text(messages: Sequence[Mapping[str, Any]]) -> str:
    """Return what the person said last, without what the client wraps round it."""
    for message in reversed(messages):
        texts = [part["text"] for part in _parts(message) if part.get("type") == "text"]
        if message.get("role") == "user" and texts:
            return texts[-1]
    return ""


def tool_results(messages: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return the tool results that the last message brought; empty if it ends in words."""
    parts = _parts(messages[-1])
    if parts and parts[-1].get("type") == "text":
        return []
    return [part for part in parts if part.get("type") == "tool_result"]


def _parts(message: Mapping[str, Any]) -> list[dict[str, Any]]:
    content = message.get("content")
    if isinstance(content, str):
        return [{"type": "text", "text": content}]
    return list(content or ())


def _events(body: Mapping[str, Any], answer: Answer) -> Iterator[dict[str, Any]]:
    """Give the events of a streamed answer, each block torn into small deltas."""
    start = _whole(body, answer) | {"content": [], "stop_reason": None}
    yield {"type": "message_start", "message": start}
    for index, block in enumerate(_blocks(answer)):
        empty = {"text": ""} if block["type"] == "text" else {"input": {}}
        yield {"type": "content_block_start", "index": index, "content_block": block | empty}
        for delta in _deltas(block):
            yield {"type": "content_block_delta", "index": index, "delta": delta}
        yield {"type": "content_block_stop", "index": index}
    end = {"stop_reason": _reason(answer), "stop_sequence": None}
    yield {"type": "message_delta", "delta": end, "usage": {"output_tokens": 25}}
    yield {"type": "message_stop"}


def _deltas(block: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    if block["type"] == "text":
        for place, word in enumerate(block["text"].split(" ")):
            yield {"type": "text_delta", "text": word if place == 0 else f" {word}"}
        return
    given = json.dumps(block["input"])
    for start in range(0, len(given), FRAGMENT):
        yield {"type": "input_json_delta", "partial_json": given[start : start + FRAGMENT]}


def _blocks(answer: Answer) -> list[dict[str, Any]]:
    if isinstance(answer, str):
        return [{"type": "text", "text": answer}]
    calls = [answer] if isinstance(answer, ToolCall) else answer
    return [
        {
            "type": "tool_use",
            "id": f"toolu_{uuid.uuid4().hex[:24]}",
            "name": call.name,
            "input": dict(call.arguments),
        }
        for call in calls
    ]


def _whole(body: Mapping[str, Any], answer: Answer) -> dict[str, Any]:
    return {
        "id": f"msg_{uuid.uuid4().hex[:24]}",
        "type": "message",
        "role": "assistant",
        "model": body.get("model"),
        "content": _blocks(answer),
        "stop_reason": _reason(answer),
        "stop_sequence": None,
        "usage": {"input_tokens": 100, "output_tokens": 25},
    }


def _reason(answer: Answer) -> str:
    return "end_turn" if isinstance(answer, str) else "tool_use"


def _written(event: Mapping[str, Any]) -> bytes:
    return f"event: {event['type']}\ndata: {json.dumps(event)}\n\n".encode()


def _json(body: Mapping[str, Any]) -> web.Response:
    return web.json_response(body, headers={"request-id": f"req_{uuid.uuid4().hex[:24]}"})


def _refuse(refusal: Refusal) -> web.Response:
    return web.json_response(refusal.body, status=refusal.status)
