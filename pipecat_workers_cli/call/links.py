"""Workers of a call that are reached by a link each: opened, kept up, and opened again."""

import asyncio
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import AbstractAsyncContextManager, contextmanager
from dataclasses import dataclass
from typing import Any

from loguru import logger

from pipecat_workers_cli.buses.door import CallersDoor
from pipecat_workers_cli.buses.link import CALLERS_END, Link, mind
from pipecat_workers_cli.buses.post import Counts, Post, Take, running_post
from pipecat_workers_cli.buses.remote import Seat
from pipecat_workers_cli.buses.stock_link import StockCallersDoor, open_stock_link
from pipecat_workers_cli.buses.waits import Backoff
from pipecat_workers_cli.buses.way import Way, open_link
from pipecat_workers_cli.call.place import Seeker
from pipecat_workers_cli.call.placement import Placement
from pipecat_workers_cli.call.plan import Plan
from pipecat_workers_cli.errors import PmwError
from pipecat_workers_cli.options import LinkOptions, Wire
from pipecat_workers_cli.recipe.model import WorkerRecipe
from pipecat_workers_cli.traffic.views import LinkState
from pipecat_workers_cli.wire.notice import Offer


@dataclass(frozen=True, slots=True)
class Speech:
    """What is spoken over a link.

    Attributes:
        open: Opens one.
        door: What may cross it.
    """

    open: Callable[[Way], AbstractAsyncContextManager[Link]]
    door: type[CallersDoor]


SPEECHES: Mapping[Wire, Speech] = {
    Wire.PMW: Speech(open_link, CallersDoor),
    Wire.STOCK: Speech(open_stock_link, StockCallersDoor),
}
FIRST_BACKOFF, LONGEST_BACKOFF = 0.1, 2.0  # seconds; doubled in between, with jitter
JOIN_WITHIN = 8.0  # seconds to open a link and have the worker there; as long it may be silent
LEAVE_WITHIN = 0.5  # seconds for last words


@dataclass(frozen=True, slots=True)
class Links:
    """Where a session's other workers are: each at the other end of a link, or here.

    Attributes:
        options: How they are reached.
    """

    options: LinkOptions

    def place(self, call: str, plan: Plan) -> Placement | None:
        """Prepare a call of this id; None if all of its workers run here."""
        if not plan.linked:
            return None
        return Placement(call, plan, lambda it: seekers_by_link(it, plan, self.options))


def seekers_by_link(placement: Placement, plan: Plan, options: LinkOptions) -> Iterator[Seeker]:
    """Give what opens the links of a call.

    Args:
        placement: The call's.
        plan: The recipe, and which of its workers have an `at`.
        options: How they are reached.
    """
    for worker in plan.linked:
        yield LinkSeeker(worker, placement, plan, options)


def way_to(worker: WorkerRecipe, options: LinkOptions) -> Way:
    """Return the way to a worker that has an `at`."""
    return Way(worker.name, worker.at or "", worker.token, options)


async def require_links(plan: Plan, options: LinkOptions) -> None:
    """Make sure that there is a way to all workers of a plan that have an `at`.

    Raises:
        PmwError: There is none to one of them.
    """
    for worker in plan.linked:
        way = way_to(worker, options)
        async with SPEECHES[way.options.wire].open(way):
            pass


class LinkSeeker:
    """Opens a link to one worker of a call, and another when that breaks."""

    cut_off = None
    address = CALLERS_END
    same_recipe = False
    sorry = "I'm sorry, the line is down just now. Please stay on, I keep trying."

    def __init__(
        self, worker: WorkerRecipe, placement: Placement, plan: Plan, options: LinkOptions
    ) -> None:
        """Prepare; nothing is opened yet.

        Args:
            worker: The worker's table.
            placement: Told when a link breaks.
            plan: The recipe it stands in.
            options: How it is reached.
        """
        self.worker = worker.name
        self.gives_up_after = options.reconnect_timeout
        self.counts = Counts()
        self._way = way_to(worker, options)
        self._placement = placement
        self._speech = SPEECHES[options.wire]
        self._door = self._speech.door(
            worker.name,
            placement.bus,
            main=plan.loaded.recipe.main.name,
            transfers=worker.transfers,
            asks={name for job in worker.jobs for name in job.workers},
        )
        self._why = "it was not opened yet"
        self._take: Take
        self._post: Post[Link] | None = None
        self._pause = Backoff(FIRST_BACKOFF, LONGEST_BACKOFF)
        self._leaving = asyncio.Event()
        self._holding: asyncio.Task[None] | None = None
        self._old: set[asyncio.Task[None]] = set()

    async def missing(self) -> str:
        """Return what the user is told while it can't be reached."""
        return f"{self.worker} can't be reached: {self._why}"

    def seat(self, sender: str, epoch: int) -> Seat | None:
        """Return the seat at the other end of the link; None if that is gone."""
        if self._post is None:
            return None
        self._pause.reset()  # whoever writes is there
        return Seat(sender, epoch, self._post, self._door, self._post.network.codec)

    def patience(self, tries: int) -> float:
        """Return how long the other end may take; a link that breaks is opened again sooner."""
        return JOIN_WITHIN

    def state(self) -> LinkState:
        """Return how the link is."""
        latency = self._post.network.latency if self._post else None
        return LinkState(latency, self.counts.refused.total())

    @contextmanager
    def taking(self, call: str, take: Take) -> Generator[None]:
        """Have `take` given what is said of the worker; all links are closed at the end."""
        self._take = take
        try:
            yield
        finally:
            for task in self._tasks():
                task.cancel()

    def _tasks(self) -> set[asyncio.Task[None]]:
        return self._old | ({self._holding} if self._holding else set())

    async def seek(self, offer: Offer) -> None:
        """Open a link, and drop the one before; see `Seeker`."""
        if self._holding is not None and not self._holding.done():
            self._holding.cancel()
            self._old.add(self._holding)
            self._holding.add_done_callback(self._old.discard)
        self._leaving = asyncio.Event()
        self._holding = asyncio.create_task(self._hold(offer), name=f"link to {self.worker}")

    async def leave(self) -> None:
        """Close the link, once last words have gone over it; see `Seeker`."""
        self._leaving.set()
        if tasks := self._tasks():
            await asyncio.wait(tasks, timeout=LEAVE_WITHIN)

    async def _hold(self, offer: Offer) -> None:
        me = asyncio.current_task()
        try:
            async with self._speech.open(self._way) as link:
                await link.greet(offer)
                await self._carry(link, offer)
                self._why = link.told
        except PmwError as error:
            self._why = f"{error.what} ({error.mend})"
        except Exception as error:  # whatever it is, another link may do better
            logger.opt(exception=error).error(f"a link failed: {type(error).__name__}")
            self._why = f"unexpected {type(error).__name__}"
        if self._holding is me and not self._leaving.is_set():
            logger.info(f"no way to {self.worker}: {self._why}")
            self._placement.note_broken(self.worker, again_in=self._pause.next())

    async def _carry(self, link: Link, offer: Offer) -> None:
        """Carry letters until the link is over, or isn't needed any more."""
        me = asyncio.current_task()
        waits: set[asyncio.Task[Any]] = {
            asyncio.create_task(link.over.wait(), name="link over"),
            asyncio.create_task(self._leaving.wait(), name="link left"),
        }
        async with running_post(link.post(self.counts)) as post:
            waits.add(asyncio.create_task(mind(link, post), name="mind the link"))
            self._post = post
            try:
                with post.taking(offer.call, [self.worker], self._take):
                    await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
            finally:
                if self._holding is me:
                    self._post = None
                for wait in waits:
                    wait.cancel()
