"""Filters: one small grammar that chooses entries, wherever entries are shown or kept.

An expression is terms that must all hold: `worker:support kind:job,frame took>500ms
"tornado" !to:acme`. A comma is or, `!` is not, a quoted text is looked for in all words.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, NamedTuple, get_args

from pipecat_workers_cli.errors import ConfigurationError, near_miss
from pipecat_workers_cli.traffic.entry import Entry, Event

LONGEST = 1_000  # characters of an expression

Test = Callable[[Entry], bool]


@dataclass(frozen=True, slots=True)
class Key:
    """A row of the table of keys.

    Attributes:
        name: As typed before `:`, `<` or `>`.
        meaning: What it looks at, for the documentation.
        values: Gives what an entry has under this key: texts, or a number.
        exact: A value must be the whole text; else its beginning is enough, as for ids.
        units: Of a number, the suffixes that it may have, and their factors; empty for texts.
    """

    name: str
    meaning: str
    values: Callable[[Entry], tuple[str | None, ...] | float | None]
    exact: bool = True
    units: Mapping[str, float] = field(default_factory=dict[str, float])


def _kinds(entry: Entry) -> tuple[str | None, ...]:
    kind = entry.kind
    return (entry.event, kind, kind.partition(".")[0] if kind else None)


BYTES = MappingProxyType({"": 1.0, "k": 1e3, "M": 1e6})
TIMES = MappingProxyType({"ms": 1.0, "s": 1e3, "m": 6e4})

KEYS: Mapping[str, Key] = MappingProxyType(
    {
        key.name: key
        for key in (
            Key("worker", "who has to do with it, on either side",
                lambda e: (e.worker, e.target, e.name if e.event == "job" else None)),
            Key("from", "who sent it, spoke, called or asked", lambda e: (e.worker,)),
            Key("to", "for whom it is; of a job, who answers it",
                lambda e: (e.target, e.name if e.event == "job" else None)),
            Key("call", "the call, by the beginning of its id", lambda e: (e.call,), exact=False),
            Key("kind", "an event, a kind of message, or a family of kinds: job, frame", _kinds),
            Key("job", "a job, by the beginning of its id",
                lambda e: (None if e.event == "tool" else e.id,), exact=False),
            Key("tool", "a tool, by its name",
                lambda e: (e.name if e.event == "tool" else None,)),
            Key("state", "how a job or a tool stands", lambda e: (e.state,)),
            Key("size", "bytes: 500, 10k, 2M", lambda e: e.size, units=BYTES),
            Key("took", "how long a job, a tool or an answer took: 500ms, 2s",
                lambda e: e.latency_ms if e.took_ms is None else e.took_ms, units=TIMES),
        )
    }
)  # fmt: skip
"""All keys there are."""

KIND_FAMILIES = ("job", "frame")

_TERM = re.compile(
    r"""(?P<not>!?)(?:
      "(?P<quoted>[^"]*)(?P<closed>"?)
    | (?P<key>[^\s:<>="]*)(?P<operator>:|<=|>=|<|>|=)(?P<value>"[^"]*"|[^\s"]*)
    | (?P<word>[^\s"]+)
    )""",
    re.VERBOSE,
)


class FilterError(ConfigurationError):
    """An expression that is no filter; the text shows the place with a caret."""

    def __init__(self, expression: str, start: int, end: int, what: str, *, mend: str) -> None:
        """Point at `expression[start:end]`."""
        caret = " " * start + "^" * max(1, end - start)
        super().__init__(f"{what}\n  {expression}\n  {caret}", mend=mend)


class _Term(NamedTuple):
    negated: bool
    test: Test
    key: str


class Filter:
    """Tells which entries an expression means."""

    def __init__(self, expression: str) -> None:
        """Read an expression.

        Raises:
            FilterError: It is none.
        """
        if len(expression) > LONGEST:
            what = f"a filter has at most {LONGEST} characters"
            raise ConfigurationError(what, mend="filter by fewer terms")
        self.expression = expression
        self._terms = tuple(_terms(expression))

    @property
    def keys(self) -> frozenset[str]:
        """The keys it looks at; a quoted text has the empty one."""
        return frozenset(term.key for term in self._terms)

    @property
    def wanted_keys(self) -> frozenset[str]:
        """The keys of the terms that aren't negated."""
        return frozenset(term.key for term in self._terms if not term.negated)

    def __call__(self, entry: Entry) -> bool:
        """Tell whether an entry is meant."""
        return all(term.test(entry) is not term.negated for term in self._terms)


def _terms(expression: str) -> Iterator[_Term]:
    place = 0
    while place < len(expression):
        if expression[place].isspace():
            place += 1
            continue
        match = _TERM.match(expression, place)
        if match is None or not match[0].strip("!"):
            raise FilterError(
                expression, place, place + 1, "a filter can't go on here", mend="write KEY:VALUE"
            )
        yield _Term(bool(match["not"]), _test(expression, match), match["key"] or "")
        place = match.end()


def _test(expression: str, match: re.Match[str]) -> Test:
    if match["quoted"] is not None:
        if not match["closed"]:
            raise FilterError(
                expression, match.start("quoted") - 1, match.end(), "a quote isn't closed",
                mend='close it: "tornado"',
            )  # fmt: skip
        return _holds(match["quoted"])
    if match["word"] is not None:
        raise FilterError(
            expression, match.start("word"), match.end("word"), f"'{match['word']}' has no key",
            mend=f'write KEY:VALUE, or quote a text: "{match["word"]}"',
        )  # fmt: skip
    key = KEYS.get(match["key"])
    if key is None:
        raise FilterError(
            expression, match.start("key"), match.end("key"), f"no key '{match['key']}'",
            mend=near_miss(match["key"], KEYS),
        )  # fmt: skip
    return _compares(expression, match, key) if key.units else _names(expression, match, key)


def _holds(text: str) -> Test:
    wanted = text.casefold()

    def test(entry: Entry) -> bool:
        return any(wanted in word.casefold() for word in _words(entry))

    return test


def _words(entry: Entry) -> Iterator[str]:
    told = (entry.text, entry.name, entry.reason, entry.args, entry.result, entry.payload)
    waiting: list[Any] = [value for value in told if value is not None]
    while waiting:
        match waiting.pop():
            case str() as word:
                yield word
            case dict() as table:
                waiting += [*table, *table.values()]
            case list() | tuple() as entries:
                waiting += entries
            case int() | float() as number:
                yield str(number)
            case _:
                pass


def _names(expression: str, match: re.Match[str], key: Key) -> Test:
    if match["operator"] not in (":", "="):
        raise FilterError(
            expression, *match.span("operator"), f"'{key.name}' is no number",
            mend=f"write {key.name}:VALUE",
        )  # fmt: skip
    wanted = frozenset(match["value"].strip('"').split(","))
    if "" in wanted:
        raise FilterError(
            expression, match.start("value"), match.end("value"), f"'{key.name}' of nothing",
            mend=f"write {key.name}:VALUE, or {key.name}:ONE,OTHER",
        )  # fmt: skip
    if key.name == "kind" and (unknown := sorted(wanted - known_kinds())):
        start = match.start("value") + match["value"].index(unknown[0])
        raise FilterError(
            expression, start, start + len(unknown[0]), f"no kind '{unknown[0]}'",
            mend=near_miss(unknown[0], known_kinds()),
        )  # fmt: skip
    if key.exact:
        return lambda entry: not wanted.isdisjoint(_texts(key, entry))
    beginnings = tuple(wanted)
    return lambda entry: any(text.startswith(beginnings) for text in _texts(key, entry))


def _texts(key: Key, entry: Entry) -> Iterator[str]:
    values = key.values(entry)
    return (value for value in values if value) if isinstance(values, tuple) else iter(())


def _compares(expression: str, match: re.Match[str], key: Key) -> Test:
    number = re.fullmatch(r"(\d{1,12}(?:\.\d{1,6})?)([A-Za-z]*)", match["value"])
    if number is None or number[2] not in key.units or match["operator"] in (":", "="):
        units = ", ".join(f"{key.name}>2{unit}" for unit in key.units)
        raise FilterError(
            expression, match.start("key"), match.end("value"),
            f"'{key.name}' is compared with a number", mend=f"write {units}, or <, >=, <=",
        )  # fmt: skip
    limit = float(number[1]) * key.units[number[2]]
    more, equal = match["operator"][0] == ">", match["operator"].endswith("=")

    def test(entry: Entry) -> bool:
        value = key.values(entry)
        if not isinstance(value, int | float):
            return False
        return equal if value == limit else (value > limit) is more

    return test


def known_kinds() -> frozenset[str]:
    """Return all that `kind:` may name: events, kinds of messages, families of them."""
    # The table of kinds is one of Pipecat's classes; a filter is read before they are there.
    return frozenset((*get_args(Event), *MESSAGE_KINDS, *KIND_FAMILIES))


MESSAGE_KINDS = (
    "error",
    "activation",
    "deactivation",
    "job.request",
    "job.update",
    "job.stream",
    "job.response",
    "job.cancel",
    "frame.context",
    "frame.text",
    "frame.audio",
    "frame.tool",
    "frame.interruption",
    "speak",
    "reading",
    "ui",
    "lifecycle",
    "registry",
    "flush",
    "frame.other",
    "message",
)
"""The kinds of `traffic.kinds`; a test holds the two together."""
