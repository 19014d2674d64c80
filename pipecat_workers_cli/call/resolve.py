"""What a recipe names and its shape can't know: services, kinds, their options, tools.

`pmw run` and `pmw recipe check` find the same faults, since both ask here.
"""

import inspect
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from pipecat_workers_cli.call.own_code import load_own, load_tool, told
from pipecat_workers_cli.errors import ConfigurationError, near_miss
from pipecat_workers_cli.options import ServiceOptions
from pipecat_workers_cli.recipe.findings import Finding, Place
from pipecat_workers_cli.recipe.model import MainRecipe, Recipe, Service, WorkerRecipe
from pipecat_workers_cli.services.providers import Role, choose
from pipecat_workers_cli.workers.kinds import (
    KINDS,
    Kind,
    installed_kind,
    installed_kinds,
    own_kind,
)


def find_faults(recipe: Recipe, folder: Path, *, imports: bool = True) -> Iterator[Finding]:
    """Find what is wrong with what a recipe names.

    Args:
        recipe: Of a right shape.
        folder: Where its own code is looked for first.
        imports: False leaves user code alone: kinds and tools of it are not looked at.
    """
    yield from find_unknown_services(recipe)
    speakers: list[tuple[Place, MainRecipe | WorkerRecipe]] = [(("main",), recipe.main)]
    speakers += [(("workers", i), worker) for i, worker in enumerate(recipe.workers)]
    for place, speaker in speakers:
        if isinstance(speaker, WorkerRecipe):
            yield from _kind_faults(speaker, place, folder, imports=imports)
        for i, reference in enumerate(speaker.tools if imports else ()):
            try:
                load_tool(reference, folder)
            except ConfigurationError as error:
                yield Finding((*place, "tools", i), error.what, error.mend)


def find_kind(name: str, folder: Path) -> Kind:
    """Return the kind that a recipe names.

    Args:
        name: One of ours, of an installed package, or `module:Class`.
        folder: Where a class of the recipe's own is looked for first.

    Raises:
        ConfigurationError: There is none, or its class can't be used.
    """
    if name in KINDS:
        return KINDS[name]
    mend = "name a class derived from Pipecat's BaseWorker, PipelineWorker or LLMWorker"
    try:
        if ":" in name:
            return own_kind(name, load_own(name, folder))
        kind = installed_kind(name)
    except TypeError as error:
        raise ConfigurationError(f"'{name}': {error}", mend=mend) from None
    except ConfigurationError:
        raise
    except Exception as error:  # of a stranger's package
        what = f"the kind '{name}' can't be imported: {told(error)}"
        raise ConfigurationError(what, mend="mend or uninstall the package it is from") from error
    if kind is None:
        known = near_miss(name, {*KINDS, *installed_kinds()})
        raise ConfigurationError("there is no such kind", mend=f"{known}, or MODULE:CLASS")
    return kind


def checked_options(kind: Kind, given: Mapping[str, Any]) -> dict[str, Any]:
    """Return a worker's options as keyword arguments, with what its model fills in.

    Raises:
        ValidationError: The kind has a model, and it refuses them.
    """
    model = kind.options()
    if model is None:
        return dict(given)
    options = model.model_validate(dict(given))
    return {name: getattr(options, name) for name in type(options).model_fields}


def find_unknown_services(recipe: Recipe) -> Iterator[Finding]:
    """Find the services a recipe names that don't exist, or have no such setting."""
    main = recipe.main
    named: list[tuple[Role, Place, Service | None]] = [
        (Role.STT, ("main", "stt"), main.stt),
        (Role.LLM, ("main", "llm"), main.llm),
        (Role.TTS, ("main", "tts"), main.tts),
    ]
    for i, worker in enumerate(recipe.workers):
        named.append((Role.LLM, ("workers", i, "llm"), worker.llm))
        named.append((Role.TTS, ("workers", i, "tts"), worker.tts))
    for role, place, service in named:
        try:
            choose(role, options=ServiceOptions(), worker=service)
        except ConfigurationError as error:
            yield Finding(place, error.what, error.mend)


def _kind_faults(
    worker: WorkerRecipe, place: Place, folder: Path, *, imports: bool
) -> Iterator[Finding]:
    if not imports and worker.kind not in KINDS:
        return
    try:
        kind = find_kind(worker.kind, folder)
        model = kind.options()
    except ConfigurationError as error:
        yield Finding((*place, "kind"), error.what, error.mend)
        return
    where = (*place, "options")
    if model is not None:
        yield from _refused_options(model, worker.options, where)
    else:
        yield from _unfit_options(kind.parameters(), worker.options, where)
    if kind.own and not kind.thinks:
        for key in ("tools", "jobs"):
            if getattr(worker, key):
                what = f"a worker of the kind '{worker.kind}' has no LLM that could call it"
                yield Finding((*place, key), what, "derive its class from Pipecat's LLMWorker")


def _refused_options(
    model: type[BaseModel], given: Mapping[str, Any], where: Place
) -> Iterator[Finding]:
    try:
        model.model_validate(dict(given))
    except ValidationError as error:
        for fault in error.errors(include_url=False, include_input=False):
            place = (*where, *fault["loc"])
            if fault["type"] == "extra_forbidden":
                mend = near_miss(str(fault["loc"][-1]), model.model_fields)
                yield Finding(place, "unknown option", mend)
            else:
                what = fault["msg"][:1].lower() + fault["msg"][1:]
                yield Finding(place, what, _described(model, fault["loc"]))


def _described(model: type[BaseModel], loc: tuple[str | int, ...]) -> str:
    field = model.model_fields.get(str(loc[0])) if loc else None
    return (field.description if field else None) or "see what this kind takes"


def _unfit_options(
    parameters: Mapping[str, inspect.Parameter], given: Iterable[str], where: Place
) -> Iterator[Finding]:
    """Find options that a signature doesn't take, and those that it wants."""
    if not any(p.kind is p.VAR_KEYWORD for p in parameters.values()):
        for name in given:
            if name not in parameters:
                yield Finding((*where, name), "unknown option", near_miss(name, parameters))
    for name, parameter in parameters.items():
        wanted = (
            parameter.default is parameter.empty and parameter.kind is not parameter.VAR_KEYWORD
        )
        if wanted and name not in set(given):
            yield Finding((*where, name), "is missing", "add it")
