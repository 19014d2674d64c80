"""What crossed the buses, summed up by kind, source and target."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

from pipecat.bus import BusWorkerRegistryMessage

from pipecat_workers_cli.buses.local import Tally
from pipecat_workers_cli.traffic.kinds import Kind, kind_of

EVERYBODY = "*"
"""The target of a message for all."""

RUNNER = "runner"
"""Stands for the runner of each call: its own name is different every time."""

Tallies = Mapping[tuple[type, str, str | None, bool | None], Tally]


class EdgeKey(NamedTuple):
    """What one row of the traffic sums up: a kind, from whom, to whom."""

    kind: Kind
    source: str
    target: str


@dataclass(slots=True)
class EdgeSum:
    """What crossed an edge so far; `last` is in seconds of `time.monotonic`."""

    count: int = 0
    bytes: int = 0
    seconds: float = 0.0
    last: float = 0.0

    def add(self, other: "EdgeSum | Tally") -> None:
        """Take the counts of `other` in."""
        self.count += other.count
        self.bytes += other.bytes
        self.seconds += other.seconds
        self.last = max(self.last, other.last)


Edges = dict[EdgeKey, EdgeSum]


def sum_edges(tallies: Tallies, edges: Edges) -> None:
    """Add the counts of one bus to `edges`; its runner's name becomes `RUNNER`."""
    runners = {key[1] for key in tallies if key[0] is BusWorkerRegistryMessage}
    for (type_, source, target, _), tally in tallies.items():
        key = EdgeKey(
            kind_of(type_),
            RUNNER if source in runners else source,
            RUNNER if target in runners else target or EVERYBODY,
        )
        edges.setdefault(key, EdgeSum()).add(tally)
