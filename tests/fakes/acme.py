"""What the fake model says by itself: the handoff call of the Acme Corporation."""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

PRODUCTS = "Rocket Boots, Invisible Paint and the Tornado Kit"
PRICES = {
    r"rocket|boots?": "Acme Rocket Boots cost $299 and reach up to 60 miles an hour.",
    r"paint|invisible": "Acme Invisible Paint is $49 a can, and it lasts 24 hours.",
    r"tornado|\bkit": "The Acme Tornado Kit costs $199, batteries included.",
}
ABOUT_PRODUCTS = re.compile(
    "|".join(PRICES) + r"|price|cost|how (much|fast|long)|order|support", re.IGNORECASE
)
CUE = re.compile(r"^(The call has just begun|You have the call now)")
"""How our own instructions begin; they come as the user's where there is no developer role."""

GOODBYE = re.compile(r"\b(good)?bye\b", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class ToolCall:
    """A call that the model makes instead of speaking."""

    name: str
    arguments: Mapping[str, Any] = field(default_factory=dict)


def acme(messages: list[dict[str, Any]], tools: list[dict[str, Any]]) -> str | ToolCall:
    """Answer as the greeter or as support, whichever the system message describes."""
    names = {tool.get("function", {}).get("name") for tool in tools}
    prompt = _text(messages[0]) if messages[0].get("role") in ("system", "developer") else ""
    last = messages[-1]
    cue = CUE.match(_text(last))
    words = _last_words(messages)
    if last.get("role") == "tool":
        return _after_tool(last)
    if not cue and GOODBYE.search(words) and "end_conversation" in names:
        return ToolCall("end_conversation", {"reason": "the caller said goodbye"})
    if "product support" in prompt.lower():
        return _support(words)
    if cue and words:
        return "This is the greeter again. What else can I do for you?"
    if not words:
        return "Welcome to Acme Corporation! What can I do for you?"
    if ABOUT_PRODUCTS.search(words) and "transfer_to_agent" in names:
        reason = f"the caller asks: {words}"
        return ToolCall("transfer_to_agent", {"agent": "support", "reason": reason})
    return f"We sell {PRODUCTS}. Which one would you like to hear about?"


def _support(words: str) -> str:
    found = [told for pattern, told in PRICES.items() if re.search(pattern, words, re.IGNORECASE)]
    return " ".join(found) or f"Support here. I know all about {PRODUCTS}. Which one is it?"


def _after_tool(message: Mapping[str, Any]) -> str:
    try:
        told = json.loads(_text(message))
    except ValueError:
        told = _text(message)
    if isinstance(told, dict) and ("ending" in told or "ended" in told):
        return "Thank you for calling Acme Corporation. Goodbye!"
    return f"I have an answer for you: {told if isinstance(told, str) else json.dumps(told)}"


def _last_words(messages: Sequence[Mapping[str, Any]]) -> str:
    for message in reversed(messages):
        if message.get("role") == "user" and not CUE.match(_text(message)):
            return _text(message)
    return ""


def _text(message: Mapping[str, Any]) -> str:
    content = message.get("content")
    if isinstance(content, list):
        return " ".join(str(part.get("text", "")) for part in content)
    return content or ""
