"""The kinds of workers: those of ours, those of installed packages, and a user's own classes.

Naming a kind imports nothing; Pipecat and the class come in when the kind is loaded.
"""

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import import_module
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from pipecat_workers_cli.checks import Check
from pipecat_workers_cli.entry_points import WORKERS, load_added, mend_package, package_of
from pipecat_workers_cli.errors import ConfigurationError
from pipecat_workers_cli.options import EngineName, Profile, Trust

if TYPE_CHECKING:
    from pipecat.workers.base_worker import BaseWorker
    from pydantic import BaseModel

MEND_CLASS = "name a class derived from Pipecat's BaseWorker, PipelineWorker or LLMWorker"
SERVICES = ("llm", "tts")
"""What a class of somebody else's is called with besides `name` and its options, if it takes it."""


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
        takes: What a worker of it is given besides `name` and its options; of `llm`, `tools`,
            `transfers`, `tts`, `trust`, `profile`.
        load: Imports its class.
        own: It isn't one of ours: its class knows Pipecat alone, and what it lacks is added.
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

    def talks(self) -> bool:
        """Return whether it has a pipeline, in which it could answer a caller."""
        from pipecat.pipeline.worker import PipelineWorker

        return issubclass(self.load(), PipelineWorker)

    def options(self) -> "type[BaseModel] | None":
        """Return the model of its options; None if they are checked by its signature."""
        from pydantic import BaseModel

        found = getattr(self.load(), "Options", None)
        return found if inspect.isclass(found) and issubclass(found, BaseModel) else None

    def parameters(self) -> Mapping[str, inspect.Parameter]:
        """Return the options that its class takes by signature."""
        takes = self.takes if not self.own else (part for part in SERVICES if part in self.takes)
        fixed = {"name", *takes}
        return {
            name: parameter
            for name, parameter in _parameters(self.load()).items()
            if name not in fixed and parameter.kind is not parameter.VAR_POSITIONAL
        }

    def build(self, name: str, options: Mapping[str, Any], **parts: Any) -> "BaseWorker":
        """Build a worker.

        Args:
            name: Its name on the bus.
            options: Checked, each a keyword argument.
            **parts: What a kind may be given; those it doesn't take are left out.
        """
        given = {part: value for part, value in parts.items() if part in self.takes}
        if not self.own:
            return self.load()(name=name, **options, **given)
        from pipecat_workers_cli.workers.agent import TakesCall
        from pipecat_workers_cli.workers.fitted import fitted

        services = {part: given[part] for part in SERVICES if given.get(part) is not None}
        worker = fitted(self.load())(name=name, **options, **services)
        if isinstance(worker, TakesCall):
            worker.equip(transfers=parts.get("transfers", {}), tools=parts.get("tools", ()))
        return worker


def _ours(module: str, class_name: str) -> Callable[[], "type[BaseWorker]"]:
    def load() -> "type[BaseWorker]":
        return getattr(import_module(f"pipecat_workers_cli.workers.{module}"), class_name)

    return load


def _foresee_coder(options: Mapping[str, Any], profile: Profile | None, trust: Trust) -> Outlook:
    from pipecat_workers_cli.workers.code.engines import (
        KEY,
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
    can = "MAY RUN SHELL COMMANDS" if engine is EngineName.CLAUDE else "has no shell all the same"
    shell = f", {can} (--allow-bash)" if trust.bash else ""
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
        ConfigurationError: It is no class of workers, or can't be called as one.
    """
    from pipecat.workers.base_worker import BaseWorker  # takes two seconds
    from pipecat.workers.llm import LLMWorker

    if not inspect.isclass(found) or not issubclass(found, BaseWorker):
        raise ConfigurationError("this is no class of Pipecat workers", mend=MEND_CLASS)
    if inspect.isabstract(found):
        missing = ", ".join(sorted(found.__abstractmethods__))
        raise ConfigurationError("its class is abstract", mend=f"write its {missing}")
    parameters = _parameters(found)
    thinks = issubclass(found, LLMWorker)
    for part in ("name", "llm") if thinks else ("name",):
        if not _can_take(part, parameters):
            what = f"its class can't be called with {part}="
            mend = f"take it in __init__, and hand it to super().__init__({part}={part}, …)"
            raise ConfigurationError(what, mend=mend)
    takes = {part for part in SERVICES if part in parameters} | ({"llm"} if thinks else set())
    more = ("tools", "transfers") if thinks else ()
    return Kind(name, (*sorted(takes), *more), lambda: found, own=True)


def added_kind(name: str) -> Kind | None:
    """Return the kind that an installed package adds under a name, if one does.

    Raises:
        ConfigurationError: What it adds can't be imported, or is no class of workers.
    """
    found = load_added(WORKERS, name)
    if found is None:
        return None
    try:
        return own_kind(name, found)
    except ConfigurationError as error:
        what = f"'{name}' of the package {package_of(WORKERS, name)}: {error.what}"
        raise ConfigurationError(what, mend=mend_package(WORKERS, name)) from None


def _parameters(worker_class: type) -> dict[str, inspect.Parameter]:
    """Return what a class is called with."""
    parameters = dict(inspect.signature(worker_class.__init__).parameters)
    del parameters[next(iter(parameters))]  # self, whatever it is called
    return parameters


def _can_take(name: str, parameters: Mapping[str, inspect.Parameter]) -> bool:
    found = parameters.get(name)
    if found is not None:
        return found.kind in (found.POSITIONAL_OR_KEYWORD, found.KEYWORD_ONLY)
    return any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters.values())
