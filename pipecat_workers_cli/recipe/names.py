"""Who is in a recipe, read from its plain tables.

What compares names reads tables and not the model, so that it can be done on a recipe whose
other values are still wrong: whoever mends it sees all of it at once.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from pydantic_core import InitErrorDetails, PydanticCustomError

from pipecat_workers_cli.recipe.findings import Place, is_list

MAX_WORKERS = 50
MAX_TRANSFERS = 50
MAX_RULES = 500
MAX_TOOLS = 50

AGENT = "agent"
"""The kind that talks to callers, and that a worker is when it names none."""

SERVING_KINDS = frozenset({"specialist", "coder", "controller"})
"""Kinds of ours that answer other workers' jobs and never have the caller."""

KIND_TOOLS: Mapping[str, tuple[str, ...]] = {
    "controller": (
        "read_temperature",
        "temperature_statistics",
        "set_target",
        "change_target",
        "set_response_rate",
    ),
}
"""The tools that a kind of ours brings along, beside those of its table."""

UNUSED_KEYS: Mapping[str, tuple[str, ...]] = {
    "coder": ("prompt", "prompt_file", "llm", "tools", "jobs", "script"),
}
"""Keys that a kind of ours can do nothing with: a coder's engine thinks by itself."""

TRANSFER = "transfer_to_agent"
END = "end_conversation"
"""The tools of every agent: END always, TRANSFER with `transfers`. `workers.agent` has them."""

TAKES: Mapping[str, str] = {"question": "in full"}
"""What a job's tool takes if its table doesn't say."""


@dataclass(frozen=True, slots=True)
class Member:
    """One table of a recipe: `[main]`, or one of `[[workers]]`.

    Attributes:
        place: Where it stands.
        table: What it says; values may be of a wrong type.
    """

    place: Place
    table: Mapping[str, Any]

    @property
    def name(self) -> str | None:
        """Its name; None if it has none that is a text."""
        default = "main" if self.place == ("main",) else None
        return _text(self.table.get("name", default))

    @property
    def kind(self) -> str | None:
        """Its kind; None for `[main]`, and for what is no text."""
        return None if self.place == ("main",) else _text(self.table.get("kind", AGENT))

    @property
    def serves(self) -> bool:
        """Whether it answers jobs only, being of such a kind of ours."""
        return self.kind in SERVING_KINDS

    @property
    def own(self) -> bool:
        """Whether its class is somebody else's, and may bring what no table tells of."""
        return self.place != ("main",) and self.kind != AGENT and not self.serves

    @property
    def transfers(self) -> list[str | None]:
        """The agents it may hand the call to; None stands for what is no text."""
        return texts(self.table.get("transfers"))

    @property
    def jobs(self) -> list[tuple[Place, Mapping[str, Any]]]:
        """The tables of its `jobs`, each with its place."""
        return [((*self.place, "jobs", i), job) for i, job in tables(self.table.get("jobs"))]


@dataclass(frozen=True, slots=True)
class Crew:
    """All who are in a recipe.

    Attributes:
        main: The `[main]` table; empty if there is none.
        workers: Each of `[[workers]]` that is a table, up to the most there may be.
        named: The first worker of each name.
        names: The workers' names, those of any number of workers.
    """

    main: Member
    workers: tuple[Member, ...]
    named: Mapping[str, Member]
    names: frozenset[str]

    @classmethod
    def of(cls, recipe: Mapping[str, Any]) -> "Crew":
        """Read a recipe's tables; what is of a wrong type is passed over."""
        main = recipe.get("main")
        members = [Member(("workers", i), table) for i, table in tables(recipe.get("workers"))]
        workers = tuple(members[:MAX_WORKERS])
        return cls(
            Member(("main",), main if isinstance(main, Mapping) else {}),
            workers,
            {w.name: w for w in reversed(workers) if w.name is not None},
            frozenset(name for member in members if (name := member.name) is not None),
        )

    @property
    def main_talks(self) -> bool:
        """Whether `[main]` has an LLM and keeps the caller; else it bridges to agents."""
        return "prompt" in self.main.table or "prompt_file" in self.main.table

    def callable(self) -> set[str]:
        """Return the names of the workers that can take the call."""
        return {w.name for w in self.workers if w.name is not None and not w.serves}

    def answering(self) -> set[str]:
        """Return the names of the workers that can answer jobs."""
        return {w.name for w in self.workers if w.name is not None and w.kind != AGENT}


def tables(value: object) -> list[tuple[int, Mapping[str, Any]]]:
    """Return the tables in a list, each with its number."""
    entries = value if is_list(value) else ()
    return [(i, table) for i, table in enumerate(entries) if isinstance(table, Mapping)]


def texts(value: object) -> list[str | None]:
    """Return the entries of a list, as many as there may be; None for what is no text."""
    entries = value if is_list(value) else ()
    return [_text(entry) for entry in entries[:MAX_TRANSFERS]]


def misfit(
    kind: str, what: str, place: Place, value: object = None, /, **context: object
) -> InitErrorDetails:
    """Make the error of a value that doesn't fit the rest of its recipe.

    Args:
        kind: A word for it, by which its mend is found.
        what: What is wrong; `{name}` is filled in from the context.
        place: Where.
        value: What stands there.
        **context: What the words may need.
    """
    error = PydanticCustomError(kind, what, context)  # pyright: ignore[reportArgumentType]
    return {"type": error, "loc": place, "input": value}


def shown(names: Iterable[str]) -> list[str]:
    """Return names as a message lists them: no more than there may be, none that is odd."""
    proper = (name for name in names if name.isprintable() and len(name) <= 64)
    return sorted(proper)[:MAX_WORKERS]


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None
