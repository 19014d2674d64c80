"""A recipe's `script`: which rule fits what is to be answered, and what it then says or calls.

Pure: the same trigger, tools and counts give the same answer; no frame, no clock.
"""

import json
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

from loguru import logger

from pipecat_workers_cli.recipe.model import Rule
from pipecat_workers_cli.recipe.names import END, TRANSFER
from pipecat_workers_cli.services.numbers import NUMBER, parse_number
from pipecat_workers_cli.services.trigger import Trigger

MATCHED = 4_000  # characters of a text that an expression sees, as it may take exponential time

ANY_NUMBER = "{number}"
"""In a rule's expression: a number, in digits or in words."""

PLACEHOLDER = re.compile(r"\{([A-Za-z_]\w*)((?:\.[\w-]+)*)\}")


@dataclass(frozen=True, slots=True)
class Tool:
    """A tool that the conversation offers; `properties` is its arguments' JSON schema."""

    name: str
    properties: Mapping[str, Mapping[str, Any]]
    required: tuple[str, ...] = ()


Tools = Mapping[str, Tool]
"""The tools that the conversation offers, by name."""


@dataclass(frozen=True, slots=True)
class Say:
    """An answer in words.

    Attributes:
        text: What is said.
        delay: Seconds before the first word.
        rule: Which rule of the script it came from; None if it is a built-in one.
    """

    text: str
    delay: float = 0.0
    rule: int | None = None


@dataclass(frozen=True, slots=True)
class Call:
    """An answer by a tool; `args` have the tool's types, `delay` is seconds before the call."""

    tool: str
    args: Mapping[str, Any]
    delay: float = 0.0


Answer = Say | Call


class Script:
    """The rules of one worker, their expressions compiled.

    The first rule that fits is the answer. Besides what its keys say, a rule doesn't fit if
    it calls a tool that isn't offered, if its arguments can't be made what the tool takes,
    or if it would hand a call straight back to the agent it just came from: two scripts
    with a word in common would otherwise pass the caller to and fro for ever. `tool` is any
    tool but the two that end and hand over calls; they are meant by `tool:NAME` alone.
    """

    def __init__(self, rules: Sequence[Rule]) -> None:
        """Compile `rules`; they were validated with the recipe."""
        self._rules = [(rule, _compiled(rule)) for rule in rules]

    def choose(self, trigger: Trigger, tools: Tools, uses: Mapping[int, int]) -> Answer | None:
        """Return what the first rule that fits says or calls.

        Args:
            trigger: What is to be answered.
            tools: What may be called.
            uses: How often each rule was used, by its number: a list of texts goes on with
                the next, and stays at its last.

        Returns:
            None if no rule fits.
        """
        for number, (rule, pattern) in enumerate(self._rules):
            if not _is_on(rule, trigger):
                continue
            found = _search(rule, pattern, trigger)
            if found is None:
                continue
            values = _values(found, trigger)
            if rule.say is not None:
                texts = (rule.say,) if isinstance(rule.say, str) else rule.say
                text = texts[min(uses.get(number, 0), len(texts) - 1)]
                return Say(fill(text, values), rule.delay, number)
            call = _call(rule, values, tools)
            if call is not None and not _goes_straight_back(call, trigger):
                return call
        return None


def fill(template: str, values: Mapping[str, object], *, spoken: bool = True) -> str:
    """Put values in a template's places, in one pass: a value's own braces stay as they are.

    Args:
        template: Text with `{name}` or `{name.key}`; other braces stay as typed.
        values: What there is to fill in. A key that its value doesn't have gives nothing.
        spoken: Word the values for the ear; False writes them as JSON has them.
    """

    def put(place: re.Match[str]) -> str:
        name, keys = place[1], place[2]
        if name not in values or (keys and name != "result"):
            return place[0]
        value = values[name]
        for key in keys.split(".")[1:]:
            value = cast("dict[str, object]", value).get(key) if isinstance(value, dict) else None
        return speakable(value) if spoken else _written(value)

    return PLACEHOLDER.sub(put, template)


def speakable(value: object) -> str:
    """Word a JSON value for the ear: no brackets, no underscores, no endless decimals."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.2f}".rstrip("0").rstrip(".")
    if isinstance(value, dict):
        pairs = cast("dict[str, object]", value).items()
        told = [f"{_label(key)}: {speakable(inner)}" for key, inner in pairs if _says(inner)]
        return " ".join(text if text.endswith((".", "!", "?")) else f"{text}." for text in told)
    if isinstance(value, list):
        return ", ".join(speakable(inner) for inner in cast("list[object]", value) if _says(inner))
    return "" if value is None else str(value)


def convert(value: str, schema: Mapping[str, Any]) -> object:
    """Make an argument what the tool's schema declares.

    Raises:
        ValueError: It can't be, or is none of the values allowed.
    """
    converted = _of_type(value.strip(), schema)
    allowed = schema.get("enum")
    if not allowed:
        return converted
    for choice in allowed:
        if str(choice).casefold() == str(converted).casefold():
            return choice
    raise ValueError("none of the values allowed")


def _of_type(value: str, schema: Mapping[str, Any]) -> object:
    match _declared_type(schema):
        case "integer":
            number = parse_number(value)
            if not number.is_integer():  # nor are infinity and nan
                raise ValueError("not a whole number")
            return int(number)
        case "number":
            number = parse_number(value)
            if not math.isfinite(number):
                raise ValueError("not a number")
            return number
        case "boolean":
            if value.lower() in ("true", "yes", "on", "1"):
                return True
            if value.lower() in ("false", "no", "off", "0"):
                return False
            raise ValueError("neither true nor false")
        case "array" | "object":
            return json.loads(value)
        case _:
            return value


def _declared_type(schema: Mapping[str, Any]) -> str:
    declared = schema.get("type")
    options = [part.get("type") for part in schema.get("anyOf", ())] or [declared]
    flat = [
        name for option in options for name in (option if isinstance(option, list) else [option])
    ]
    return next((str(name) for name in flat if name and name != "null"), "string")


def _compiled(rule: Rule) -> re.Pattern[str]:
    return re.compile((rule.match or "").replace(ANY_NUMBER, NUMBER), re.IGNORECASE)


def _is_on(rule: Rule, trigger: Trigger) -> bool:
    if trigger.kind == "prompt" or trigger.cancelled:
        return False
    match rule.on:
        case None:
            return trigger.kind != "tool"
        case "developer":
            return trigger.kind in ("opening", "transfer")
        case "tool":
            return trigger.kind == "tool" and trigger.tool not in (TRANSFER, END)
        case on if on.startswith("tool:"):
            return trigger.kind == "tool" and trigger.tool == on.removeprefix("tool:")
        case on:
            return trigger.kind == on


def _search(rule: Rule, pattern: re.Pattern[str], trigger: Trigger) -> dict[str, object] | None:
    """Return what the rule's expression found, `match` and its named groups; None if nothing."""
    if rule.match is None:
        return {"match": trigger.texts[0][:MATCHED]}
    for text in trigger.texts:
        if found := pattern.search(text[:MATCHED]):
            return {"match": found[0], **found.groupdict(default="")}
    return None


def _values(found: Mapping[str, object], trigger: Trigger) -> dict[str, object]:
    return {"text": trigger.texts[0][:MATCHED], "result": trigger.result, **found}


def _call(rule: Rule, values: Mapping[str, object], tools: Tools) -> Call | None:
    tool = tools.get(rule.call or "")
    if tool is None:
        return None
    try:
        return Call(tool.name, dict(_arguments(rule, values, tool)), rule.delay)
    except ValueError as error:
        logger.warning(f"a rule's call of {tool.name} was left out: {error}")
        return None


def _arguments(
    rule: Rule, values: Mapping[str, object], tool: Tool
) -> Iterator[tuple[str, object]]:
    for name in rule.args:
        if name not in tool.properties:
            raise ValueError(f"it takes no argument '{name}'")
    for name, schema in tool.properties.items():
        if name not in rule.args:
            if name in tool.required:
                raise ValueError(f"it needs an argument '{name}'")
            continue
        given = rule.args[name]
        text = fill(given, values, spoken=False) if isinstance(given, str) else _written(given)
        if not text.strip() and name not in tool.required:
            continue  # a group that didn't take part: the tool has its own default
        try:
            yield name, convert(text, schema)
        except (ValueError, RecursionError):  # without its text, which may be the caller's words
            kind = _declared_type(schema)
            raise ValueError(f"'{name}' is no {kind} that it takes") from None


def _goes_straight_back(call: Call, trigger: Trigger) -> bool:
    return (
        call.tool == TRANSFER
        and bool(trigger.source)
        and (call.args.get("agent") == trigger.source)
    )


def _label(key: str) -> str:
    words = key.replace("_", " ").replace("-", " ").strip()
    return words[:1].upper() + words[1:]


def _says(value: object) -> bool:
    return value is not None and value not in ("", [], {})


def _written(value: object) -> str:
    if isinstance(value, str):
        return value
    return "" if value is None else json.dumps(value, ensure_ascii=False)
