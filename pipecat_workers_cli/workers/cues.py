"""Cues: the developer messages of ours that tell an agent to speak first, and why.

Each is plain role and text, nothing besides, so that a cue reads the same after JSON, a bus
or any LLM's adapter, and is known again by its fixed words.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

OPENING = "The call has just begun. Speak first, by this instruction: "

TRANSFER = "You have the call now; it was handed to you by the agent '"
WHY = "'. The reason given: "
GO_ON = (
    "\nSpeak first. Go on from the conversation so far and take up what the caller wants; "
    "they have been on the line all along, so do not greet them as if the call were new."
)


@dataclass(frozen=True, slots=True)
class Cue:
    """What a cue says, taken out of its fixed words.

    Attributes:
        kind: `opening` (the call begins) or `transfer` (another agent handed it over).
        message: The opening's instruction; empty for a transfer.
        source: The agent that handed the call over; empty for an opening.
        reason: Why it did, in a few words; empty for an opening.
    """

    kind: Literal["opening", "transfer"]
    message: str = ""
    source: str = ""
    reason: str = ""


def opening_cue(message: str) -> dict[str, str]:
    """Word the message that makes the first agent open the call.

    Args:
        message: What the agent is told to do, not the words it says.
    """
    return {"role": "developer", "content": OPENING + message}


def transfer_cue(source: str, reason: str) -> dict[str, str]:
    """Word the message that makes an agent go on with a call it was handed.

    Args:
        source: The name of the agent that had the call.
        reason: Why it gave the call away.
    """
    return {"role": "developer", "content": f"{TRANSFER}{source}{WHY}{reason}{GO_ON}"}


def parse_cue(message: Mapping[str, Any]) -> Cue | None:
    """Recognise a cue among a context's messages.

    Args:
        message: Any context message. A caller's words are never a cue, whatever they say.

    Returns:
        What the cue says; None for every other message.
    """
    if message.get("role") not in ("developer", "system"):
        return None
    text = message_text(message)
    if text.startswith(OPENING):
        return Cue("opening", message=text.removeprefix(OPENING))
    if text.startswith(TRANSFER) and text.endswith(GO_ON):
        told = text.removeprefix(TRANSFER).removesuffix(GO_ON)
        source, separator, reason = told.partition(WHY)
        if separator:
            return Cue("transfer", source=source, reason=reason)
    return None


def count_handovers(messages: Iterable[Any]) -> int:
    """Return how often the call was handed over since the caller last said something.

    Args:
        messages: A context's; those in an LLM's own format don't count.
    """
    handovers = 0
    for message in messages:
        if not isinstance(message, Mapping):
            continue
        cue = parse_cue(message)
        if message.get("role") == "user":
            handovers = 0
        elif cue is not None and cue.kind == "transfer":
            handovers += 1
    return handovers


def message_text(message: Mapping[str, Any]) -> str:
    """Return a context message's text; parts of a list are joined, other parts have none."""
    content: object = message.get("content")
    if isinstance(content, str):
        return content
    parts: list[object] = content if isinstance(content, list) else []
    texts = (part.get("text") for part in parts if isinstance(part, Mapping))
    return " ".join(text for text in texts if isinstance(text, str) and text)
