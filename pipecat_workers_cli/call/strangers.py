"""A call whose other workers run in stock Pipecat processes: nothing but its bus is known of them.

Nobody is offered anything, holds anything by a lease or is replaced. Who is there is what
Pipecat's own registries say, which the call's runner exchanges with theirs.
"""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from loguru import logger
from pipecat.bus import (
    BusCancelMessage,
    BusCancelWorkerMessage,
    BusEndMessage,
    BusEndWorkerMessage,
    BusMessage,
)

from pipecat_workers_cli.buses.pubsub import Channel, PubSubBus
from pipecat_workers_cli.buses.urls import SharedBus
from pipecat_workers_cli.call.hosts import hosting_command
from pipecat_workers_cli.call.placement import NOBODY_AFTER, Tell
from pipecat_workers_cli.call.plan import Plan
from pipecat_workers_cli.errors import PmwError
from pipecat_workers_cli.workers.bridging import BridgingMain
from pipecat_workers_cli.workers.main import MainWorker

ENDS_WORKER = (BusEndWorkerMessage, BusCancelWorkerMessage)
"""What a runner tells its own workers; nobody else's runner ends ours."""

ENDS_CALL = (BusEndMessage, BusCancelMessage)


@dataclass(frozen=True, slots=True)
class Strangers:
    """Where a session's other workers are: on a channel of stock Pipecat's.

    Attributes:
        channel: This process's.
        bus: What it goes over.
    """

    channel: Channel
    bus: SharedBus

    def place(self, call: str, plan: Plan) -> "Acquaintance":
        """Prepare a call; strangers, who know but one, are not told its id."""
        return Acquaintance(self, plan)


class Acquaintance:
    """What a call has of strangers, for as long as it lasts."""

    def __init__(self, strangers: Strangers, plan: Plan) -> None:
        """Prepare; nothing is said to anybody yet.

        Args:
            strangers: Where they are.
            plan: The recipe; its workers are those that run elsewhere.
        """
        self._channel = strangers.channel
        self._shared = strangers.bus
        self._plan = plan
        self._names = frozenset(worker.name for worker in plan.loaded.recipe.workers)

    @asynccontextmanager
    async def open_bus(self) -> AsyncGenerator[PubSubBus]:
        """Open the call's bus; leaving stops what it still delivers.

        Raises:
            PmwError: Another call of this session is on the channel.
        """
        if self._channel.taken:
            raise PmwError("a call is on this channel already", mend="wait until it has ended")
        bus = PubSubBus(self._channel, admits=self._admits)
        with self._channel.taking(bus.take):
            try:
                yield bus
            finally:
                await bus.stop()

    def _admits(self, message: BusMessage) -> bool:
        """Let in what a stranger may say: a goodbye too, if it is one of the call's workers."""
        if isinstance(message, ENDS_WORKER):
            return False
        if isinstance(message, ENDS_CALL) and message.source not in self._names:
            logger.warning(f"{message.source} would end the call, but is no worker of it")
            return False
        return True

    @asynccontextmanager
    async def running(self, main: MainWorker, tell: Tell) -> AsyncGenerator[None]:
        """Say who is missing, while the block lasts, and take the call from its agent at the end.

        A stock agent hears of no hang-up, and would answer the next caller beside whoever opens
        that call.

        Args:
            main: The main worker.
            tell: Told entries of the call.
        """
        missing = asyncio.create_task(self._tell_missing(main, tell), name="who is missing")
        try:
            yield
        finally:
            missing.cancel()
            if isinstance(main, BridgingMain) and main.agent is not None:
                await main.deactivate_worker(main.agent)

    async def _tell_missing(self, main: MainWorker, tell: Tell) -> None:
        await asyncio.sleep(NOBODY_AFTER)
        for name in sorted(self._names):
            if name not in main.registry:
                mend = hosting_command(name, self._shared, self._plan)
                tell(event="error", worker=name, text=f"nobody hosts {name}; start it: {mend}")
