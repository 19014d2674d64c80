"""Messages on a bus, told as entries: off the bus's path, within bounds, without secrets."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import msgspec
from pipecat.bus import BusFrameMessage, BusMessage

from pipecat_workers_cli.buses.local import Key, Tally
from pipecat_workers_cli.traffic.entry import Entry
from pipecat_workers_cli.traffic.kinds import kind_of
from pipecat_workers_cli.traffic.setup_file import payload_of, sayable


def entry_of(message: BusMessage, *, call: str, at_ms: int) -> Entry:
    """Tell of one message.

    Args:
        message: What crossed the bus.
        call: The call's id.
        at_ms: Milliseconds since the call began.
    """
    carried = message.frame if isinstance(message, BusFrameMessage) else message
    payload = payload_of(carried)
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
    """Return an entry with the secrets struck out of all its words, and these as UTF-8 has them.

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
            return strike(sayable(value))
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
