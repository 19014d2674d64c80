"""Where a session's workers are that don't run in it: with hosts of ours, or with strangers."""

from collections.abc import AsyncGenerator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Protocol

from pipecat_workers_cli.buses.local import LocalBus
from pipecat_workers_cli.buses.post import open_post
from pipecat_workers_cli.buses.urls import SharedBus, open_channel, open_network
from pipecat_workers_cli.call.announcing import announcing
from pipecat_workers_cli.call.hosts import Hosts
from pipecat_workers_cli.call.links import Links, require_links
from pipecat_workers_cli.call.placement import Tell
from pipecat_workers_cli.call.plan import Plan
from pipecat_workers_cli.errors import ConfigurationError
from pipecat_workers_cli.options import LINKS, LinkOptions
from pipecat_workers_cli.traffic.tap import Tap
from pipecat_workers_cli.workers.main import MainWorker


class Placing(Protocol):
    """One call's other workers, from before it is built until it is over."""

    def open_bus(self) -> AbstractAsyncContextManager[LocalBus]:
        """Open the call's bus; leaving stops what it still delivers.

        Raises:
            PmwError: There can't be one more call.
        """
        ...

    def running(self, main: MainWorker, tell: Tell) -> AbstractAsyncContextManager[None]:
        """See to it that the workers are there, or say who isn't, while the block lasts.

        Args:
            main: The main worker, which runs by now.
            tell: Told entries of the call.
        """
        ...


class Distribution(Protocol):
    """Where a session's workers are that don't run in it."""

    def place(self, call: str, plan: Plan) -> Placing | None:
        """Prepare a call; nothing is said to anybody yet.

        Args:
            call: The call's id.
            plan: The recipe, and which of its workers run here.

        Returns:
            None if all of them do.
        """
        ...


@asynccontextmanager
async def open_distribution(
    bus: SharedBus | None, tap: Tap, *, plan: Plan | None = None, links: LinkOptions = LINKS
) -> AsyncGenerator[Distribution]:
    """Connect this process to a shared bus while the block lasts; its calls are listed there.

    Args:
        bus: Which one; None connects to none.
        tap: Sees the calls.
        plan: What the first call begins with; whoever it reaches by a link has to be there.
        links: How workers are reached that have an `at`.

    Raises:
        PmwError: It can't be reached, or isn't what it should be.
    """
    if plan is not None:
        await require_links(plan, links)
    if bus is None:
        yield Links(links)
    elif bus.kind.stock:
        if plan is not None and plan.linked:
            what = f"{plan.linked[0].name} has an 'at', and stock Pipecat's bus takes all workers"
            raise ConfigurationError(what, mend="leave --bus out, or use redis://")
        from pipecat_workers_cli.call.strangers import Strangers  # noqa: PLC0415  # brings redis-py

        async with open_channel(bus) as channel:
            yield Strangers(channel, bus)
    else:
        async with open_network(bus) as network, open_post(network) as post, announcing(post, tap):
            yield Hosts(post, bus, links)
