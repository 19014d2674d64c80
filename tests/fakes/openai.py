"""An OpenAI that answers by a function: `/v1/chat/completions` and `/v1/models`."""

import itertools
import json
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from aiohttp import web

from tests.fakes.acme import ToolCall, acme
from tests.fakes.provider import Behaviour, FakeProvider, Seen, drop

Answer = str | ToolCall | Sequence[ToolCall]
Script = Callable[[list[dict[str, Any]], list[dict[str, Any]]], Answer]
"""From the conversation and the offered tools, as they came, to what the model answers."""

MODELS = ("gpt-4.1", "gpt-4.1-mini", "gpt-4o", "gpt-4o-mini", "gpt-5", "gpt-5-mini")
FRAGMENT = 7  # characters of a tool call's arguments in one chunk, so that words are torn


@dataclass(frozen=True, slots=True)
class Refusal:
    """An error as OpenAI words it."""

    status: int
    message: str
    kind: str
    code: str | None = None

    @property
    def body(self) -> dict[str, Any]:
        """The JSON of it."""
        error = {"message": self.message, "type": self.kind, "param": None, "code": self.code}
        return {"error": error}


RATE_LIMIT = Refusal(
    429,
    "Rate limit reached for requests. Please try again in 20s.",
    "requests",
    "rate_limit_exceeded",
)
QUOTA = Refusal(
    429,
    "You exceeded your current quota, please check your plan and billing details.",
    "insufficient_quota",
    "insufficient_quota",
)
BROKEN = Refusal(
    500,
    "The server had an error while processing your request. Sorry about that!",
    "server_error",
)


class FakeOpenAI(FakeProvider):
    """Answers each request by its script, word by word.

    Under `STALL` a request is accepted and gets no byte; under `CUT` and `ERROR` the stream
    ends after its first words, without a last chunk or with an error in it.

    Attributes:
        script: What it answers.
        limit: Which kind of 429 `LIMIT` means, `RATE_LIMIT` or `QUOTA`.
        stall_after: Chunks that are still sent under `STALL`; 0 sends no header either.
    """

    def __init__(
        self,
        script: Script = acme,
        *,
        key: str = "sk-fake-0123456789abcdefghijkl",
        behaviour: Behaviour = Behaviour.NORMAL,
    ) -> None:
        super().__init__(key=key, behaviour=behaviour)
        self.script = script
        self.limit = RATE_LIMIT
        self.stall_after = 0

    @property
    def base_url(self) -> str:
        """With the version, as OpenAI's own libraries want it."""
        return f"{self.url}/v1"

    def add_routes(self, app: web.Application) -> None:
        """Serve completions, and the list of models, which also tells whether a key is good."""
        app.router.add_post("/v1/chat/completions", self._complete)
        app.router.add_get("/v1/models", self._models)
        app.router.add_get("/v1/models/{name}", self._models)

    async def _models(self, request: web.Request) -> web.Response:
        seen = await self.see(request)
        if refusal := self._refused(seen):
            return _refuse(refusal)
        models = [
            {"id": name, "object": "model", "created": 1_744_316_542, "owned_by": "system"}
            for name in MODELS
        ]
        wanted = request.match_info.get("name")
        if wanted is None:
            return web.json_response({"object": "list", "data": models})
        for model in models:
            if model["id"] == wanted:
                return web.json_response(model)
        return _refuse(_no_model(wanted))

    async def _complete(self, request: web.Request) -> web.StreamResponse:
        async with self.connected(request):
            seen = await self.see(request)
            refusal = self._refused(seen) or _fault(seen.body)
            if refusal:
                return _refuse(refusal)
            if self.behaviour is Behaviour.STALL and not self.stall_after:
                await self.stall()
                return web.Response(status=503)
            answer = self.script(seen.body["messages"], seen.body.get("tools") or [])
            if not seen.body.get("stream"):
                return web.json_response(_completion(seen.body, answer))
            response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
            with suppress(ConnectionError):  # a client that was interrupted leaves in mid-answer
                await response.prepare(request)
                await self._stream(request, response, _chunks(seen.body, answer))
            return response

    async def _stream(
        self,
        request: web.Request,
        response: web.StreamResponse,
        chunks: Iterator[dict[str, Any]],
    ) -> None:
        """Send the chunks, or as many as the behaviour lets through, and the end."""
        sent = {Behaviour.CUT: 3, Behaviour.ERROR: 3, Behaviour.STALL: self.stall_after}
        behaviour = self.behaviour
        for chunk in itertools.islice(chunks, sent.get(behaviour)):
            await response.write(f"data: {json.dumps(chunk)}\n\n".encode())
        if behaviour is Behaviour.CUT:
            drop(request)
            return
        if behaviour is Behaviour.STALL:
            await self.stall()
        end = json.dumps(BROKEN.body) if behaviour is Behaviour.ERROR else "[DONE]"
        await response.write(f"data: {end}\n\n".encode())
        await response.write_eof()

    def _refused(self, seen: Seen) -> Refusal | None:
        given = seen.headers.get("authorization", "").removeprefix("Bearer ")
        match self.refusal(given):
            case Behaviour.LIMIT:
                return self.limit
            case Behaviour.WRONG_KEY:
                return _wrong_key(given)
        return None


def _chunks(body: Mapping[str, Any], answer: Answer) -> Iterator[dict[str, Any]]:
    """Give the chunks of a streamed answer: role, pieces, the reason for ending, the usage."""
    frame = _frame(body, "chat.completion.chunk")
    counted = (body.get("stream_options") or {}).get("include_usage")

    def chunk(delta: dict[str, Any], reason: str | None = None) -> dict[str, Any]:
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": reason}
        return frame | {"choices": [choice]} | ({"usage": None} if counted else {})

    if isinstance(answer, str):
        yield chunk({"role": "assistant", "content": "", "refusal": None})
        for word in _pieces(answer):
            yield chunk({"content": word})
        yield chunk({}, "stop")
    else:
        yield chunk({"role": "assistant", "content": None})
        for fragment in _fragments(answer):
            yield chunk({"tool_calls": [fragment]})
        yield chunk({}, "tool_calls")
    if counted:
        yield frame | {"choices": [], "usage": _usage(body, answer)}


def _fragments(answer: ToolCall | Sequence[ToolCall]) -> Iterator[dict[str, Any]]:
    """Tear tool calls as OpenAI does: id and name first, then the arguments bit by bit."""
    for index, call in enumerate(_calls(answer)):
        arguments = json.dumps(dict(call.arguments))
        yield {
            "index": index,
            "id": f"call_{uuid.uuid4().hex[:24]}",
            "type": "function",
            "function": {"name": call.name, "arguments": ""},
        }
        for start in range(0, len(arguments), FRAGMENT):
            piece = arguments[start : start + FRAGMENT]
            yield {"index": index, "function": {"arguments": piece}}


def _completion(body: Mapping[str, Any], answer: Answer) -> dict[str, Any]:
    """Make the whole answer of a request that doesn't stream."""
    message: dict[str, Any] = {"role": "assistant", "content": None, "refusal": None}
    if isinstance(answer, str):
        message["content"], reason = answer, "stop"
    else:
        reason = "tool_calls"
        message["tool_calls"] = [
            {
                "id": f"call_{uuid.uuid4().hex[:24]}",
                "type": "function",
                "function": {"name": call.name, "arguments": json.dumps(dict(call.arguments))},
            }
            for call in _calls(answer)
        ]
    choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": reason}
    usage = _usage(body, answer)
    return _frame(body, "chat.completion") | {"choices": [choice], "usage": usage}


def _frame(body: Mapping[str, Any], kind: str) -> dict[str, Any]:
    return {
        "id": f"chatcmpl-{uuid.uuid4().hex[:29]}",
        "object": kind,
        "created": int(time.time()),
        "model": body["model"],
        "service_tier": "default",
        "system_fingerprint": "fp_fake",
    }


def _usage(body: Mapping[str, Any], answer: Answer) -> dict[str, Any]:
    """Count four characters a token, which is near enough."""
    asked = len(json.dumps(body["messages"])) // 4 + 1
    told = len(str(answer)) // 4 + 1
    return {
        "prompt_tokens": asked,
        "completion_tokens": told,
        "total_tokens": asked + told,
        "prompt_tokens_details": {"cached_tokens": 0, "audio_tokens": 0},
        "completion_tokens_details": {"reasoning_tokens": 0, "audio_tokens": 0},
    }


def _fault(body: Any) -> Refusal | None:
    """Find what the real one would refuse a body for."""
    if not isinstance(body, dict) or not body.get("model"):
        return Refusal(400, "you must provide a model parameter", "invalid_request_error")
    if body["model"] not in MODELS:
        return _no_model(body["model"])
    messages = body.get("messages")
    if not isinstance(messages, list) or not messages:
        text = "Missing required parameter: 'messages'."
        return Refusal(400, text, "invalid_request_error", "missing_required_parameter")
    return _unanswered_call(messages)


def _unanswered_call(messages: Sequence[Mapping[str, Any]]) -> Refusal | None:
    """Refuse a conversation in which tool calls and their results don't stand together."""
    waiting: set[str] = set()
    for message in messages:
        if message.get("role") == "tool":
            if message.get("tool_call_id") not in waiting:
                text = "messages with role 'tool' must be a response to a preceding message"
                return Refusal(400, f"{text} with 'tool_calls'.", "invalid_request_error")
            waiting.discard(message["tool_call_id"])
        elif waiting:
            break
        else:
            waiting = {call["id"] for call in message.get("tool_calls") or ()}
    if waiting:
        text = "An assistant message with 'tool_calls' must be followed by tool messages"
        text = f"{text} responding to each 'tool_call_id'."
        return Refusal(400, text, "invalid_request_error")
    return None


def _wrong_key(given: str) -> Refusal:
    hidden = f"{given[:8]}{'*' * 12}{given[-4:]}" if len(given) > 12 else "*" * len(given)
    text = f"Incorrect API key provided: {hidden}. You can find your API key at"
    text = f"{text} https://platform.openai.com/account/api-keys."
    return Refusal(401, text, "invalid_request_error", "invalid_api_key")


def _no_model(name: str) -> Refusal:
    text = f"The model `{name}` does not exist or you do not have access to it."
    return Refusal(404, text, "invalid_request_error", "model_not_found")


def _refuse(refusal: Refusal) -> web.Response:
    headers = {"x-request-id": f"req_{uuid.uuid4().hex}"}
    return web.json_response(refusal.body, status=refusal.status, headers=headers)


def _calls(answer: ToolCall | Sequence[ToolCall]) -> Sequence[ToolCall]:
    return [answer] if isinstance(answer, ToolCall) else answer


def _pieces(text: str) -> Iterator[str]:
    """Give a text in words, each but the first with the space before it."""
    for place, word in enumerate(text.split(" ")):
        yield word if place == 0 else f" {word}"
