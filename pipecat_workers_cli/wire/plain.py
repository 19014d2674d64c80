"""Plain values: what a payload, a tool's answer and a conversation are made of.

They cross as JSON text inside the message, for JSON can hold nothing else: no class, no
bytes, no key that isn't text. Its lists and objects can be counted before one is made.
"""

from collections.abc import Callable, Mapping
from math import isfinite
from typing import Any, cast

import msgspec

from pipecat_workers_cli.wire.limits import CONTAINERS, DEPTH, VALUES, Refused

_SCALARS = frozenset({type(None), bool, int, str})
_AS_THEY_ARE = (type(None), str, int)  # with their subclasses: a `StrEnum` crosses as text


def _as_base(one: Any) -> str | float:
    """Take subclasses as what they are made of: numpy's `float64` is a float."""
    return float(one) if isinstance(one, float) else str(one)


_encode = msgspec.json.Encoder(enc_hook=_as_base).encode


def pack(value: Any) -> bytes:
    """Return plain values as JSON.

    Args:
        value: None, booleans, numbers and text; lists, tuples and mappings of them whose
            keys are text. A tuple arrives as a list.

    Raises:
        Refused: Something else is in it, or too much.
    """
    _check(value)
    try:
        return _encode(value)
    except (OverflowError, TypeError, ValueError) as error:
        raise Refused(f"JSON has nothing for it: {type(error).__name__}") from None


def reader(shape: Any) -> Callable[[bytes], Any]:
    """Return what reads packed values of a shape, a type that msgspec understands.

    What it returns raises `Refused` where it is given something else, too deep or too large.
    """
    decode = msgspec.json.Decoder(shape).decode

    def unpack(text: bytes) -> Any:
        if text.count(b"[") + text.count(b"{") > CONTAINERS:
            raise Refused("too many lists and objects")
        try:
            value = decode(text)
        except (msgspec.MsgspecError, RecursionError, ValueError):
            raise Refused("it isn't the JSON that belongs there") from None
        _check(value)
        return value

    return unpack


def _check(value: Any) -> None:
    """Look through values, a level at a time; the sets are made in C, and nothing recurses.

    Raises:
        Refused: They are not plain, too deep or too many.
    """
    level: list[Any] = [value]
    count = 0
    for _ in range(DEPTH + 1):
        below: list[Any] = []
        if not _SCALARS.issuperset(map(type, level)):
            for one in level:
                _look_into(one, below)
                if len(below) > VALUES:  # here, for a list may hold itself
                    break
        count += len(below)
        if count > VALUES:
            raise Refused("too many values")
        if not below:
            return
        level = below
    raise Refused(f"more than {DEPTH} levels of lists and objects")


def _look_into(one: Any, below: list[Any]) -> None:
    if isinstance(one, _AS_THEY_ARE):
        return
    if isinstance(one, dict):
        if not all(isinstance(key, str) for key in one):
            raise Refused("a key that isn't text")
        below.extend(cast("Mapping[str, Any]", one).values())
    elif isinstance(one, list | tuple):
        below.extend(one)
    elif not isinstance(one, float):
        raise Refused(f"a {type(one).__name__}, which is no plain value")
    elif not isfinite(one):
        raise Refused("a number that is not finite")
