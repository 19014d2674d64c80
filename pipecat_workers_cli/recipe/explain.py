"""What the model refuses, said in a recipe author's words."""

from collections.abc import Iterator, Mapping, Sequence, Set
from inspect import isclass
from typing import Any, get_args

from pydantic import BaseModel
from pydantic_core import ErrorDetails

from pipecat_workers_cli.errors import near_miss
from pipecat_workers_cli.recipe.findings import ABSENT, Finding, Place, is_list, value_at
from pipecat_workers_cli.recipe.model import Recipe
from pipecat_workers_cli.recipe.values import (
    ADDRESS_PATTERN,
    IDENTIFIER_PATTERN,
    KIND_PATTERN,
    LINE_PATTERN,
    NAME_PATTERN,
    REFERENCE_PATTERN,
    SENDABLE_PATTERN,
    TRIGGER_PATTERN,
)

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
    "greater_than": ("is not above {gt:g}", "give more than {gt:g}"),
    "greater_than_equal": ("is below {ge:g}", "give {ge:g} or more"),
    "less_than_equal": ("is above {le:g}", "give {le:g} or less"),
}
_PATTERNS = {
    NAME_PATTERN: (
        "is no name",
        "begin with a lower-case letter; go on with those, digits, _ and -, 40 at most",
    ),
    ADDRESS_PATTERN: (
        "is no address of a proxy",
        'write it as in at = "wss://host/ws", with no user and no password in it',
    ),
    SENDABLE_PATTERN: ("can't be sent", "letters, digits and -._~+/= alone"),
    LINE_PATTERN: ("must be one line", "leave line breaks and control characters out"),
    TRIGGER_PATTERN: (
        "is nothing a rule can wait for",
        "choose one of: user, opening, transfer, developer, tool, tool:NAME",
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
    "token": 'add at = "wss://host/ws", or leave the token out',
    "silent": 'add say = "…", or call = "TOOL"',
    "args": "add the call, or leave 'args' out",
    "two_prompts": "leave one of the two out",
    "doubled": "give it another name",
    "itself": "name another worker, or leave it out",
    "twice": "leave one of the two out",
    "alone": "leave it out; it is for recipes whose [main] has no prompt",
    "no_llm": "give [main] a prompt, or move this to a worker",
    "no_agent": "add one, or a worker of the kind 'agent'",
    "opens": "leave it out",
    "agent": "write kind = 'specialist', or leave [main]'s prompt out",
    "unused": "leave it out",
    "never_has": "leave it out; only agents have 'transfers'",
    "keeps": "leave it out, or leave [main]'s prompt out",
    "serves": "name an agent; whoever wants its answers asks it by 'jobs'",
    "asks_itself": "name another worker",
    "asks_main": "name another worker",
    "asks_agent": "ask another, or give it kind = 'specialist', which answers jobs",
    "no_handler": "leave 'job' out",
    "unheard": "leave it out, or put it where the caller's question is asked on",
    "reserved": "give it another name",
    "tool_taken": "give one of the two another name",
    "no_call": "let who talks to the caller call it",
    "no_transfer": "write transfers = ['AGENT'] above, or call another tool",
    "needed": 'add it, such as NAME = "{text}"',
}
_LISTED = frozenset({"nobody", "no_tool", "no_argument"})
"""Errors that come with all that would have been right."""

_ABSENT = frozenset({"needed", "no_agent"})
"""Errors about what isn't there, and stands nowhere in the tables."""


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
    secret = set(_filled(written, tables))
    for error in errors:
        place = _find_place(error, tables)
        if error["type"] == "too_short" and value_at(tables, place):
            continue  # pydantic counts the valid entries, and has told of the others
        what, mend = _say(error, place, secret)
        if error["type"] == "pattern" and value_at(written, place) != value_at(tables, place):
            what = "not a regular expression"  # the reason quotes it
        findings.setdefault(place, Finding(place, what, mend))
    return list(findings.values())


def _find_place(error: ErrorDetails, tables: Mapping[str, Any]) -> Place:
    """Drop from pydantic's place what is no key, such as the branch of a union."""
    if error["type"] in _ABSENT:
        return error["loc"]
    place: Place = ()
    for part in error["loc"]:
        if value_at(tables, (*place, part)) is not ABSENT:
            place = (*place, part)
    return (*place, error["loc"][-1]) if error["type"] == "missing" else place


def _filled(written: Any, tables: Any) -> Iterator[str]:
    """Give the texts that variables were filled into, which no message may repeat."""
    if isinstance(written, Mapping):
        for key, value in written.items():
            yield from _filled(value, value_at(tables, (key,)))
    elif is_list(written):
        for i, value in enumerate(written):
            yield from _filled(value, value_at(tables, (i,)))
    elif isinstance(tables, str) and tables != written:
        yield tables


def _say(error: ErrorDetails, place: Place, secret: Set[str]) -> tuple[str, str]:
    kind, context = error["type"], error.get("ctx", {})
    if kind == "tuple_type" and place == ("workers",):
        return "must be a list of tables", "write [[workers]], with double brackets, above each"
    if kind in _SAYINGS:
        what, mend = _SAYINGS[kind]
        return what.format(**context), mend.format(**context)
    if kind == "string_pattern_mismatch":
        return _PATTERNS[context["pattern"]]
    return _say_known(error, place, secret)


def _say_known(error: ErrorDetails, place: Place, secret: Set[str]) -> tuple[str, str]:
    """Say what has a list of all that would have been right, or a sentence of the model's own."""
    kind, what, context = error["type"], error["msg"], error.get("ctx", {})
    if kind == "extra_forbidden":
        return "unknown key", near_miss(str(place[-1]), _known_keys(place[:-1]))
    if kind in _LISTED:
        # An argument's name is a key, the others are values.
        found = str(place[-1] if kind == "no_argument" else error["input"])
        return what, near_miss(found, [name for name in context["known"] if name not in secret])
    if kind == "ring":
        names = ["…" if name in secret else name for name in context["ring"]]
        return what, f"let one of them answer by itself: {' asks '.join(names)}"
    return what, _MENDS.get(kind, "see pmw recipe show handoff for one that works")


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
