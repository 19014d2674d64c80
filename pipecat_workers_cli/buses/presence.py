"""What hosts and sessions say of themselves on a shared bus, and how that is read.

Nothing of Pipecat is imported here: `pmw ps` answers at once.
"""

import os
import socket
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.metadata import version
from typing import Annotated, Generic, TypeVar

import msgspec

from pipecat_workers_cli.buses.network import Network

HOST, CALL = "host", "call"
"""The kinds of presence: a host's worker, and a session with its calls."""

ANNOUNCE_EVERY = 1.0  # seconds
PRESENT_FOR = 4.0  # seconds that somebody is listed after they last said so
CALLS_LISTED = 200  # of one session; some 25 KB a second

Word = Annotated[str, msgspec.Meta(max_length=200, pattern=r"^[^\x00-\x1f\x7f-\x9f]*$")]
"""What may be shown on a terminal: anybody on the bus may have written it."""

Count = Annotated[int, msgspec.Meta(ge=0)]


class HostRow(msgspec.Struct, frozen=True):
    """What a host says of itself, a row for each worker that it runs.

    Attributes:
        host: Machine and process.
        recipe: The recipe's name.
        worker: The worker's.
        calls: How many it runs.
        max_calls: How many it would.
        state: `ready`, `full` or `draining`.
        version: Of pmw.
        hash: Of the recipe.
    """

    host: Word
    recipe: Word
    worker: Word
    calls: Count
    max_calls: Count
    state: Word
    version: Word
    hash: Word


class CallRow(msgspec.Struct, frozen=True):
    """One open call.

    Attributes:
        call: Its id.
        recipe: The recipe's name.
        hash: Of the recipe by which its main worker runs.
        worker: Who has the call; None before anybody has.
        turn: Answers given.
        age: Seconds since it began.
    """

    call: Word
    recipe: Word
    hash: Word
    worker: Word | None
    turn: Count
    age: float


class SessionRow(msgspec.Struct, frozen=True):
    """What a session says of itself: the calls whose main workers it runs.

    Attributes:
        session: Machine and process.
        version: Of pmw.
        calls: The oldest first.
        unlisted: How many more there are.
    """

    session: Word
    version: Word
    calls: Annotated[tuple[CallRow, ...], msgspec.Meta(max_length=CALLS_LISTED)]
    unlisted: Count = 0


Row = TypeVar("Row", HostRow, SessionRow)


@dataclass(frozen=True, slots=True)
class Seen(Generic[Row]):
    """Somebody who is there.

    Attributes:
        row: What they said.
        age: Seconds since they said it.
    """

    row: Row
    age: float


@dataclass(frozen=True, slots=True)
class Present:
    """Who is there on a channel.

    Attributes:
        hosts: A row for each worker of each host.
        sessions: Those that run main workers.
    """

    hosts: Sequence[Seen[HostRow]] = ()
    sessions: Sequence[Seen[SessionRow]] = ()

    def odd_hashes(self) -> Collection[tuple[str, str]]:
        """Return the recipes, with a hash, that differ from what most run by that name.

        Where no hash is the most frequent, all of them differ.
        """
        counts: dict[str, Counter[str]] = {}
        for recipe, digest in self._recipes():
            counts.setdefault(recipe, Counter())[digest] += 1
        odd: set[tuple[str, str]] = set()
        for recipe, hashes in counts.items():
            (usual, most), *others = hashes.most_common()
            odd |= {(recipe, digest) for digest, _ in others}
            if others and others[0][1] == most:
                odd.add((recipe, usual))
        return odd

    def _recipes(self) -> Sequence[tuple[str, str]]:
        hosts = [(seen.row.recipe, seen.row.hash) for seen in self.hosts]
        calls = [call for seen in self.sessions for call in seen.row.calls]
        return [*hosts, *((call.recipe, call.hash) for call in calls)]


@cache
def own_name() -> str:
    """Return what this process is called on a bus."""
    return name_of(os.getpid())


def name_of(pid: int) -> str:
    """Return what a process of this machine is called on a bus: `machine-12345`."""
    return f"{socket.gethostname()}-{pid}"


@cache  # it reads a file, and is said of every worker each second
def own_version() -> str:
    """Return the version of this pmw."""
    return version("pipecat-workers-cli")


async def look(network: Network) -> Present:
    """Return who is there on a network; what no pmw of this version says is passed over.

    Raises:
        BusDown: It can't be reached.
    """
    return Present(await _rows(network, HOST, HostRow), await _rows(network, CALL, SessionRow))


async def _rows(network: Network, kind: str, row: type[Row]) -> Sequence[Seen[Row]]:
    seen: list[Seen[Row]] = []
    for somebody in await network.present(kind):
        try:
            seen.append(Seen(msgspec.json.decode(somebody.body, type=row), somebody.age))
        except msgspec.MsgspecError:
            continue
    return seen
