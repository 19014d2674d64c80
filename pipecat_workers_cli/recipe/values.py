"""What a recipe's values may be: names, texts, expressions, and what has a short form.

Each type also knows what editors are told of it, where pydantic's own schema would be wrong
or poor: the short forms, and the names that a Tab could offer.
"""

import re
from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Discriminator,
    Field,
    StringConstraints,
    Tag,
    WithJsonSchema,
)
from pydantic_core import PydanticCustomError

from pipecat_workers_cli.recipe.names import AGENT, SERVING_KINDS

NAME_PATTERN = r"^[a-z][a-z0-9_-]{0,39}$"
LINE_PATTERN = r"^[^\x00-\x1f\x7f-\x9f]*$"
TRIGGER_PATTERN = r"^(user|opening|transfer|developer|tool(:[A-Za-z_][A-Za-z0-9_]*)?)$"
IDENTIFIER_PATTERN = r"^[A-Za-z_][A-Za-z0-9_]{0,63}$"
REFERENCE_PATTERN = r"^[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*$"
KIND_PATTERN = r"^([a-z][a-z0-9_-]{0,39}|[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*)$"

_HOST = r"([^\s@/?#:\[\]]+|\[[0-9A-Fa-f:.]+\])"
_PORT = r"([1-9]\d{0,3}|[1-5]\d{4}|6[0-4]\d{3}|65[0-4]\d{2}|655[0-2]\d|6553[0-5])"
ADDRESS_PATTERN = rf"^wss?://{_HOST}(:{_PORT})?(/[^\s?#]*)?(\?[^\s#]*)?$"
SENDABLE_PATTERN = r"^[\x21-\x7e]+$"

TRIGGERS = ("user", "opening", "transfer", "developer", "tool")

MAX_REFERENCE = 200  # characters of `package.module:name`

Name = Annotated[str, StringConstraints(pattern=NAME_PATTERN)]
"""A worker's or a recipe's name: lower case, at most 40 characters."""

Identifier = Annotated[str, StringConstraints(pattern=IDENTIFIER_PATTERN)]
"""A tool's or an argument's name, as LLM providers allow it."""

Reference = Annotated[str, StringConstraints(pattern=REFERENCE_PATTERN, max_length=MAX_REFERENCE)]
"""Code of the user's own: `module:function` or `package.module:Class`."""

Kind = Annotated[
    str,
    StringConstraints(pattern=KIND_PATTERN, max_length=MAX_REFERENCE),
    WithJsonSchema(
        {
            "anyOf": [
                {"enum": [AGENT, *sorted(SERVING_KINDS)]},
                {"type": "string", "pattern": KIND_PATTERN, "maxLength": MAX_REFERENCE},
            ]
        }
    ),
]
"""What a worker is: a kind of ours, one of an installed package, or `module:Class`."""

Trigger = Annotated[
    str,
    StringConstraints(pattern=TRIGGER_PATTERN),
    WithJsonSchema(
        {"anyOf": [{"enum": [*TRIGGERS]}, {"type": "string", "pattern": TRIGGER_PATTERN}]}
    ),
]
"""What a rule of a script waits for."""

Text = Annotated[str, StringConstraints(min_length=1, max_length=20_000)]
Line = Annotated[str, StringConstraints(max_length=300, pattern=LINE_PATTERN)]
"""A text of one line; it is printed on terminals, so it holds no control characters."""

Address = Annotated[str, StringConstraints(max_length=500, pattern=ADDRESS_PATTERN)]
"""Where a worker is that runs elsewhere: a WebSocket's URL, its secrets elsewhere."""

Secret = Annotated[str, StringConstraints(min_length=1, max_length=4_000, pattern=SENDABLE_PATTERN)]
"""A token, as a header can hold it."""

Delay = Annotated[float, Field(ge=0, le=60, strict=True, allow_inf_nan=False)]
"""Seconds, a minute of them at most."""


def _regular_expression(value: str) -> str:
    if "\b" in value:
        raise PydanticCustomError("backspace", "'\\b' in double quotes is a backspace")
    try:
        re.compile(value, re.IGNORECASE)
    except (re.error, OverflowError, RecursionError) as error:
        reason = "nested too deeply" if isinstance(error, RecursionError) else str(error)
        raise PydanticCustomError(
            "pattern", "not a regular expression: {reason}", {"reason": reason}
        ) from None
    return value


Pattern = Annotated[str, StringConstraints(max_length=1000), AfterValidator(_regular_expression)]
"""A regular expression of Python's."""


def _shape(value: object) -> str | None:
    # Tags no key can have: they turn up in pydantic's places.
    if isinstance(value, str):
        return "<text>"
    if isinstance(value, list | tuple):
        return "<list>"
    return "<table>" if isinstance(value, Mapping) else None


Words = Annotated[
    Annotated[Text, Tag("<text>")]
    | Annotated[Annotated[tuple[Text, ...], Field(min_length=1, max_length=500)], Tag("<list>")],
    Discriminator(
        _shape, custom_error_type="words", custom_error_message="must be a text or a list of texts"
    ),
]
"""What is said: always the same, or the next of a list at each use."""

Voice = Annotated[
    Annotated[Text, Tag("<text>")] | Annotated[Mapping[Name, Text], Tag("<table>")],
    Discriminator(
        _shape, custom_error_type="voice", custom_error_message="must be a text or a table of texts"
    ),
]
"""One voice, or one for each provider: an id of one provider means nothing to another."""


def _scalar(value: Any) -> Any:
    if not isinstance(value, str | int | float | bool):
        raise PydanticCustomError("scalar", "must be a text, a number, true or false")
    return value


Argument = Annotated[str | int | float | bool, BeforeValidator(_scalar)]
"""An argument of a tool's call; it keeps its type."""
