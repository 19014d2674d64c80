"""A worker host: runs workers of one recipe for many calls whose main workers are elsewhere.

It claims what is offered while it has room, and holds each claim by renewing it. Whoever
renews too late has lost it: another host may run that worker by then, and the call's main
worker hears the later one alone.
"""

import asyncio
from contextlib import suppress
from dataclasses import dataclass

import msgspec
from loguru import logger

from pipecat_workers_cli.buses.announced import announced
from pipecat_workers_cli.buses.network import ANSWER_WITHIN, LEASE, Claim
from pipecat_workers_cli.buses.post import Post
from pipecat_workers_cli.buses.presence import HOST, HostRow, own_name, own_version
from pipecat_workers_cli.call.assembly import build_worker
from pipecat_workers_cli.call.hosts import queue_of
from pipecat_workers_cli.call.plan import Plan
from pipecat_workers_cli.errors import PmwError
from pipecat_workers_cli.fleet.callerless import Callerless
from pipecat_workers_cli.fleet.hosted import Hosted
from pipecat_workers_cli.services.offline import load_models
from pipecat_workers_cli.traffic.tap import Tap
from pipecat_workers_cli.wire.limits import Refused
from pipecat_workers_cli.wire.notice import decode_offer

RENEW_EVERY = 0.7  # seconds; three may fail before a lease of three seconds is over
LOOK_EVERY = 0.25  # seconds
TRY_AGAIN = 0.5  # seconds after a failure
MOVE_WITHIN = LEASE + 10.0  # seconds in which another host takes over what this one gives back


@dataclass(slots=True)
class HostCounts:
    """What happened since the host began.

    Attributes:
        claims: Workers claimed.
        taken_over: Those of them that another host had before.
        fenced: Claims that were lost to another, or to an engine without its data.
    """

    claims: int = 0
    taken_over: int = 0
    fenced: int = 0


class WorkerHost(Callerless):
    """Runs workers for as long as the process lasts.

    Attributes:
        name: Machine and process, `machine-12345`.
        recipe: The recipe's name.
        providers: Who thinks and speaks for its workers.
        max_calls: How many of each worker it runs at once.
        counts: What happened until now.
        held: The workers that run here, by call, worker and epoch.
    """

    def __init__(self, plan: Plan, post: Post, tap: Tap, *, max_calls: int) -> None:
        """Prepare; nothing is claimed yet.

        Args:
            plan: The recipe with its providers, checked; all of its workers are run.
            post: This process's.
            tap: Sees the workers' buses.
            max_calls: How many of each worker to run at once.
        """
        super().__init__()
        self.name = own_name()
        self.recipe = plan.loaded.recipe.name
        self.providers = plan.told()
        self.max_calls = max_calls
        self.counts = HostCounts()
        self._plan = plan
        self._names = tuple(worker.recipe.name for worker in plan.workers)
        self._post = post
        self._tap = tap
        self.held: dict[tuple[str, str, int], Hosted] = {}
        self._claiming: list[asyncio.Task[None]] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self._changed = asyncio.Condition()
        self._draining = False
        self._renewed_at = 0.0

    @property
    def draining(self) -> bool:
        """Whether it takes no more calls."""
        return self._draining

    @property
    def failure(self) -> str | None:
        """Why the bus can't be reached now; None while it can."""
        return self._post.failure

    @property
    def deaf(self) -> bool:
        """Whether the bus can't be reached now."""
        return self.failure is not None

    def calls(self, worker: str) -> int:
        """Return for how many calls a worker runs here."""
        return sum(hosted.offer.worker == worker for hosted in self.held.values())

    async def run(self) -> None:
        """Claim and hold until cancelled; what is held then is stopped.

        Raises:
            PmwError: One of the workers can't be built.
        """
        await load_models(self._plan.choices())
        for planned in self._plan.workers:  # the first takes its time, to import what it needs
            await build_worker(self._plan, planned)
        if self._draining:  # already: nothing was claimed, and nothing is to be
            return
        async with announced(self._post, HOST, self._said):
            try:
                async with asyncio.TaskGroup() as tasks:
                    self._claiming = [
                        tasks.create_task(self._claim(name), name=f"claim {name}")
                        for name in self._names
                    ]
                    tasks.create_task(self._renew(), name="renew")
            finally:
                await self._stop_all("the host stopped")

    async def drain(self, *, within: float) -> bool:
        """Take no more calls, and wait until those here are over or have moved elsewhere.

        Args:
            within: Seconds that calls may go on here.

        Returns:
            Whether all of them were over in time.
        """
        self._draining = True
        for task in self._claiming:
            task.cancel()
        if self._claiming:  # what is on its way to them is given back
            await asyncio.wait(self._claiming, timeout=ANSWER_WITHIN)
        if await self._emptied(within):
            return True
        if self.deaf:  # nobody would hear of it
            return False
        for hosted in list(self.held.values()):
            hosted.moving = True
            with suppress(PmwError):
                await self._post.network.give_back(hosted.claim)
        await self._emptied(MOVE_WITHIN)
        return False

    async def _emptied(self, within: float) -> bool:
        """Wait until nothing is held; a host that reaches nobody needn't wait."""
        deadline = asyncio.get_running_loop().time() + within
        while self.held and not self.deaf and asyncio.get_running_loop().time() < deadline:
            await self._wait_for_change()
        return not self.held

    async def _wait_for_change(self) -> None:
        """Wait until something that is held ends, or it is time to look again."""
        with suppress(TimeoutError):
            async with asyncio.timeout(LOOK_EVERY), self._changed:
                await self._changed.wait()

    async def _claim(self, worker: str) -> None:
        queue = queue_of(self.recipe, worker)
        while True:
            if self.calls(worker) >= self.max_calls or not self._is_holding():
                await self._wait_for_change()
                continue
            try:
                free = self.max_calls - self.calls(worker)
                claims = await self._post.network.claim([queue], most=free)
            except PmwError:  # the post tells of it
                await asyncio.sleep(TRY_AGAIN)
                continue
            for claim in claims:
                await self._take(claim, worker)

    def _is_holding(self) -> bool:
        """Tell whether what is held was renewed lately, or it would be claimed by ourselves."""
        since = asyncio.get_running_loop().time() - self._renewed_at
        return not self.held or since < LEASE / 2

    async def _take(self, claim: Claim, worker: str) -> None:
        try:
            offer = decode_offer(claim.body)
            if offer.worker != worker:
                raise Refused("it is an offer of another worker")
        except Refused as refused:
            logger.warning(f"an offer was dropped: {refused}")
            with suppress(PmwError):  # another host will drop it, then
                await self._post.network.settle(claim)
            return
        self.counts.claims += 1
        self.counts.taken_over += claim.number > 1 or offer.number > 1
        hosted = Hosted(claim, offer, self._post)
        key = (offer.call, worker, offer.epoch(claim.number))
        self.held[key] = hosted
        task = asyncio.create_task(self._run(key, hosted), name=f"host {worker}")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _run(self, key: tuple[str, str, int], hosted: Hosted) -> None:
        try:
            await hosted.run(self._plan, self._tap, host=self.name)
        finally:
            del self.held[key]
            if not hosted.moving and not self.deaf:  # its lease ends by itself
                with suppress(PmwError):
                    await self._post.network.settle(hosted.claim)
            async with self._changed:
                self._changed.notify_all()

    async def _renew(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            mine = {hosted.claim: hosted for hosted in self.held.values() if not hosted.moving}
            try:
                lost = await self._post.network.renew(mine.keys())
            except PmwError:
                await asyncio.sleep(TRY_AGAIN)
                continue
            self._renewed_at = loop.time()
            for claim in lost:
                if mine[claim].moving:  # given back while this was under way
                    continue
                self.counts.fenced += 1
                mine[claim].stop("its claim was lost")
            await asyncio.sleep(RENEW_EVERY)

    def _said(self) -> dict[str, bytes]:
        return {f"{row.host}/{row.worker}": msgspec.json.encode(row) for row in self.rows()}

    def rows(self) -> list[HostRow]:
        """Return what the host says of itself now."""
        return [self._row(worker) for worker in self._names]

    def _row(self, worker: str) -> HostRow:
        calls = self.calls(worker)
        state = "draining" if self._draining else "full" if calls >= self.max_calls else "ready"
        return HostRow(
            host=self.name,
            recipe=self.recipe,
            worker=worker,
            calls=calls,
            max_calls=self.max_calls,
            state=state,
            version=own_version(),
            hash=self._plan.loaded.hash,
        )

    async def _stop_all(self, why: str) -> None:
        for hosted in self.held.values():
            hosted.stop(why)
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=4.0)
