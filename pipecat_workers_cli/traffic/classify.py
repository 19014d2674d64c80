"""Messages on a bus, told as entries: off the bus's path, within bounds, without secrets."""

import dataclasses
from collections.abc import Callable, Iterator, Mapping
from enum import Enum
from functools import cache
from typing import Any

import msgspec
from pipecat.bus import BusFrameMessage, BusMessage
from pipecat.frames.frames import Frame, LLMContextFrame

from pipecat_workers_cli.buses.local import Key, Tally
from pipecat_workers_cli.traffic.entry import Entry
from pipecat_workers_cli.traffic.kinds import kind_of

LONGEST = 2_000  # characters of one text; what a caller says in a turn has some two hundred
MOST = 50  # entries of one list or table
DEEPEST = 5  # tables and lists in each other
NOT_TOLD = frozenset({"id", "name", "source", "target", "frame", "broadcast_sibling_id"})
"""Fields that say nothing of a message's content, or are told elsewhere."""
OF_FRAMES = frozenset(
    {
        "append_to_context",
        "event",
        "includes_inter_frame_spaces",
        "interruptible",
        "metadata",
        "pts",
        "skip_tts",
        "transport_destination",
        "transport_source",
    }
)


def entry_of(message: BusMessage, *, call: str, at_ms: int) -> Entry:
    """Tell of one message.

    Args:
        message: What crossed the bus.
        call: The call's id.
        at_ms: Milliseconds since the call began.
    """
    carried = message.frame if isinstance(message, BusFrameMessage) else message
    payload = _payload(carried)
    if isinstance(message, BusFrameMessage):
        payload["direction"] = message.direction.name.lower()
    return Entry(
        event="message",
        call=call,
        at_ms=at_ms,
        worker=message.source,
        target=message.target,
        kind=kind_of(type(carried)),
        type=type(carried).__name__,
        id=getattr(message, "job_id", None),
        size=len(msgspec.json.encode(payload)),
        payload=payload,
    )


def struck(entry: Entry, strike: Callable[[str], str]) -> Entry:
    """Return an entry with the secrets struck out of all its words.

    Args:
        entry: What may hold secrets, in a tool's arguments or a caller's words.
        strike: Strikes them out of one text.
    """
    spoken = ("text", "reason", "args", "result", "payload")
    told = {name: value for name in spoken if (value := getattr(entry, name)) is not None}
    clean = {name: _struck(value, strike) for name, value in told.items()}
    return msgspec.structs.replace(entry, **clean) if clean != told else entry


def _struck(value: Any, strike: Callable[[str], str]) -> Any:
    match value:
        case str():
            return strike(value)
        case dict():
            return {key: _struck(inner, strike) for key, inner in value.items()}
        case list() | tuple():
            return [_struck(inner, strike) for inner in value]
        case _:
            return value


def audio_entries(
    tallies: Mapping[Any, Tally], told: dict[Any, tuple[int, int, float]], *, call: str, at_ms: int
) -> Iterator[Entry]:
    """Tell of the audio that came since the last time, an entry for each direction of each.

    Args:
        tallies: A bus's counts.
        told: What of them was told, kept by the caller and brought up to date here.
        call: The call's id.
        at_ms: Milliseconds since the call began.
    """
    for key, tally in tallies.items():
        if not tally.audio:
            continue
        count, size, seconds = told.get(key, (0, 0, 0.0))
        if tally.count == count:
            continue
        told[key] = (tally.count, tally.bytes, tally.seconds)
        kind, source, target, downstream = Key(*key)
        yield Entry(
            event="message",
            call=call,
            at_ms=at_ms,
            worker=source,
            target=target,
            kind=kind_of(kind),
            type=kind.__name__,
            size=tally.bytes - size,
            count=tally.count - count,
            seconds=round(tally.seconds - seconds, 3),
            payload={"direction": "downstream" if downstream else "upstream"},
        )


def plain(value: object, depth: int = 0) -> Any:
    """Return a value as JSON has it, shortened; what JSON has no form for goes by its type."""
    match value:
        case None | bool() | int() | float():
            return value
        case Enum():
            return value.name.lower()
        case str():
            return value if len(value) <= LONGEST else f"{value[:LONGEST]}…"
        case bytes() | bytearray():
            return f"({len(value)} bytes)"
        case _ if depth >= DEEPEST:
            return "…"
        case Mapping():
            pairs = list(value.items())[:MOST]
            return {str(key)[:LONGEST]: plain(inner, depth + 1) for key, inner in pairs}
        case list() | tuple() | set() | frozenset():
            return [plain(inner, depth + 1) for inner in list(value)[:MOST]]
        case _ if dataclasses.is_dataclass(value):
            return {name: plain(inner, depth + 1) for name, inner in _told(value)}
        case _:
            return f"({type(value).__name__})"


def _payload(carried: BusMessage | Frame) -> dict[str, Any]:
    if isinstance(carried, LLMContextFrame):  # its messages are told once, by the call
        return {"messages": len(carried.context.get_messages())}
    return {name: plain(value) for name, value in _told(carried)}


def _told(carried: object) -> Iterator[tuple[str, object]]:
    """Give the fields that say something: not those that are as they always are."""
    for name, default in _fields(type(carried)):
        value = getattr(carried, name, None)
        if value is not None and value is not default:
            yield name, value


@cache
def _fields(kind: type) -> tuple[tuple[str, object], ...]:
    left_out: frozenset[str] = frozenset()
    if issubclass(kind, Frame):
        left_out = NOT_TOLD | OF_FRAMES
    elif issubclass(kind, BusMessage):
        left_out = NOT_TOLD
    fields = dataclasses.fields(kind)
    return tuple((field.name, field.default) for field in fields if field.name not in left_out)
