"""The kinds of workers: those of ours, those of installed packages, and a user's own classes.

Naming a kind imports nothing; Pipecat and the class come in when the kind is loaded.
"""

import inspect
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from importlib import import_module
from importlib.metadata import entry_points
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from pipecat_workers_cli.checks import Check
from pipecat_workers_cli.options import Profile, Trust

if TYPE_CHECKING:
    from pipecat.workers.base_worker import BaseWorker
    from pydantic import BaseModel

    from pipecat_workers_cli.workers.tools import Tool

GROUP = "pmw.workers"
"""The entry-point group in which packages name their kinds."""


@dataclass(frozen=True, slots=True)
class Outlook:
    """What a worker will be here and now, known before it is built.

    Attributes:
        told: For the banner: `search (no ANTHROPIC_API_KEY)`.
        checks: What this machine has of what it needs.
    """

    told: str
    checks: tuple[Check, ...] = ()


Foresee = Callable[[Mapping[str, Any], Profile | None, Trust], Outlook]
"""Looks at a worker's options, the profile and what is granted; loads nothing."""


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of worker.

    Attributes:
        name: As a recipe names it.
        takes: What its class is called with besides `name` and its options; of `llm`,
            `tools`, `transfers`, `tts`, `trust`, `profile`.
        load: Imports its class.
        own: It isn't one of ours: its class knows Pipecat alone, and its jobs are made to end.
        foresee: What can be said of a worker before it is built; None for most kinds.
    """

    name: str
    takes: tuple[str, ...]
    load: Callable[[], "type[BaseWorker]"]
    own: bool = False
    foresee: Foresee | None = None

    @property
    def thinks(self) -> bool:
        """Whether it has an LLM."""
        return "llm" in self.takes

    @property
    def speaks(self) -> bool:
        """Whether it may have a voice of its own."""
        return "tts" in self.takes

    def options(self) -> "type[BaseModel] | None":
        """Return the model of its options; None if they are checked by its signature."""
        return getattr(self.load(), "Options", None)

    def parameters(self) -> Mapping[str, inspect.Parameter]:
        """Return the options that its class takes by signature."""
        parameters = inspect.signature(self.load().__init__).parameters
        fixed = {"self", "name", *self.takes}
        return {
            name: parameter
            for name, parameter in parameters.items()
            if name not in fixed and parameter.kind is not parameter.VAR_POSITIONAL
        }

    def build(self, name: str, options: Mapping[str, Any], **parts: Any) -> "BaseWorker":
        """Build a worker.

        Args:
            name: Its name on the bus.
            options: Checked, each a keyword argument.
            **parts: What a kind may take; those it doesn't are left out.
        """
        worker_class = self.load()
        if self.own:
            worker_class = _with_tools(worker_class, parts.get("tools", ()))
        given = {part: value for part, value in parts.items() if part in self.takes}
        return worker_class(name=name, **options, **given)


def _ours(module: str, class_name: str) -> Callable[[], "type[BaseWorker]"]:
    def load() -> "type[BaseWorker]":
        return getattr(import_module(f"pipecat_workers_cli.workers.{module}"), class_name)

    return load


def _foresee_coder(options: Mapping[str, Any], profile: Profile | None, trust: Trust) -> Outlook:
    from pipecat_workers_cli.workers.code.engines import (
        KEY,
        EngineName,
        check_engine,
        choose_engine,
    )

    typed = options.get("engine")
    engine = choose_engine(EngineName(typed) if typed else None, profile)
    if typed:
        why = "as told"
    elif profile is Profile.OFFLINE:
        why = "--services offline"
    else:
        why = f"no {KEY}" if engine is EngineName.SEARCH else f"{KEY} is set"
    shell = ", MAY RUN SHELL COMMANDS (--allow-bash)" if trust.bash else ""
    return Outlook(f"{engine} ({why}){shell}", tuple(check_engine(engine)))


KINDS: Mapping[str, Kind] = MappingProxyType(
    {
        kind.name: kind
        for kind in (
            Kind("agent", ("llm", "tools", "transfers", "tts"), _ours("agent", "Agent")),
            Kind("specialist", ("llm", "tools"), _ours("specialist", "Specialist")),
            Kind(
                "coder",
                ("trust", "profile"),
                _ours("coder", "Coder"),
                foresee=_foresee_coder,
            ),
            Kind("controller", ("llm", "tools"), _ours("controller", "Controller")),
        )
    }
)


def own_kind(name: str, found: object) -> Kind:
    """Make a kind of a class of somebody else's.

    Args:
        name: As a recipe names it.
        found: What stands there.

    Raises:
        TypeError: It is no class of Pipecat workers.
    """
    from pipecat.workers.base_worker import BaseWorker  # takes two seconds
    from pipecat.workers.llm import LLMWorker

    if not inspect.isclass(found) or not issubclass(found, BaseWorker):
        raise TypeError("this is no class of Pipecat workers")
    takes = ("llm",) if issubclass(found, LLMWorker) else ()
    return Kind(name, takes, lambda: found, own=True)


def installed_kinds() -> Iterable[str]:
    """Return the names of the kinds that installed packages bring; none is imported."""
    return {point.name for point in entry_points(group=GROUP)}


def installed_kind(name: str) -> Kind | None:
    """Return the kind that an installed package brings under a name, if one does.

    Raises:
        TypeError: What it brings is no class of Pipecat workers.
        Exception: Whatever its import raises.
    """
    for point in entry_points(group=GROUP, name=name):
        return own_kind(name, point.load())
    return None


def _with_tools(worker_class: "type[BaseWorker]", tools: "Iterable[Tool]") -> "type[BaseWorker]":
    """Return a class whose jobs end and whose LLM, if it has one, also has `tools`."""
    from pipecat.workers.llm import LLMWorker

    from pipecat_workers_cli.workers.jobs import with_ending_jobs
    from pipecat_workers_cli.workers.tools import register

    ending = with_ending_jobs(worker_class)
    more = tuple(tools)
    if not more or not issubclass(ending, LLMWorker):
        return ending
    plain = ending

    def initialise(self: LLMWorker, *args: Any, **kwargs: Any) -> None:
        plain.__init__(self, *args, **kwargs)
        register(more, self.llm)

    def build_tools(self: LLMWorker) -> list[Any]:
        return [*plain.build_tools(self), *(tool.schema for tool in more)]

    members = {"__init__": initialise, "build_tools": build_tools}
    return type(plain.__name__, (plain,), {**members, "__module__": plain.__module__})
