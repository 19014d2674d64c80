"""What the agent that has the call owes the caller, so that another can take over."""

import json
from typing import Any

from pipecat.bus import BusActivateWorkerMessage
from pipecat.frames.frames import (
    Frame,
    FunctionCallCancelFrame,
    FunctionCallInProgressFrame,
    FunctionCallResultFrame,
    LLMFullResponseEndFrame,
    LLMFullResponseStartFrame,
    LLMMessagesAppendFrame,
)
from pipecat.processors.aggregators.llm_context import LLMContext

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
    """

    def __init__(self, activation: BusActivateWorkerMessage | None = None) -> None:
        """Begin with what gave the agent the call; None owes nothing."""
        self.activation = activation if activation and (activation.args or {}) else None
        self.turn = False
        self.tools: dict[str, str] = {}
        self.deaf = False
        self._asked_at = 0

    def __bool__(self) -> bool:
        """Tell whether the caller waits for anything."""
        return self.turn or bool(self.tools) or self.activation is not None

    def asked(self, context: LLMContext) -> None:
        """The agent was given the conversation, and is to answer."""
        self.turn = True
        self.activation = None
        self._asked_at = len(context.get_messages())

    def begun(self, id: str, name: str) -> None:
        """A tool is about to run; the frame that says so may never come."""
        self.tools[id] = name

    def said(self, frame: Frame) -> None:
        """Take note of what came from the agent."""
        match frame:
            case LLMMessagesAppendFrame():
                self.activation = None
                self.turn = self.turn or bool(frame.run_llm)
            case LLMFullResponseStartFrame():
                self.deaf = False
            case LLMFullResponseEndFrame():
                self.turn = self.turn and self.deaf
            case FunctionCallInProgressFrame():
                self.tools[frame.tool_call_id] = frame.function_name
            case FunctionCallResultFrame() | FunctionCallCancelFrame():
                self.tools.pop(frame.tool_call_id, None)
            case _:
                return

    def settle(self, conversation: LLMContext) -> list[FunctionCallResultFrame]:
        """Make a conversation fit for another agent to answer.

        Half an answer is taken out, since the whole one is to come; of tools that ran, the
        outcome is noted as unknown.

        Returns:
            The results, for whoever keeps the conversation.
        """
        messages: list[Any] = conversation.get_messages()
        kept = [
            message
            for place, message in enumerate(messages)
            if place < self._asked_at or not _is_speech(message)
        ]
        for message in kept:
            if isinstance(message, dict) and message.get("tool_call_id") in self.tools:
                message["content"] = json.dumps(UNKNOWN)
        told = {message.get("tool_call_id") for message in kept if isinstance(message, dict)}
        for id, name in self.tools.items():
            if id not in told:  # it began before the conversation had heard of it
                text = f"The tool {name} was called just now. {json.dumps(UNKNOWN)}"
                kept.append({"role": "developer", "content": text})
        conversation.set_messages(kept)
        results = [
            FunctionCallResultFrame(name, id, arguments={}, result=UNKNOWN, run_llm=False)
            for id, name in self.tools.items()
        ]
        self.tools.clear()
        return results


def _is_speech(message: Any) -> bool:
    return (
        isinstance(message, dict)
        and message.get("role") == "assistant"
        and not message.get("tool_calls")
    )
