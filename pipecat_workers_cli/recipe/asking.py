"""Whom a worker asks, which tools its LLM has, and whether its script calls those."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from pydantic_core import InitErrorDetails

from pipecat_workers_cli.recipe.findings import Place
from pipecat_workers_cli.recipe.names import (
    AGENT,
    END,
    KIND_TOOLS,
    MAX_RULES,
    MAX_TOOLS,
    TAKES,
    TRANSFER,
    UNUSED_KEYS,
    Crew,
    Member,
    misfit,
    shown,
    tables,
    texts,
)

ARGUMENTS: Mapping[str, tuple[str, ...]] = {END: ("reason",), TRANSFER: ("agent", "reason")}
"""What the tools of every agent take."""


def find_unfit_jobs(crew: Crew) -> Iterator[InitErrorDetails]:
    """Give what is wrong with who asks whom, and with the tools by which they ask."""
    for asker in _thinking(crew):
        for place, job in asker.jobs[:MAX_TOOLS]:
            yield from _unfit_asked(asker, place, job, crew)
            yield from _unfit_handler(place, job, crew)
            if asker.serves and "filler" in job:
                what = "a {kind} has no caller to say it to"
                yield misfit("unheard", what, (*place, "filler"), kind=asker.kind)
        yield from _doubled_tools(asker)
    yield from _rings(crew)


def find_unfit_scripts(crew: Crew) -> Iterator[InitErrorDetails]:
    """Give the rules that call a tool which isn't there, or not as it is to be called."""
    for speaker in _thinking(crew):
        takes = _takes(speaker, crew)
        for i, rule in tables(speaker.table.get("script"))[:MAX_RULES]:
            place = (*speaker.place, "script", i)
            yield from _unknown_tools(rule, place, takes, speaker)
            yield from _unfit_arguments(rule, place, takes)
            yield from _unreachable_agent(rule, place, speaker, crew)


def _thinking(crew: Crew) -> Iterator[Member]:
    """Give those who have an LLM; that the others' keys are useless is told elsewhere."""
    if crew.main_talks:
        yield crew.main
    for worker in crew.workers:
        if "jobs" not in UNUSED_KEYS.get(worker.kind or "", ()):
            yield worker


# --- jobs ---


def _unfit_asked(
    asker: Member, place: Place, job: Mapping[str, Any], crew: Crew
) -> Iterator[InitErrorDetails]:
    names = texts(job.get("workers"))
    for k, name in enumerate(names):
        where = (*place, "workers", k)
        if name is None:
            continue
        if name in names[:k]:
            yield misfit("twice", "stands in this list twice", where, name)
        elif name == asker.name:
            yield misfit("asks_itself", "a worker can't ask itself", where, name)
        elif name == crew.main.name:
            what = "[main] has the caller and answers no jobs"
            yield misfit("asks_main", what, where, name)
        elif name not in crew.names:
            what = "no worker that answers jobs has that name"
            known = shown(crew.answering() - {asker.name or ""})
            yield misfit("nobody", what, where, name, known=known)
        elif (found := crew.named.get(name)) is not None and found.kind == AGENT:
            yield misfit("asks_agent", "agents talk to callers and answer no jobs", where, name)


def _unfit_handler(place: Place, job: Mapping[str, Any], crew: Crew) -> Iterator[InitErrorDetails]:
    handler = job.get("job")
    asked = [crew.named.get(name) for name in texts(job.get("workers")) if name is not None]
    # Beside a class that has the handler, kinds of ours answer whatever they are asked.
    if isinstance(handler, str) and asked and all(found and found.serves for found in asked):
        kind = next((found.kind for found in asked if found), None)
        what = "a {kind} has no handlers to choose from: it answers every job"
        yield misfit("no_handler", what, (*place, "job"), handler, kind=kind)


def _doubled_tools(asker: Member) -> Iterator[InitErrorDetails]:
    taken = set(KIND_TOOLS.get(asker.kind or "", ()))
    for place, name, value in _tool_names(asker):
        if name in ARGUMENTS:
            what = "calls are ended and handed over by tools of that name"
            yield misfit("reserved", what, place, value)
        elif name in taken:
            what = "this worker has another tool of that name"
            yield misfit("tool_taken", what, place, value)
        taken.add(name)


def _tool_names(speaker: Member) -> Iterator[tuple[Place, str, str]]:
    """Give the tools of a worker's table: where each is named, its name, what stands there."""
    for i, reference in enumerate(texts(speaker.table.get("tools"))):
        if reference is not None and ":" in reference:
            yield (*speaker.place, "tools", i), reference.rpartition(":")[2], reference
    for place, job in speaker.jobs[:MAX_TOOLS]:
        if isinstance(tool := job.get("tool"), str):
            yield (*place, "tool"), tool, tool


def _rings(crew: Crew) -> Iterator[InitErrorDetails]:
    """Find the jobs that lead back to whoever gave them, where each waits for the other.

    Every ring has a job that leads from a worker back to one it was reached from: that one
    is told.
    """
    asks = {w.name: list(_asked(w)) for w in crew.workers if w.name and w.kind != AGENT}
    done: set[str] = set()
    for start, asked in asks.items():
        path = [start]
        ways = [iter(asked)]
        while ways:
            place, name = next(ways[-1], (None, ""))
            if place is None:
                done.add(path.pop())
                ways.pop()
            elif name in path and name != path[-1]:
                ring = [*path[path.index(name) :], name]
                yield misfit("ring", "closes a ring of jobs", place, name, ring=ring)
            elif name in asks and name not in done and name not in path:
                path.append(name)
                ways.append(iter(asks[name]))


def _asked(asker: Member) -> Iterator[tuple[Place, str]]:
    """Give whom a worker asks, each once, and where it does so first."""
    seen: set[str] = set()
    for place, job in asker.jobs[:MAX_TOOLS]:
        for k, name in enumerate(texts(job.get("workers"))):
            if name is not None and name not in seen:
                seen.add(name)
                yield (*place, "workers", k), name


# --- scripts ---

_Takes = Mapping[str, Iterable[str] | None]
"""The tools an LLM has, each with its arguments; None where only its code knows them."""


def _takes(speaker: Member, crew: Crew) -> _Takes:
    takes: dict[str, Iterable[str] | None] = {}
    if speaker is crew.main or not speaker.serves:
        takes[END] = ARGUMENTS[END]
    if any(speaker.transfers) and not speaker.serves:
        takes[TRANSFER] = ARGUMENTS[TRANSFER]
    takes |= dict.fromkeys(KIND_TOOLS.get(speaker.kind or "", ()))
    takes |= {name: None for _, name, _ in _tool_names(speaker) if name not in takes}
    for _, job in speaker.jobs[:MAX_TOOLS]:
        arguments = job.get("takes", TAKES)
        if isinstance(tool := job.get("tool"), str) and isinstance(arguments, Mapping):
            takes[tool] = list(arguments)
    return takes


def _unknown_tools(
    rule: Mapping[str, Any], place: Place, takes: _Takes, speaker: Member
) -> Iterator[InitErrorDetails]:
    if speaker.own:
        return  # its class may bring any
    call, on = rule.get("call"), rule.get("on")
    if isinstance(call, str) and call not in takes:
        yield _no_tool((*place, "call"), call, call, list(takes), speaker)
    if isinstance(on, str) and on.startswith("tool:") and on[5:] not in takes:
        known = [f"tool:{tool}" for tool in takes]
        yield _no_tool((*place, "on"), on, on[5:], known, speaker)


def _no_tool(
    place: Place, value: str, tool: str, known: list[str], speaker: Member
) -> InitErrorDetails:
    if speaker.serves and tool in (END, TRANSFER):
        what = "a {kind} never has the call"
        return misfit("no_call", what, place, value, kind=speaker.kind)
    if tool == TRANSFER and speaker.kind is None:
        return misfit("keeps", "[main] has a prompt and keeps the caller", place, value)
    if tool == TRANSFER:
        return misfit("no_transfer", "this worker has no 'transfers'", place, value)
    return misfit("no_tool", "this worker has no such tool", place, value, known=shown(known))


def _unfit_arguments(
    rule: Mapping[str, Any], place: Place, takes: _Takes
) -> Iterator[InitErrorDetails]:
    call, given = rule.get("call"), rule.get("args", {})
    known = takes.get(call) if isinstance(call, str) else None
    if known is None or not isinstance(given, Mapping) or "say" in rule:
        return
    for name, value in given.items():
        if name not in known:
            what = "this tool takes no such argument"
            yield misfit("no_argument", what, (*place, "args", name), value, known=shown(known))
    for name in known:
        if name not in given and call not in ARGUMENTS:  # such a rule would be passed over
            yield misfit("needed", "is missing: the tool needs it", (*place, "args", name))


def _unreachable_agent(
    rule: Mapping[str, Any], place: Place, speaker: Member, crew: Crew
) -> Iterator[InitErrorDetails]:
    targets = {target for target in speaker.transfers if target is not None}
    if not targets <= crew.names:  # which has been told, and may be all that is wrong
        return
    args = rule.get("args")
    agent = args.get("agent") if rule.get("call") == TRANSFER and isinstance(args, Mapping) else ""
    # `{…}` is filled in with what the caller said, so it may yet become a name.
    if isinstance(agent, str) and targets and "{" not in agent and agent not in {*targets, ""}:
        what = "this worker doesn't hand the call to anybody of that name"
        yield misfit("nobody", what, (*place, "args", "agent"), agent, known=shown(targets))
