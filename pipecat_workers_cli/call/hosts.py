"""Workers of a call that hosts run: offered on a shared engine, claimed by whoever has room."""

import asyncio
import shlex
from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, field

from pipecat_workers_cli.buses.network import LEASE
from pipecat_workers_cli.buses.post import Post, Take
from pipecat_workers_cli.buses.presence import look
from pipecat_workers_cli.buses.remote import Seat
from pipecat_workers_cli.buses.urls import SharedBus
from pipecat_workers_cli.call.links import seekers_by_link
from pipecat_workers_cli.call.place import Seeker
from pipecat_workers_cli.call.placement import Placement
from pipecat_workers_cli.call.plan import Plan
from pipecat_workers_cli.errors import PmwError
from pipecat_workers_cli.options import LinkOptions
from pipecat_workers_cli.recipe.files import shipped_path
from pipecat_workers_cli.wire.notice import Offer, encode_notice

OFFER_AGAIN = (LEASE + 3.0, 30.0)  # seconds of silence after which, and at most; doubled each time
LOOK_WITHIN = 1.0  # seconds for a look at who else hosts a worker


@dataclass(frozen=True, slots=True)
class Hosts:
    """Where a session's other workers are: with hosts of ours, found by offering.

    Attributes:
        post: This process's.
        bus: What it goes over.
        links: How those are reached that have an `at`, and no host.
    """

    post: Post
    bus: SharedBus
    links: LinkOptions = field(default_factory=LinkOptions)

    def place(self, call: str, plan: Plan) -> Placement:
        """Prepare a call of this id, whose workers are to be run elsewhere."""

        def seekers(placement: Placement) -> Iterator[Seeker]:
            yield from seekers_by_link(placement, plan, self.links)
            linked = {worker.name for worker in plan.linked}
            for worker in plan.loaded.recipe.workers:
                if worker.name not in linked:
                    yield HostSeeker(worker.name, self, plan)

        return Placement(call, plan, seekers)


def hosting_command(worker: str, bus: SharedBus, plan: Plan) -> str:
    """Return the command that hosts a worker of a recipe."""
    told = ""
    if plan.loaded.path != shipped_path("handoff"):
        told = f" --recipe {shlex.quote(str(plan.loaded.path))}"
    return f"pmw worker {worker}{told} --bus {bus.shown} --channel {bus.channel}"


def queue_of(recipe: str, worker: str) -> str:
    """Return the name under which a recipe's worker is offered and claimed."""
    return f"{recipe}/{worker}"


class HostSeeker:
    """Offers one worker of a call to hosts."""

    gives_up_after = None
    same_recipe = True
    sorry = "I'm sorry, everybody is busy just now. Please stay on the line."

    def __init__(self, worker: str, hosts: Hosts, plan: Plan) -> None:
        """Prepare; nothing is offered yet.

        Args:
            worker: The worker's name.
            hosts: Where they are.
            plan: The recipe it stands in.
        """
        self.worker = worker
        self._post = hosts.post
        self._shared = hosts.bus
        self._plan = plan
        self._queue = queue_of(plan.loaded.recipe.name, worker)
        self._offer: str | None = None

    @property
    def address(self) -> str:
        """This process's inbox."""
        return self._post.address

    @property
    def cut_off(self) -> str | None:
        """Why the engine can't be reached; None while it can."""
        return self._post.failure

    async def missing(self) -> str:
        """Return what the user is told while nobody takes it."""
        busy = await self._busy_hosts()
        mend = hosting_command(self.worker, self._shared, self._plan)
        if busy:
            return f"all {busy} hosts of {self.worker} are full or draining; start another: {mend}"
        return f"nobody hosts {self.worker}; start it: {mend}"

    async def _busy_hosts(self) -> int:
        recipe = self._plan.loaded.recipe.name
        try:
            async with asyncio.timeout(LOOK_WITHIN):
                hosts = (await look(self._post.network)).hosts
        except (TimeoutError, PmwError):
            return 0
        return sum((seen.row.recipe, seen.row.worker) == (recipe, self.worker) for seen in hosts)

    def seat(self, sender: str, epoch: int) -> Seat:
        """Return the seat of a host that wrote."""
        return Seat(sender, epoch, self._post)

    def patience(self, tries: int) -> float:
        """Return how long a host may take to come, in seconds."""
        first, longest = OFFER_AGAIN
        return min(first * 2 ** min(tries, 5), longest)

    def taking(self, call: str, take: Take) -> AbstractContextManager[None]:
        """Have `take` given what hosts say of the worker while the block lasts."""
        return self._post.taking(call, [self.worker], take)

    def state(self) -> None:
        """Tell of no link: hosts are reached over the engine."""

    async def seek(self, offer: Offer) -> None:
        """Offer it; see `Seeker`."""
        if self._offer is not None:
            await self._post.network.withdraw(self._queue, self._offer)
        self._offer = await self._post.network.offer(self._queue, encode_notice(offer))

    async def leave(self) -> None:
        """Take the offer back; see `Seeker`."""
        if self._offer is not None:
            await self._post.network.withdraw(self._queue, self._offer)
