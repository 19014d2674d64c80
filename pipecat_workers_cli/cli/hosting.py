"""A worker host, as seen from a terminal."""

import asyncio
import signal
import sys
from collections.abc import AsyncGenerator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager

from pipecat_workers_cli.buses.urls import SharedBus, choose_bus
from pipecat_workers_cli.call.plan import Plan
from pipecat_workers_cli.call.ready import ready_plan
from pipecat_workers_cli.cli.detach import announce_ready, how_to_end
from pipecat_workers_cli.cli.progress import Progress
from pipecat_workers_cli.cli.terminal import Terminal
from pipecat_workers_cli.errors import ConfigurationError, near_miss
from pipecat_workers_cli.fleet.process import AnyHost, serve_workers
from pipecat_workers_cli.options import HostOptions
from pipecat_workers_cli.services.providers import calls_at_once
from pipecat_workers_cli.traffic.tap import Tap


def host_workers(terminal: Terminal, recipe: str, options: HostOptions) -> None:
    """Host workers until a signal ends it; blocks.

    Args:
        terminal: Where to say so.
        recipe: Whose workers: a name or a path, as it was typed.
        options: What else was typed.

    Raises:
        ConfigurationError: The bus, the recipe or a name is wrong.
        PmwError: A key or a package is missing, the bus can't be reached, or calls were
            still going on when the time to drain was over.
    """
    bus = choose_bus(options.bus, otherwise="redis")
    if bus is None:
        what = "a worker host needs a bus that other processes share"
        raise ConfigurationError(what, mend="--bus redis, or a URL")

    def part(plan: Plan) -> Plan:
        known = [planned.recipe.name for planned in plan.workers]
        return plan.hosting(chosen_names(options.names, known, every=options.every))

    plan = ready_plan(recipe, options.services, sets=options.sets, speech=True, part=part)
    progress = Progress(terminal, f"connecting to {bus.shown}")

    def beside(host: AnyHost, name: str | None) -> AbstractAsyncContextManager[None]:
        progress.end()
        return _introduced(terminal, host, name, plan, bus)

    serving = serve_workers(
        plan,
        bus,
        tap=Tap(),
        max_calls=bus.room(options.max_calls, otherwise=calls_at_once(tuple(plan.choices()))),
        drain_timeout=options.drain_timeout,
        health_port=options.health_port,
        beside=beside,
    )
    with progress:
        ended_by = asyncio.run(serving)
    if ended_by == signal.SIGINT:
        sys.exit(130)


@asynccontextmanager
async def _introduced(
    terminal: Terminal, host: AnyHost, name: str | None, plan: Plan, bus: SharedBus
) -> AsyncGenerator[None]:
    workers = ", ".join(planned.recipe.name for planned in plan.workers)
    ending = f"({how_to_end(name)}; up to {host.max_calls} calls)"
    terminal.say(
        f"{workers} of {host.recipe} {plan.loaded.hash} at {bus.told}  {ending}\n{plan.told()}"
    )
    announce_ready(name, bus.told)
    yield


def chosen_names(typed: Sequence[str], known: Sequence[str], *, every: bool) -> list[str]:
    """Return the workers to host.

    Args:
        typed: Their names as typed.
        known: All of the recipe's.
        every: Whether `--all` was typed.

    Raises:
        ConfigurationError: None was named, or one that the recipe hasn't.
    """
    if every and not typed:
        return list(known)
    if every or not typed:
        what = "--all leaves no name to be typed" if typed else "no worker was named"
        raise ConfigurationError(what, mend=f"name some of {', '.join(known)}; or --all alone")
    for name in typed:
        if name not in known:
            mend = near_miss(name, known)
            raise ConfigurationError(f"the recipe has no worker '{name}'", mend=mend)
    return list(dict.fromkeys(typed))
