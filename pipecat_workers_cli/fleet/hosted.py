"""One worker of a call that this process runs for a main worker elsewhere."""

import asyncio
import time
from collections.abc import Mapping
from typing import Any

from loguru import logger
from pipecat.workers.base_worker import BaseWorker

from pipecat_workers_cli.buses.door import Door
from pipecat_workers_cli.buses.link import Link
from pipecat_workers_cli.buses.network import Claim
from pipecat_workers_cli.buses.post import Post
from pipecat_workers_cli.buses.presence import own_version
from pipecat_workers_cli.buses.remote import AnyCodec, Seat, SpokeBus
from pipecat_workers_cli.call.assembly import build_worker, traced
from pipecat_workers_cli.call.placement import SWITCH_WITHIN
from pipecat_workers_cli.call.plan import Plan
from pipecat_workers_cli.call.run import running
from pipecat_workers_cli.errors import PmwError
from pipecat_workers_cli.tracing.setup import trace_worker
from pipecat_workers_cli.traffic.tap import Tap
from pipecat_workers_cli.traffic.views import NO_LINKS, LinkState
from pipecat_workers_cli.wire.letter import Letter
from pipecat_workers_cli.wire.notice import Joined, Leave, Left, Notice, Offer

ALONE_AFTER = 30.0  # seconds without a sign of the main worker's process
TAKEN_IN_WITHIN = SWITCH_WITHIN + 4.0  # seconds; an offer may outlive its call unnoticed
LOOK_EVERY = 1.0  # seconds


class Hosted:
    """A worker, from its claim until the call needs it no more.

    Attributes:
        claim: What was claimed.
        offer: What it said.
        shown: By which name it is watched here.
        moving: Whether another host may have it already; it goes on until that one does.
    """

    def __init__(
        self,
        claim: Claim,
        offer: Offer,
        post: Post[Any],
        *,
        door: Door | None = None,
        codec: AnyCodec | None = None,
        shown: str | None = None,
    ) -> None:
        """Prepare; nothing is built yet.

        Args:
            claim: What was claimed.
            offer: What it says.
            post: What letters to the call's main worker go by.
            door: What may cross on the way there and back; None lets through all that travels.
            codec: Writes and reads what crosses; None is this program's own.
            shown: By which name it is watched here; None takes the call's.
        """
        self.shown = shown or offer.call
        self.claim = claim
        self.offer = offer
        self.moving = False
        self._post = post
        self._why: str | None = None
        self._over = asyncio.Event()
        self.bus = SpokeBus(
            offer.call,
            worker=offer.worker,
            hub=Seat(offer.address, offer.epoch(claim.number), post, door, codec),
            on_notice=self._note,
        )

    def stop(self, why: str) -> None:
        """Let the worker end; the first reason counts."""
        if not self._over.is_set():
            self._why = why
            self._over.set()

    def _note(self, _sender: str, _letter: Letter, notice: Notice) -> None:
        if isinstance(notice, Leave):
            self.stop("")

    async def run(self, plan: Plan, tap: Tap, *, host: str) -> None:
        """Build the worker and run it until the call or this host needs it no more.

        Args:
            plan: The recipe by which it is built.
            tap: Sees its bus.
            host: What this host is called.
        """
        offer, post = self.offer, self._post
        plan = plan if offer.speech else plan.in_words()
        (planned,) = (worker for worker in plan.workers if worker.recipe.name == offer.worker)
        with (
            post.taking(offer.call, [offer.worker], self.bus.take),
            post.keeping(offer.address),
            logger.contextualize(call=offer.call, worker=offer.worker),
        ):
            try:
                worker = await build_worker(plan, planned)
                if (trace := trace_worker(offer.call, offer.worker)) is not None:
                    traced(worker, trace)
                self._watch(plan, tap)
                joined = Joined(host, own_version(), plan.loaded.hash)
                await self._run(worker, joined)
            except PmwError as error:
                self.stop(error.what)
                logger.error(f"{offer.worker} can't be hosted: {error.what} ({error.mend})")
            except (TimeoutError, ExceptionGroup) as error:
                self.stop(type(error).__name__)
                logger.error(f"{offer.worker} did not end well: {type(error).__name__}")
            finally:
                tap.close_call(self.shown)
                if self._why:
                    self.bus.tell(Left(self._why))

    async def _run(self, worker: BaseWorker, joined: Joined) -> None:
        over = asyncio.create_task(worker.wait(), name=f"{worker.name} over")
        over.add_done_callback(lambda _: self.stop("the worker stopped"))
        watching = asyncio.create_task(self._watch_main(), name="watch the main worker")
        try:
            async with running([worker], self.bus):
                self.bus.tell(joined)
                await self._over.wait()
        finally:
            over.cancel()
            watching.cancel()

    async def _watch_main(self) -> None:
        """End when the main worker's process is gone, or knows of no such call."""
        loop = asyncio.get_running_loop()
        began = loop.time()
        while not self._over.is_set():
            await asyncio.sleep(LOOK_EVERY)
            if self._post.failure is not None:
                began = loop.time()  # nobody could say so meanwhile
            elif self._post.silent_for(self.offer.address) > ALONE_AFTER:
                self.stop("nothing is heard of the main worker")
            elif not self.bus.is_taken_in and loop.time() - began > TAKEN_IN_WITHIN:
                self.stop("it was not taken in")

    def _watch(self, plan: Plan, tap: Tap) -> None:
        tap.open_call(
            self.shown,
            self.bus,
            recipe=plan.loaded.recipe.name,
            workers=[self.offer.worker],
            main=self.offer.main,
            since=time.monotonic(),
            recipe_hash=plan.loaded.hash,
            links=self._links,
        )

    def _links(self) -> Mapping[str, LinkState]:
        if not isinstance(self._post.network, Link):
            return NO_LINKS
        return {self.offer.worker: LinkState(self._post.network.latency, self._post.refused)}
