"""A worker of a call that somebody else runs: who looks for them, and what is known of them."""

import asyncio
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass, field
from typing import Protocol

from pipecat_workers_cli.buses.post import Take
from pipecat_workers_cli.buses.remote import Seat
from pipecat_workers_cli.traffic.views import LinkState
from pipecat_workers_cli.wire.notice import Offer

REST = 2.0  # seconds from a worker's joining to its next offer; one that can't run would spin


class Seeker(Protocol):
    """Looks for somebody to run one worker of a call elsewhere, again and again if need be.

    Attributes:
        worker: The worker's name.
        address: Where whoever is found is to write.
        gives_up_after: Seconds without anybody until the call ends; None is never.
        same_recipe: Whether whoever is found should run it by the call's own recipe.
        sorry: What the caller hears while nobody is there.
    """

    worker: str

    @property
    def address(self) -> str: ...  # noqa: D102  # told above
    @property
    def gives_up_after(self) -> float | None: ...  # noqa: D102
    @property
    def same_recipe(self) -> bool: ...  # noqa: D102
    @property
    def sorry(self) -> str: ...  # noqa: D102

    @property
    def cut_off(self) -> str | None:
        """Why nobody can be looked for now; None if it is possible."""
        ...

    async def missing(self) -> str:
        """Return what the user is told while nobody is there, with the mend."""
        ...

    def seat(self, sender: str, epoch: int) -> Seat | None:
        """Return the seat of somebody who wrote; None if the way there is gone already."""
        ...

    def patience(self, tries: int) -> float:
        """Return the seconds that somebody has to come, before it is looked for again.

        Args:
            tries: How often it was looked for since somebody was there.
        """
        ...

    def taking(self, call: str, take: Take) -> AbstractContextManager[None]:
        """Have `take` given what is said of the worker while the block lasts."""
        ...

    def state(self) -> LinkState | None:
        """Return how the link to the worker is; None if it is reached otherwise."""
        ...

    async def seek(self, offer: Offer) -> None:
        """Look for somebody, and no longer by the offer before; returns within a moment.

        Raises:
            PmwError: It could not be done.
        """
        ...

    async def leave(self) -> None:
        """Look for nobody any more; returns within a moment.

        Raises:
            PmwError: It could not be done.
        """
        ...


@dataclass(slots=True)
class Place:
    """One worker of a call, and what is known of who runs it.

    Attributes:
        seeker: Looks for somebody.
        offered: How often it was offered.
        tries: How often it was since somebody was there.
        offer_at: When to offer it again, in the event loop's seconds.
        joined_at: When a host last joined with it, likewise.
        epoch: The latest claim by which one did.
        missed_at: Since when nobody runs it; None while somebody does.
        silent: Whether nothing was heard of its process for too long.
        told: Whether the user was told that nobody runs it.
        filled: Whether the caller was asked to wait, since it went silent.
        keeping: Exchanges signs of life with the process that runs it.
        joining: Held while one is taken in, which may have to wait for the one before.
        lost: Whether it was given up for good.
    """

    seeker: Seeker
    offered: int = 0
    tries: int = 0
    offer_at: float = 0.0
    joined_at: float = -REST
    epoch: int = 0
    missed_at: float | None = None
    silent: bool = False
    told: bool = False
    filled: bool = False
    keeping: ExitStack = field(default_factory=ExitStack)
    joining: asyncio.Lock = field(default_factory=asyncio.Lock)
    lost: bool = False

    @property
    def worker(self) -> str:
        """Its name."""
        return self.seeker.worker
