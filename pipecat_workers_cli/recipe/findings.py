"""What may be wrong with a recipe, and how a key of it is called when people read of it."""

import re
from collections.abc import Sequence
from enum import Enum
from typing import Any, NamedTuple, TypeGuard

Place = tuple[str | int, ...]
"""Where a value stands: keys of tables and indexes of lists, from the top."""

SHOWN = 60  # characters of a key or a value that a message repeats

_BARE = re.compile(r"[A-Za-z0-9_-]+")


class Absent(Enum):
    """Stands for a value that isn't there, or that no message repeats."""

    ABSENT = "absent"


ABSENT = Absent.ABSENT


class Finding(NamedTuple):
    """One thing that is wrong with a recipe's values.

    Attributes:
        place: Where.
        what: What is wrong, a few words.
        mend: What to do about it.
    """

    place: Place
    what: str
    mend: str


def value_at(tables: object, place: Place) -> object:
    """Return the value that stands at a place, or `ABSENT`."""
    value: Any = tables
    for part in place:
        if isinstance(value, str):
            return ABSENT
        try:
            value = value[part]
        except (KeyError, IndexError, TypeError):
            return ABSENT
    return value


def is_list(value: object) -> TypeGuard[Sequence[Any]]:
    """Tell whether a value is a list of TOML's; a text is none."""
    return isinstance(value, Sequence) and not isinstance(value, str)


def key_at(tables: object, place: Place) -> str:
    """Return how people call a place: `workers.support.transfers[1]`.

    A worker goes by its name and a job by its tool's, unless it has none or shares it with
    one before it.
    """
    words = ""
    for depth, part in enumerate(place):
        if isinstance(part, int):
            called = _called(tables, place[: depth + 1])
            words += f"[{part}]" if called is None else f".{called}"
        else:
            shown = part if _BARE.fullmatch(part) else repr(part)
            words += f".{_shorten(shown)}"
    return words.removeprefix(".")


def names_in(tables: object, place: Place) -> list[str] | None:
    """Return what the entries of a list are called, "" for one without a name.

    Args:
        tables: The recipe's.
        place: The list's.

    Returns:
        None if the entries of such a list have numbers only.
    """
    key = _naming_key(place)
    if key is None:
        return None
    entries = value_at(tables, place)
    named = (value_at(entry, (key,)) for entry in (entries if is_list(entries) else ()))
    return [name if isinstance(name, str) else "" for name in named]


def _naming_key(place: Place) -> str | None:
    match place:
        case ("workers",):
            return "name"
        case ("main", "jobs") | ("workers", int(), "jobs"):
            return "tool"
        case _:
            return None


def _called(tables: object, place: Place) -> str | None:
    *entries, number = place
    key = _naming_key(tuple(entries))
    if key is None or not isinstance(number, int):
        return None
    name = value_at(tables, (*place, key))
    before = (value_at(tables, (*entries, i, key)) for i in range(number))
    if not isinstance(name, str) or not _BARE.fullmatch(name) or name in before:
        return None
    return _shorten(name)


def show_value(value: object) -> str | None:
    """Return a value as a message repeats it, shortened; None for tables, lists and nothing."""
    if isinstance(value, str):
        return repr(_shorten(value))
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        # Python refuses to write out an integer of thousands of digits.
        huge = isinstance(value, int) and value.bit_length() > 200
        return "a huge number" if huge else str(value)
    return None


def _shorten(text: str) -> str:
    return text if len(text) <= SHOWN else f"{text[: SHOWN - 1]}…"
