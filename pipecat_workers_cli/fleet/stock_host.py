"""Hosts workers for a stock Pipecat main worker: one call after another on one channel.

A stock runner ends its process with its session. This host's runner ends too, and another one
begins with fresh workers: whoever comes next finds nobody who still has the last call.
"""

import asyncio
import time
import uuid
from contextlib import suppress

from loguru import logger
from pipecat.bus import (
    BusActivateWorkerMessage,
    BusJobRequestMessage,
    BusMessage,
    BusWorkerRegistryMessage,
)
from pipecat.workers.base_worker import BaseWorker

from pipecat_workers_cli.buses.presence import own_name
from pipecat_workers_cli.buses.pubsub import Channel, PubSubBus
from pipecat_workers_cli.call.assembly import build_worker
from pipecat_workers_cli.call.plan import Plan
from pipecat_workers_cli.call.run import running
from pipecat_workers_cli.call.strangers import ENDS_WORKER
from pipecat_workers_cli.fleet.callerless import Callerless
from pipecat_workers_cli.services.offline import load_models
from pipecat_workers_cli.traffic.tap import Tap
from pipecat_workers_cli.wire.limits import WORKERS

QUIET = 10.0  # seconds without a word from elsewhere; a stock main worker tells of no hang-up
LOOK_EVERY = 0.25  # seconds
TRY_AGAIN = 1.0  # seconds after a failure


class StockSession:
    """One session of a main worker elsewhere, as far as the channel tells of it.

    Attributes:
        over: Set once it is.
        begun: Whether a worker here was given anything to do.
        heard_at: When anything last came from elsewhere, in the event loop's seconds.
    """

    def __init__(self, workers: frozenset[str], *, main: str) -> None:
        """Wait for a main worker.

        Args:
            workers: The recipe's other workers.
            main: What the recipe calls its main worker; a stranger's may be called otherwise.
        """
        self.over = asyncio.Event()
        self.begun = False
        self.heard_at = 0.0
        self._workers = workers
        self._main = main
        self._runners: dict[str, str] = {}

    def admits(self, message: BusMessage) -> bool:
        """Follow what comes from elsewhere; tell whether it is for this session."""
        self.heard_at = asyncio.get_running_loop().time()
        if isinstance(message, ENDS_WORKER):
            # Only a runner says that, of its own workers: of the main one, it ends the session.
            if message.target == self._main and self.begun:
                self.over.set()
            return False
        if isinstance(message, BusActivateWorkerMessage | BusJobRequestMessage):
            self.begun = True
            if message.source not in self._workers:
                self._main = message.source
        elif isinstance(message, BusWorkerRegistryMessage):
            return self._meets(message)
        return True

    def _meets(self, message: BusWorkerRegistryMessage) -> bool:
        """Take a registry in, unless the main worker in it is another than this session's.

        That one is to hear of the fresh worker alone: it calls whoever answers at once.
        """
        names = [entry.name for entry in message.workers]
        known = self._runners.get(self._main)
        if self.begun and self._main in names and known not in (None, message.runner):
            self.over.set()
            return False
        for name in names:
            if name in self._runners or len(self._runners) < WORKERS:
                self._runners[name] = message.runner
        return True


class StockHost(Callerless):
    """Runs workers of a recipe, all in one, for as long as the process lasts.

    Attributes:
        name: Machine and process, `machine-12345`.
        recipe: The recipe's name.
        providers: Who thinks and speaks for its workers.
        max_calls: One, for that is what a channel of stock Pipecat's has.
    """

    max_calls = 1

    def __init__(self, plan: Plan, channel: Channel, tap: Tap) -> None:
        """Prepare; nothing is said to anybody yet.

        Args:
            plan: The recipe with its providers, checked; all of its workers are run.
            channel: This process's.
            tap: Sees the workers' bus.
        """
        super().__init__()
        self.name = own_name()
        self.recipe = plan.loaded.recipe.name
        self.providers = plan.told()
        self._plan = plan
        self._channel = channel
        self._tap = tap
        self._session: StockSession | None = None
        self._draining = False

    @property
    def failure(self) -> str | None:
        """Why the bus can't be reached now; None while it can."""
        return self._channel.failure

    async def run(self) -> None:
        """Hold one session after another until cancelled, or until the last one has drained.

        Raises:
            PmwError: One of the workers can't be built.
        """
        await load_models(self._plan.choices())
        while not self._draining:
            workers = [await build_worker(self._plan, planned) for planned in self._plan.workers]
            try:
                await self._hold(workers)
            except (TimeoutError, ExceptionGroup) as error:
                logger.error(f"a session did not end well: {type(error).__name__}")
                await asyncio.sleep(TRY_AGAIN)

    async def _hold(self, workers: list[BaseWorker]) -> None:
        recipe = self._plan.loaded.recipe
        everybody = frozenset(worker.name for worker in recipe.workers)
        self._session = session = StockSession(everybody, main=recipe.main.name)

        def agent() -> str | None:
            active = (worker.name for worker in workers if worker.bridged and worker.active)
            return next(active, None)

        bus = PubSubBus(self._channel, admits=session.admits, hands_on=agent)
        call = uuid.uuid4().hex[:8]
        self._tap.open_call(
            call,
            bus,
            recipe=recipe.name,
            workers=[worker.name for worker in workers],
            main=recipe.main.name,
            since=time.monotonic(),
            recipe_hash=self._plan.loaded.hash,
        )
        # A goodbye, whosever it is, ends the runner's workers, and with them the session here.
        ending = [asyncio.create_task(worker.wait(), name="worker over") for worker in workers]
        for task in ending:
            task.add_done_callback(lambda _: session.over.set())
        try:
            with self._channel.taking(bus.take):
                async with running(workers, bus):
                    await session.over.wait()
        finally:
            for task in ending:
                task.cancel()
            self._tap.close_call(call)

    async def drain(self, *, within: float) -> bool:
        """Wait until the session is over, if one is going on; nobody takes its place.

        Args:
            within: Seconds that it may go on.

        Returns:
            Whether it was over in time.
        """
        self._draining = True
        loop = asyncio.get_running_loop()
        deadline = loop.time() + within
        while (session := self._session) and session.begun and not session.over.is_set():
            if self._channel.failure is not None or loop.time() - session.heard_at > QUIET:
                break
            if loop.time() >= deadline:
                return False
            with suppress(TimeoutError):
                await asyncio.wait_for(session.over.wait(), LOOK_EVERY)
        return True
