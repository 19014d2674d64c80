"""What a recipe names and its shape can't know: services, kinds, their options, tools.

`pmw run` and `pmw recipe check` find the same faults, since both ask here.
"""

import inspect
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from pipecat_workers_cli.call.own_code import load_own, load_tool, raised
from pipecat_workers_cli.entry_points import WORKERS, added_names
from pipecat_workers_cli.errors import ConfigurationError, near_miss
from pipecat_workers_cli.logs import redact_told
from pipecat_workers_cli.options import ServiceOptions
from pipecat_workers_cli.recipe.findings import Finding, Place
from pipecat_workers_cli.recipe.model import MainRecipe, Recipe, Service, WorkerRecipe
from pipecat_workers_cli.services.providers import Role, choose, is_ours
from pipecat_workers_cli.workers.kinds import KINDS, Kind, added_kind, own_kind


def find_faults(recipe: Recipe, folder: Path, *, imports: bool = True) -> Iterator[Finding]:
    """Find what is wrong with what a recipe names.

    Args:
        recipe: Of a right shape.
        folder: Where its own code is looked for first.
        imports: False leaves user code alone: what is not ours is not looked at.
    """
    yield from find_unknown_services(recipe, imports=imports)
    here = [(i, worker) for i, worker in enumerate(recipe.workers) if worker.at is None]
    for i, worker in here:  # what others are made of is at their far end
        if imports or worker.kind in KINDS:
            yield from _kind_faults(worker, ("workers", i), folder, recipe)
    if not imports:
        return
    speakers: list[tuple[Place, MainRecipe | WorkerRecipe]] = [(("main",), recipe.main)]
    speakers += [(("workers", i), worker) for i, worker in here]
    for place, speaker in speakers:
        yield from _tool_faults(speaker, place, folder)


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
    if ":" in name:
        return own_kind(name, load_own(name, folder))
    if (kind := added_kind(name)) is not None:
        return kind
    known = near_miss(name, {*KINDS, *added_names(WORKERS)})
    raise ConfigurationError("there is no such kind", mend=f"{known}, or MODULE:CLASS")


def checked_options(kind: Kind, given: Mapping[str, Any]) -> dict[str, Any]:
    """Return a worker's options as keyword arguments, with what its model fills in.

    Raises:
        ValidationError: The kind has a model, and it refuses them.
    """
    model = kind.options()
    if model is None:
        return dict(given)
    options = model.model_validate(dict(given))
    names = (*model.model_fields, *(options.model_extra or {}))
    return {name: getattr(options, name) for name in names}


def find_unknown_services(recipe: Recipe, *, imports: bool = True) -> Iterator[Finding]:
    """Find the services a recipe names that don't exist, or have no such setting.

    Args:
        recipe: Of a right shape.
        imports: False takes the providers of installed packages as they are.
    """
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
        if service is None or not (imports or is_ours(role, service.use)):
            continue
        try:
            choose(role, options=ServiceOptions(), worker=service)
        except ConfigurationError as error:
            yield Finding(place, error.what, error.mend)


def _kind_faults(
    worker: WorkerRecipe, place: Place, folder: Path, recipe: Recipe
) -> Iterator[Finding]:
    if worker.kind in KINDS and not worker.options:
        return  # ours need none, so nothing has to be imported to say that it is right
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
    if kind.own:
        yield from _missing_parts(worker, kind, place, recipe)


def _missing_parts(
    worker: WorkerRecipe, kind: Kind, place: Place, recipe: Recipe
) -> Iterator[Finding]:
    """Find what a recipe wants of a class of the user's own that it isn't made for."""
    for key in ("tools", "jobs", "transfers"):
        if getattr(worker, key) and "tools" not in kind.takes:
            what = f"a worker of the kind '{worker.kind}' has no LLM that could call it"
            yield Finding((*place, key), what, "derive its class from Pipecat's LLMWorker")
    if recipe.main.prompt is not None:
        return
    callees = {name for other in recipe.workers for name in other.transfers}
    if worker.name not in {recipe.opener.name, *callees}:
        return
    if not kind.talks():
        mend = "derive its class from LLMWorker, or let an agent have the call"
        yield Finding((*place, "kind"), "it is to have the call, but has no pipeline", mend)
    elif recipe.main.tts_per_worker and not kind.speaks:
        mend = "take tts= in its __init__ and put it into its pipeline"
        yield Finding((*place, "kind"), "it has no voice for tts_per_worker", mend)


def _tool_faults(
    speaker: MainRecipe | WorkerRecipe, place: Place, folder: Path
) -> Iterator[Finding]:
    for i, reference in enumerate(speaker.tools):
        try:
            load_tool(reference, folder)
        except ConfigurationError as error:
            yield Finding((*place, "tools", i), error.what, error.mend)


def _refused_options(
    model: type[BaseModel], given: Mapping[str, Any], where: Place
) -> Iterator[Finding]:
    if model.model_config.get("extra", "ignore") == "ignore":  # a typo must not go unseen
        fields = model.model_fields
        known = {*fields, *(field.alias for field in fields.values() if field.alias)}
        for name in given:
            if name not in known:
                yield Finding((*where, name), "unknown option", near_miss(name, known))
    try:
        model.model_validate(dict(given))
    except ValidationError as error:
        for fault in error.errors(include_url=False, include_input=False):
            yield _refused_option(model, fault, where)
    except Exception as error:  # a validator of the user's own
        what = f"its options can't be checked: {raised(error)}"
        yield Finding(where, what, "mend its Options")


def _refused_option(model: type[BaseModel], fault: Mapping[str, Any], where: Place) -> Finding:
    loc = fault["loc"]
    if fault["type"] == "extra_forbidden":
        mend = near_miss(str(loc[-1]), model.model_fields)
        return Finding((*where, *loc), "unknown option", mend)
    field = model.model_fields.get(str(loc[0])) if loc else None
    about = field.description if field else None
    what = redact_told(str(fault["msg"]).removeprefix("Value error, "))
    mend = about or "see what its Options model takes"
    return Finding((*where, *loc), what[:1].lower() + what[1:], mend)


def _unfit_options(
    parameters: Mapping[str, inspect.Parameter], given: Collection[str], where: Place
) -> Iterator[Finding]:
    """Find options that a signature doesn't take, and those that it wants."""
    open_ended = any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters.values())
    named = {
        name: parameter
        for name, parameter in parameters.items()
        if parameter.kind is not parameter.VAR_KEYWORD
    }
    for name in given:
        if name not in named and not open_ended:
            yield Finding((*where, name), "unknown option", near_miss(name, named))
    for name, parameter in named.items():
        if parameter.default is parameter.empty and name not in given:
            yield Finding((*where, name), "is missing", f"add it: {where[-1]} = {{ {name} = … }}")
