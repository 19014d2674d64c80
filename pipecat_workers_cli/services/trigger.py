"""What in a conversation is waiting for the scripted LLM's answer, if anything is."""

import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Literal, cast

from pipecat_workers_cli.workers.cues import message_text, parse_cue

Message = Mapping[str, Any]

IN_PROGRESS, CANCELLED, COMPLETED = "IN_PROGRESS", "CANCELLED", "COMPLETED"
"""What Pipecat writes in a result's place; a call that answers nothing is COMPLETED."""


@dataclass(frozen=True, slots=True)
class Trigger:
    """The one thing to answer.

    Attributes:
        kind: `user`, `opening`, `transfer` or `tool`; `prompt` is a developer message that
            is no cue of ours, such as Pipecat's own after a turn without words.
        texts: What a rule's `match` is tried on, in this order: the caller's words; the
            instruction; the caller's words if nobody answered them, then the reason; the
            result as text.
        heard: The caller's words that still wait for an answer; empty if none do.
        source: The agent that handed the call over.
        tool: The name of the tool whose result it is.
        call_id: That call's id.
        result: The tool's answer, as parsed from JSON; None if it had none.
        cancelled: The call was stopped before it had a result.
    """

    kind: Literal["user", "opening", "transfer", "tool", "prompt"]
    texts: tuple[str, ...]
    heard: str = ""
    source: str = ""
    tool: str = ""
    call_id: str = ""
    result: object = None
    cancelled: bool = False


@dataclass(frozen=True, slots=True)
class ToolState:
    """How far one tool call is; `content` is the result's text, None while it runs."""

    call_id: str
    content: str | None

    @property
    def cancelled(self) -> bool:
        """Whether it was stopped before it had a result."""
        return self.content is not None and self.content.startswith(CANCELLED)


def find_trigger(
    messages: Sequence[Message], *, awaited: Collection[str] = (), answered: int = 0
) -> Trigger | None:
    """Find what the next response is to answer: the last of words, cue or tool result.

    What stands before an assistant's words was answered by them, with two exceptions. A
    result is written where its call stood, so what was said to fill the wait comes after
    it. And what the caller heard of an answer may be written down only after the next
    thing they said.

    Args:
        messages: The conversation, oldest first.
        awaited: Ids of tool calls whose results were not answered, whatever follows them.
        answered: As `count_speeches` gave it when this speaker last answered; what came
            later was not answered, whatever follows it. 0 if it hasn't spoken yet.

    Returns:
        None if nothing is waiting, or if a tool call is still running.
    """
    spoken = False
    prompt: Message | None = None
    for place in range(len(messages) - 1, -1, -1):
        message = messages[place]
        if message.get("role") == "assistant":
            spoken = spoken or bool(message_text(message).strip())
        elif state := tool_state(message):
            if spoken and state.call_id not in awaited:
                continue
            if prompt and (state.cancelled or state.content is None):
                break  # the caller cut the call short, and what they said wasn't understood
            return _tool_trigger(messages, state)
        elif speech := _speech(messages, place):
            if spoken and not 0 < answered < count_speeches(messages[: place + 1]):
                break
            return speech
        elif not spoken and prompt is None and message.get("role") in ("developer", "system"):
            prompt = message
    return _prompt_trigger(prompt, messages) if prompt else None


def count_speeches(messages: Sequence[Message]) -> int:
    """Count what asked for an answer so far: the caller's turns and our cues."""
    return sum(message.get("role") == "user" or bool(parse_cue(message)) for message in messages)


def settled_calls(messages: Sequence[Message]) -> Iterator[str]:
    """Give the ids of the tool calls in the conversation that have come to an end."""
    for message in messages:
        state = tool_state(message)
        if state is not None and state.content is not None:
            yield state.call_id


def tool_state(message: Message) -> ToolState | None:
    """Read a tool's message, be it the direct kind or one of Pipecat's asynchronous tools.

    Returns:
        None if the message is not about a tool call.
    """
    role, text = message.get("role"), message_text(message)
    if role not in ("tool", "developer"):
        return None
    told = _parsed(text)
    if isinstance(told, dict):
        later = cast("dict[str, object]", told)
        if later.get("type") == "async_tool":
            content = later.get("result")
            call_id = str(later.get("tool_call_id"))
            return ToolState(call_id, content if isinstance(content, str) else None)
    if role == "developer":
        return None
    call_id = str(message.get("tool_call_id"))
    return ToolState(call_id, None if text == IN_PROGRESS else text)


def _tool_trigger(messages: Sequence[Message], state: ToolState) -> Trigger | None:
    if state.content is None:
        return None
    empty = state.cancelled or state.content == COMPLETED
    return Trigger(
        "tool",
        (state.content,),
        tool=_tool_name(messages, state.call_id),
        call_id=state.call_id,
        result=None if empty else _parsed(state.content),
        cancelled=state.cancelled,
    )


def _speech(messages: Sequence[Message], place: int) -> Trigger | None:
    """Read the caller's words or one of our cues; None for anything else."""
    message = messages[place]
    if message.get("role") == "user":
        text = message_text(message)
        return Trigger("user", (text,), heard=text)
    cue = parse_cue(message)
    if cue is None:
        return None
    if cue.kind == "opening":
        return Trigger("opening", (cue.message,))
    heard = _unanswered_words(messages[:place])
    texts = tuple(text for text in (heard, cue.reason) if text)
    return Trigger("transfer", texts or ("",), heard=heard, source=cue.source)


def _prompt_trigger(prompt: Message, messages: Sequence[Message]) -> Trigger:
    text = message_text(prompt)
    spoken = any(message.get("role") in ("user", "assistant") for message in messages)
    return Trigger("prompt" if spoken else "opening", (text,))


def _unanswered_words(messages: Sequence[Message]) -> str:
    for message in reversed(messages):
        text = message_text(message)
        if message.get("role") == "user":
            return text
        if message.get("role") == "assistant" and text.strip():
            break
    return ""


def _tool_name(messages: Sequence[Message], call_id: str) -> str:
    for message in reversed(messages):
        for call in message.get("tool_calls") or ():
            if call.get("id") == call_id:
                return str(call.get("function", {}).get("name", ""))
    return ""


def _parsed(text: str) -> object:
    with suppress(ValueError, RecursionError):
        return json.loads(text)
    return text
