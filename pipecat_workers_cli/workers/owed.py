"""What the agent that has the call owes the caller, so that another can take over."""

import json
from typing import Any

from pipecat.bus import BusActivateWorkerMessage
from pipecat.frames.frames import (
    Frame,
    FunctionCallCancelFrame,
    FunctionCallInProgressFrame,
    FunctionCallResultFrame,
    FunctionCallsStartedFrame,
    LLMFullResponseEndFrame,
    LLMFullResponseStartFrame,
    LLMMessagesAppendFrame,
)
from pipecat.processors.aggregators.llm_context import LLMContext

from pipecat_workers_cli.recipe.names import END, TRANSFER
from pipecat_workers_cli.wire.limits import FUNCTION_CALLS, Refused

AGAIN = (TRANSFER, END)
"""Tools that are carried out where the caller is, so that it is known there if they were not:
whoever takes over calls them once more."""

GOES_ON = "goes_on"
"""The key in an interruption's metadata that says of what it cuts short: it is yet to come."""

NOT_DONE = {"error": "the connection was lost before this was done"}

UNKNOWN = {
    "outcome": "unknown",
    "why": "The connection was lost while this ran. It may or may not have been done.",
    "now": "Tell the caller that you can't say whether it was done. Do not call it again.",
}
"""The result of a tool whose end nobody heard of."""


class Owed:
    """Follows one agent from its activation on.

    Attributes:
        activation: What gave it the call, until it has begun to act on it.
        turn: Whether it was given the conversation and has not answered to the end.
        tools: Tools that run for it, by the call's id.
        deaf: Whether an answer was cut short, so that the rest of it is not to be said.
        asked_since: Whether it was asked something else since then.
        called: Whether it has called tools in that answer, so that it goes on from their results.
    """

    def __init__(self, activation: BusActivateWorkerMessage | None = None) -> None:
        """Begin with what gave the agent the call; None owes nothing."""
        self.activation = activation if activation and (activation.args or {}) else None
        self.turn = False
        self.tools: dict[str, str] = {}
        self.deaf = False
        self.asked_since = False
        self.called = False
        self._answered: set[str] = set()
        self._asked_at = 0

    def __bool__(self) -> bool:
        """Tell whether the caller waits for anything."""
        return self.turn or bool(self.tools) or self.activation is not None

    def asked(self, context: LLMContext) -> None:
        """The agent was given the conversation, and is to answer."""
        self.turn = True
        self.activation = None
        self.asked_since = self.deaf
        for id in self._answered:
            self.tools.pop(id, None)
        self._answered.clear()
        self._asked_at = len(context.get_messages())

    def begun(self, id: str, name: str) -> None:
        """A tool is about to run; the frame that says so may never come.

        Raises:
            Refused: More of them run than any LLM calls at once.
        """
        if len(self.tools) >= FUNCTION_CALLS:
            raise Refused("too many tools at once")
        self.tools[id] = name

    def cut_short(self) -> None:
        """The rest of an answer is not to be said; the whole one is to come again."""
        self.deaf = True
        self.asked_since = False

    def said(self, frame: Frame) -> None:
        """Take note of what came from the agent."""
        match frame:
            case LLMMessagesAppendFrame():
                self.activation = None
                self.turn = self.turn or bool(frame.run_llm)
            case LLMFullResponseStartFrame():
                self.deaf = self.called = False
            case FunctionCallsStartedFrame():
                self.called = True
            case LLMFullResponseEndFrame():
                self.turn = self.turn and self.deaf
            case FunctionCallInProgressFrame() if len(self.tools) < FUNCTION_CALLS:
                self.tools[frame.tool_call_id] = frame.function_name
            case FunctionCallResultFrame() if _is_under_way(frame):
                self._answered.add(frame.tool_call_id)
            case FunctionCallResultFrame() | FunctionCallCancelFrame():
                self.tools.pop(frame.tool_call_id, None)
            case _:
                return

    def take_back(self, conversation: LLMContext) -> None:
        """Take half an answer out of a conversation, since the whole one is to come."""
        messages: list[Any] = conversation.get_messages()
        kept = [
            message
            for place, message in enumerate(messages)
            if place < self._asked_at or not _is_speech(message)
        ]
        if len(kept) < len(messages):
            conversation.set_messages(kept)

    def settle(self, conversation: LLMContext) -> list[FunctionCallResultFrame]:
        """Make a conversation fit for another agent to go on with.

        Half an answer is taken out. Of tools that ran, the outcome is noted as unknown; but
        what hands the call over or ends it was not done, and is as if it had not been called.

        Returns:
            The results, for whoever keeps the conversation.
        """
        self.take_back(conversation)
        again = {id for id, name in self.tools.items() if name in AGAIN}
        messages: list[Any] = conversation.get_messages()
        kept = [message for message in messages if not again & _calls_of(message)]
        for message in kept:
            if _calls_of(message) & self.tools.keys() and message.get("role") == "tool":
                message["content"] = json.dumps(UNKNOWN)
        told = {id for message in kept for id in _calls_of(message)}
        for id in self.tools.keys() - told - again:
            # It began before the conversation had heard of it.
            text = f"The tool {self.tools[id]} was called just now. {json.dumps(UNKNOWN)}"
            kept.append({"role": "developer", "content": text})
        conversation.set_messages(kept)
        results = [
            FunctionCallResultFrame(
                name, id, arguments={}, result=NOT_DONE if id in again else UNKNOWN, run_llm=False
            )
            for id, name in self.tools.items()
        ]
        self.tools.clear()
        self._answered.clear()
        return results


def _is_under_way(frame: FunctionCallResultFrame) -> bool:
    """Tell of a transfer or a goodbye that is answered and about to be carried out."""
    result: object = frame.result
    return frame.function_name in AGAIN and not (isinstance(result, dict) and "error" in result)


def _calls_of(message: Any) -> set[str]:
    """Return the ids of the tool calls that a message makes or answers."""
    if not isinstance(message, dict):
        return set()
    ids = {call.get("id") for call in message.get("tool_calls") or ()}
    return {id for id in (*ids, message.get("tool_call_id")) if id}


def _is_speech(message: Any) -> bool:
    return (
        isinstance(message, dict)
        and message.get("role") == "assistant"
        and not message.get("tool_calls")
    )
