"""Who names whom in a recipe: what no table can know of alone.

These checks read plain tables, so that they can be made on a recipe whose other values
are still wrong: whoever mends it sees all of it at once.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from pydantic_core import InitErrorDetails, PydanticCustomError

from pipecat_workers_cli.recipe.findings import Place, is_list

DOUBLED = PydanticCustomError("doubled", "another worker has that name already")
ITSELF = PydanticCustomError("itself", "a worker can't hand the call to itself")
TWICE = PydanticCustomError("twice", "stands in this list twice")

MAX_WORKERS = 50
MAX_TRANSFERS = 50
MAX_RULES = 500
MAX_TOOLS = 50

SERVING_KINDS = frozenset({"specialist", "coder", "controller"})
"""Kinds of ours that answer other workers' jobs and never have the caller."""

TRANSFER = "transfer_to_agent"
END = "end_conversation"
"""The tools of every agent: END always, TRANSFER with `transfers`. `workers.agent` has them."""


def find_misnamed(recipe: Mapping[str, Any]) -> Iterator[InitErrorDetails]:
    """Give every name that is taken twice, or that names nobody or nothing there is.

    Args:
        recipe: The recipe's tables; values of a wrong type are passed over.
    """
    workers = _tables(recipe.get("workers"))
    names = {name for _, worker in workers if isinstance(name := worker.get("name"), str)}
    main = recipe.get("main")
    main = main if isinstance(main, Mapping) else {}
    seen = {main.get("name", "main")} if isinstance(main.get("name", ""), str) else set()
    for i, worker in workers[:MAX_WORKERS]:  # more of them are a fault by themselves
        place: Place = ("workers", i)
        name = worker.get("name")
        if isinstance(name, str):
            if name in seen:
                yield _error(DOUBLED, (*place, "name"), name)
            seen.add(name)
        yield from _misnamed_targets(worker, place, names)
        yield from _misnamed_tools(worker, place)
    opening = main.get("opening")
    opener = opening.get("worker") if isinstance(opening, Mapping) else None
    if isinstance(opener, str) and opener not in names:
        yield _nobody(("main", "opening", "worker"), opener, names)


def _misnamed_targets(
    worker: Mapping[str, Any], place: Place, names: set[str]
) -> Iterator[InitErrorDetails]:
    targets = _texts(worker.get("transfers"))
    name = worker.get("name")
    for j, target in enumerate(targets):
        where = (*place, "transfers", j)
        if target is None:
            continue
        if target == name:
            yield _error(ITSELF, where, target)
        elif target not in names:
            yield _nobody(where, target, names - {name})
        elif target in targets[:j]:
            yield _error(TWICE, where, target)


def _misnamed_tools(worker: Mapping[str, Any], place: Place) -> Iterator[InitErrorDetails]:
    targets = {target for target in _texts(worker.get("transfers")) if target is not None}
    tools = [END, TRANSFER] if targets else [END]
    for i, rule in _tables(worker.get("script"))[:MAX_RULES]:
        where = (*place, "script", i)
        call, on, args = rule.get("call"), rule.get("on"), rule.get("args")
        if isinstance(call, str) and call not in tools:
            yield _no_tool((*where, "call"), call, tools)
        if isinstance(on, str) and on.startswith("tool:") and on[5:] not in tools:
            yield _no_tool((*where, "on"), on, [f"tool:{tool}" for tool in tools])
        agent = args.get("agent") if call == TRANSFER and isinstance(args, Mapping) else None
        # `{…}` is filled in with what the caller said, so it may yet become a name.
        if isinstance(agent, str) and targets and "{" not in agent and agent not in targets:
            yield _nobody((*where, "args", "agent"), agent, targets)


def _tables(value: object) -> list[tuple[int, Mapping[str, Any]]]:
    entries = value if is_list(value) else ()
    return [(i, table) for i, table in enumerate(entries) if isinstance(table, Mapping)]


def _texts(value: object) -> list[str | None]:
    entries = value if is_list(value) else ()
    return [entry if isinstance(entry, str) else None for entry in entries[:MAX_TRANSFERS]]


def _nobody(place: Place, name: str, known: Iterable[str]) -> InitErrorDetails:
    what = "no worker that can take the call has that name"
    return _error(
        PydanticCustomError("nobody", what, {"known": sorted(known)[:MAX_WORKERS]}), place, name
    )


def _no_tool(place: Place, name: str, known: Iterable[str]) -> InitErrorDetails:
    what = "this worker has no such tool"
    return _error(
        PydanticCustomError("no_tool", what, {"known": sorted(known)[:MAX_WORKERS]}), place, name
    )


def _error(kind: PydanticCustomError, place: Place, value: str) -> InitErrorDetails:
    return {"type": kind, "loc": place, "input": value}
