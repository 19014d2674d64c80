"""What a process gets from a shared engine: an inbox, offers of work, and who is there.

One `Network` a process, however many calls it holds. All of it is bytes: what they mean is
the business of `wire` and of whoever sends them. Nothing here retries and nothing waits for
long; `post.py` goes on after a failure, so that a process can leave while its engine is dead.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from pipecat_workers_cli.errors import PmwError

ANSWER_WITHIN = 3.0  # seconds for any request; a silent network is noticed as soon
WAIT_FOR_NEWS = 1.0  # seconds that `receive` and `claim` wait when there is nothing
LEASE = 3.0  # seconds; a claim that isn't renewed for so long may be claimed by another
INBOX_KEPT = 30.0  # seconds that an inbox outlives its owner
INBOX_PARCELS = 20_000  # parcels that wait in one inbox; the oldest beyond them are dropped
OFFERS_WAITING = 10_000  # in one queue


class BusDown(PmwError):
    """The engine did not answer in time, or the connection to it is lost; it may come back."""


@dataclass(frozen=True, slots=True)
class Claim:
    """Work that this process has claimed.

    Attributes:
        queue: Where it was offered.
        offer: The offer's id, which one in another queue may have, too.
        body: What was offered.
        number: How often it has been claimed, this time included: 1 for the first claim.
    """

    queue: str
    offer: str
    body: bytes
    number: int


@dataclass(frozen=True, slots=True)
class Presence:
    """Somebody who is there, until its time is over.

    Attributes:
        name: Unique among those of its kind.
        body: What it says of itself.
        age: Seconds since it last said so, by the engine's clock.
    """

    name: str
    body: bytes
    age: float


class Carrier(Protocol):
    """What takes a process's letters to others, and brings theirs.

    Attributes:
        address: This process's inbox: letters, digits, `-` and `_` alone.
    """

    address: str

    async def send(self, parcels: Mapping[str, bytes]) -> Collection[str]:
        """Put a parcel into each inbox; kept in order for each of them.

        Args:
            parcels: Each inbox's address and what is put there.

        Returns:
            The addresses that have no inbox: their owner has left or died. Nothing is made
            for them.
        """
        ...

    async def receive(self) -> Sequence[bytes]:
        """Wait for parcels in this process's inbox.

        Returns:
            All that came, oldest first; nothing if a moment went by.
        """
        ...


class Network(Carrier, Protocol):
    """A process's place on a shared engine, on one channel.

    Every method raises `BusDown` within `ANSWER_WITHIN` (`receive` and `claim`: that and
    `WAIT_FOR_NEWS`) if the engine can't be reached; calling it again later connects anew,
    also to an engine that came back without its data. A method that is cancelled leaves
    nothing behind. `receive`, `claim` and the others may be awaited at the same time.

    Attributes:
        address: This process's inbox: letters, digits, `-` and `_` alone.
    """

    address: str

    async def send(self, parcels: Mapping[str, bytes]) -> Collection[str]:
        """Put a parcel into each inbox, in one round trip; kept in order for each inbox.

        Args:
            parcels: Each inbox's address and what is put there.

        Returns:
            The addresses that have no inbox: their owner has left, died, or the engine has
            lost its data. Nothing is made for them.
        """
        ...

    async def receive(self) -> Sequence[bytes]:
        """Wait for parcels in this process's inbox, which is made if it isn't there.

        A parcel is safe until `receive` is called again: after a failure in between, it is
        given once more. Whoever calls must drop what it knows already.

        Returns:
            All that came, oldest first; nothing if `WAIT_FOR_NEWS` went by.
        """
        ...

    async def offer(self, queue: str, body: bytes) -> str:
        """Offer work; return the offer's id.

        Args:
            queue: Any text of 1 to 200 characters; those who claim name the same.
            body: What is to be done.
        """
        ...

    async def withdraw(self, queue: str, offer: str) -> None:
        """Take an offer back, claimed or not; whoever holds it finds it lost when renewing."""
        ...

    async def claim(self, queues: Sequence[str], *, most: int) -> Sequence[Claim]:
        """Wait for work: offers nobody has, and those whose holder has not renewed.

        Args:
            queues: Where to look.
            most: How many to take at most, all queues together.

        Returns:
            What this process holds from now on, for `LEASE` seconds; nothing if
            `WAIT_FOR_NEWS` went by.
        """
        ...

    async def renew(self, claims: Collection[Claim]) -> Collection[Claim]:
        """Hold claims for `LEASE` seconds from now, all in one round trip.

        Returns:
            Those that are lost: claimed by another meanwhile, withdrawn or forgotten. They
            are not taken back.
        """
        ...

    async def settle(self, claim: Claim) -> None:
        """Be done with an offer for good; does nothing if the claim is lost."""
        ...

    async def give_back(self, claim: Claim) -> None:
        """Let another claim it at once; does nothing if the claim is lost."""
        ...

    async def announce(self, kind: str, name: str, body: bytes, *, ttl: float) -> None:
        """Say that somebody is there for `ttl` seconds; again replaces it.

        Args:
            kind: What they are, such as `host`: lower-case letters alone.
            name: Who, unique in their kind.
            body: What they say of themselves.
            ttl: Seconds after which they are gone unless they say so again.
        """
        ...

    async def take_leave(self, kind: str, name: str) -> None:
        """Say that somebody is no longer there."""
        ...

    async def present(self, kind: str) -> Sequence[Presence]:
        """Return who is there of a kind, by name."""
        ...
