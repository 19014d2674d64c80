"""Plain values: what a payload, a tool's answer and a conversation are made of.

They cross as JSON text inside the message, for JSON can hold nothing else: no class, no
bytes, no key that isn't text. Its lists and objects can be counted before one is made.
"""

from collections.abc import Callable
from math import isfinite
from typing import Any, cast

import msgspec

from pipecat_workers_cli.wire.limits import CONTAINERS, DEPTH, VALUES, Refused

_SCALARS = frozenset({type(None), bool, int, str})
_TEXT = frozenset({str})


def _as_base(one: Any) -> str | float:
    """Take subclasses as what they are made of: numpy's `float64` is a float."""
    return float(one) if isinstance(one, float) else str(one)


_encode = msgspec.json.Encoder(enc_hook=_as_base).encode


def pack(value: Any) -> bytes:
    """Return plain values as JSON.

    Args:
        value: None, booleans, numbers and text; lists, tuples and dicts of them whose keys
            are text. A tuple arrives as a list, a subclass as what it is made of.

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
        containers = text.count(b"[") + text.count(b"{")
        if containers > CONTAINERS:
            raise Refused("too many lists and objects")
        try:
            value = decode(text)
        except (msgspec.MsgspecError, RecursionError, ValueError):
            raise Refused("it isn't the JSON that belongs there") from None
        if containers > DEPTH:  # fewer can't be deeper
            _check(value)
        return value

    return unpack


def _check(value: Any) -> None:
    """Look through values, a level at a time, mostly in C; nothing recurses.

    Raises:
        Refused: They are not plain, too deep or too many.
    """
    level: list[Any] = [value]
    count = 0
    for _ in range(DEPTH + 1):
        if _SCALARS.issuperset(map(type, level)):
            return
        below: list[Any] = []
        keys: list[Any] = []
        for one in level:
            kind = type(one)
            if kind is dict:
                keys.extend(one)
                below.extend(one.values())
            elif kind is list:
                below.extend(one)
            elif kind not in _SCALARS:
                _look_closer(one, keys, below)
            if count + len(below) > VALUES:  # here, for a list may hold itself
                raise Refused("too many values")
        if not _TEXT.issuperset(map(type, keys)) and not all(isinstance(k, str) for k in keys):
            raise Refused("a key that isn't text")
        count += len(below)
        level = below
    if level:
        raise Refused(f"more than {DEPTH} levels of lists and objects")


def _look_closer(one: Any, keys: list[Any], below: list[Any]) -> None:
    """Look at what is seldom found: a subclass, a tuple, a float."""
    if isinstance(one, dict):
        keys.extend(cast("dict[Any, Any]", one))
        below.extend(cast("dict[Any, Any]", one).values())
    elif isinstance(one, list | tuple):
        below.extend(one)
    elif isinstance(one, float):
        if not isfinite(one):
            raise Refused("a number that is not finite")
    elif not isinstance(one, str | int):
        raise Refused(f"a {type(one).__name__}, which is no plain value")
