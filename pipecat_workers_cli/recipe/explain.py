"""What the model refuses, said in a recipe author's words."""

from collections.abc import Mapping, Sequence
from inspect import isclass
from typing import Any, get_args

from pydantic import BaseModel
from pydantic_core import ErrorDetails

from pipecat_workers_cli.errors import near_miss
from pipecat_workers_cli.recipe.findings import ABSENT, Finding, Place, value_at
from pipecat_workers_cli.recipe.model import (
    IDENTIFIER_PATTERN,
    KIND_PATTERN,
    LINE_PATTERN,
    NAME_PATTERN,
    REFERENCE_PATTERN,
    TRIGGER_PATTERN,
    Recipe,
)
from pipecat_workers_cli.recipe.names import END, TRANSFER

QUOTE_IT = "put it in quotes"

_TABLE = ("must be a table", "write {{ KEY = VALUE }}, or a [header] of its own")
_SAYINGS = {
    "missing": ("is missing", "add it"),
    "string_type": ("must be a text", QUOTE_IT),
    "bool_type": ("must be true or false", "write true or false, without quotes"),
    "float_type": ("must be a number", "write a number, without quotes"),
    "finite_number": ("must be a number", "write a number of seconds"),
    "tuple_type": ("must be a list", "write [ … ] around it"),
    "model_type": _TABLE,
    "dict_type": _TABLE,
    "mapping_type": _TABLE,
    "string_too_long": ("is longer than {max_length} characters", "shorten it"),
    "string_too_short": ("is empty", "fill it in, or leave the key out"),
    "too_short": ("is empty", "give at least one"),
    "too_long": ("has over {max_length} entries", "keep to {max_length}"),
    "greater_than_equal": ("is below {ge:g}", "give {ge:g} or more"),
    "less_than_equal": ("is above {le:g}", "give {le:g} or less"),
}
_PATTERNS = {
    NAME_PATTERN: (
        "is no name",
        "begin with a lower-case letter; go on with those, digits, _ and -, 40 at most",
    ),
    LINE_PATTERN: ("must be one line", "leave line breaks and control characters out"),
    TRIGGER_PATTERN: (
        "is nothing a rule can wait for",
        "there is user, opening, transfer, developer, tool, tool:NAME",
    ),
    IDENTIFIER_PATTERN: (
        "is no plain name",
        "begin with a letter or _; go on with those and digits, 64 at most",
    ),
    REFERENCE_PATTERN: (
        "names no function",
        'write "MODULE:FUNCTION", such as "acme_tools:find_order"',
    ),
    KIND_PATTERN: (
        "is no kind",
        "name agent, specialist, coder, controller, an installed one, or MODULE:CLASS",
    ),
}
# The model's own errors say what is wrong; this is how to mend it.
_MENDS = {
    "words": "put it in quotes, or write a list of texts",
    "voice": 'write "VOICE", or { PROVIDER = "VOICE" }',
    "scalar": "write one value; lists and tables can't be arguments",
    "service": 'write "openai:gpt-4.1", or { use = "openai:gpt-4.1", temperature = 0.2 }',
    "backspace": r"write the expression in single quotes: match = '\bword\b'",
    "pattern": "see docs.python.org/3/library/re.html for what an expression may hold",
    "say_and_call": "make two rules of it",
    "silent": 'add say = "…", or call = "TOOL"',
    "args": "add the call, or leave 'args' out",
    "two_prompts": "leave one of the two out",
    "doubled": "give it another name",
    "itself": "name another worker, or leave it out",
    "twice": "leave one of the two out",
}


def explain(
    errors: Sequence[ErrorDetails], tables: Mapping[str, Any], *, written: Mapping[str, Any]
) -> list[Finding]:
    """Turn what pydantic found into findings, one a place.

    Args:
        errors: Its errors.
        tables: What it was given.
        written: The same before variables were filled in, so that no message quotes one.
    """
    findings: dict[Place, Finding] = {}
    for error in errors:
        place = _find_place(error, tables)
        if error["type"] == "too_short" and value_at(tables, place):
            continue  # pydantic counts the valid entries, and has told of the others
        what, mend = _say(error, place)
        if error["type"] == "pattern" and value_at(written, place) != value_at(tables, place):
            what = "not a regular expression"  # the reason quotes it
        findings.setdefault(place, Finding(place, what, mend))
    return list(findings.values())


def _find_place(error: ErrorDetails, tables: Mapping[str, Any]) -> Place:
    """Drop from pydantic's place what is no key, such as the branch of a union."""
    place: Place = ()
    for part in error["loc"]:
        if value_at(tables, (*place, part)) is not ABSENT:
            place = (*place, part)
    return (*place, error["loc"][-1]) if error["type"] == "missing" else place


def _say(error: ErrorDetails, place: Place) -> tuple[str, str]:
    kind, context = error["type"], error.get("ctx", {})
    if kind == "tuple_type" and place == ("workers",):
        return "must be a list of tables", "write [[workers]], with double brackets, above each"
    if kind in _SAYINGS:
        what, mend = _SAYINGS[kind]
        return what.format(**context), mend.format(**context)
    if kind == "string_pattern_mismatch":
        return _PATTERNS[context["pattern"]]
    return _say_known(error, place)


def _say_known(error: ErrorDetails, place: Place) -> tuple[str, str]:
    """Say what has a list of all that would have been right, or a sentence of the model's own."""
    kind, what, found, context = error["type"], error["msg"], error["input"], error.get("ctx", {})
    if kind == "extra_forbidden":
        return "unknown key", near_miss(str(place[-1]), _known_keys(place[:-1]))
    if kind == "literal_error":
        return "there is no such kind", near_miss(str(found), _quoted(context["expected"]))
    if kind == "no_tool" and TRANSFER in found and len(context["known"]) == 1:
        return what, f"only {END} is there; {TRANSFER} comes with 'transfers'"
    if kind in {"nobody", "no_tool"}:
        return what, near_miss(found, context["known"])
    return what, _MENDS.get(kind, "see pmw recipe show handoff for one that works")


def _quoted(expected: str) -> list[str]:
    return expected.replace("'", "").replace(" or ", ", ").split(", ")


def _known_keys(place: Place) -> list[str]:
    """Return the keys that a table at this place may have."""
    model: type[BaseModel] | None = Recipe
    for part in place:
        if isinstance(part, str) and model is not None:
            model = _model_in(model.model_fields[part].annotation)
    return list(model.model_fields) if model else []


def _model_in(annotation: object) -> type[BaseModel] | None:
    if isclass(annotation) and issubclass(annotation, BaseModel):
        return annotation
    inner = (_model_in(argument) for argument in get_args(annotation))
    return next((model for model in inner if model), None)
