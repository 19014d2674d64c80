"""Who names whom in a recipe: what no table can know of alone.

Who may have the call and hand it over is found here; jobs, tools and scripts in `asking`.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from pydantic_core import InitErrorDetails

from pipecat_workers_cli.recipe.asking import find_unfit_jobs, find_unfit_scripts
from pipecat_workers_cli.recipe.findings import Place
from pipecat_workers_cli.recipe.names import AGENT, UNUSED_KEYS, Crew, Member, misfit, shown


def find_misfits(recipe: Mapping[str, Any]) -> Iterator[InitErrorDetails]:
    """Give all that doesn't fit the rest: names that are taken or nobody's, useless keys.

    Args:
        recipe: The recipe's tables; values of a wrong type are passed over.
    """
    crew = Crew.of(recipe)
    yield from _doubled_names(crew)
    yield from _unfit_main(crew)
    yield from _unfit_opening(crew)
    for worker in crew.workers:
        yield from _unfit_kind(worker, crew)
        yield from _unfit_transfers(worker, crew)
    yield from find_unfit_jobs(crew)
    yield from find_unfit_scripts(crew)


def _doubled_names(crew: Crew) -> Iterator[InitErrorDetails]:
    seen = {crew.main.name}
    for worker in crew.workers:
        name = worker.name
        if name is not None and name in seen:
            what = "another worker has that name already"
            yield misfit("doubled", what, (*worker.place, "name"), name)
        seen.add(name)


def _unfit_main(crew: Crew) -> Iterator[InitErrorDetails]:
    table = crew.main.table
    if crew.main_talks:
        if table.get("tts_per_worker") is True:
            what = "[main] has a prompt, so it alone speaks"
            yield misfit("alone", what, ("main", "tts_per_worker"), True)
        return
    for key in ("tools", "jobs", "script"):
        if table.get(key):
            what = "[main] has no prompt, so it has no LLM either"
            yield misfit("no_llm", what, ("main", key))
    if crew.workers and all(worker.serves for worker in crew.workers):
        what = "there is none, nor a worker that can have the call"
        yield misfit("no_agent", what, ("main", "prompt"))


def _unfit_opening(crew: Crew) -> Iterator[InitErrorDetails]:
    opening = crew.main.table.get("opening")
    opener = opening.get("worker") if isinstance(opening, Mapping) else None
    place = ("main", "opening", "worker")
    if not isinstance(opener, str):
        return
    if crew.main_talks:
        if opener != crew.main.name:
            what = "[main] has a prompt, so it speaks first"
            yield misfit("opens", what, place, opener)
    else:
        yield from _unable(opener, place, crew, crew.callable())


def _unfit_kind(worker: Member, crew: Crew) -> Iterator[InitErrorDetails]:
    kind = worker.kind
    if kind == AGENT and crew.main_talks:
        key = "kind" if "kind" in worker.table else "name"
        what = "[main] has a prompt and keeps the caller, so there can't be agents"
        yield misfit("agent", what, (*worker.place, key), worker.table.get(key))
    for key in UNUSED_KEYS.get(kind or "", ()):
        if worker.table.get(key):
            what = "a {kind} can do nothing with it"
            yield misfit("unused", what, (*worker.place, key), kind=kind)


def _unfit_transfers(worker: Member, crew: Crew) -> Iterator[InitErrorDetails]:
    targets, place = worker.transfers, (*worker.place, "transfers")
    if not targets:
        return
    if worker.serves:
        what = "a {kind} never has the call, so it can't hand it over"
        yield misfit("never_has", what, place, kind=worker.kind)
        return
    if crew.main_talks:
        if worker.kind != AGENT:  # which an agent has been told already
            yield misfit("keeps", "[main] has a prompt and keeps the caller", place)
        return
    for j, target in enumerate(targets):
        where = (*place, j)
        if target is None:
            continue
        if target == worker.name:
            yield misfit("itself", "a worker can't hand the call to itself", where, target)
        elif target in targets[:j]:
            yield misfit("twice", "stands in this list twice", where, target)
        else:
            yield from _unable(target, where, crew, crew.callable() - {worker.name or ""})


def _unable(name: str, place: Place, crew: Crew, able: set[str]) -> Iterator[InitErrorDetails]:
    """Tell if nobody who can take the call has a name."""
    found = crew.named.get(name)
    if name in able or (found is None and name in crew.names):
        return  # the last are workers beyond the most that there may be
    if found is not None and found.serves:
        what = "a {kind} answers jobs and can't take the call"
        yield misfit("serves", what, place, name, kind=found.kind)
    else:
        what = "no worker that can take the call has that name"
        yield misfit("nobody", what, place, name, known=shown(able))
