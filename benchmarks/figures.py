"""What `calls.py` measures, as data that a process can hand to the one that started it."""

import json
import statistics
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Spans:
    """How long something took, in ms."""

    median: float
    p95: float
    worst: float

    def __str__(self) -> str:  # a cell of the table
        return f"{self.median:7.1f} {self.p95:7.1f}"


def spans(seconds: list[float]) -> Spans:
    """Return median, 95th percentile and maximum in ms."""
    p95 = statistics.quantiles(seconds, n=20)[-1]
    return Spans(statistics.median(seconds) * 1000, p95 * 1000, max(seconds) * 1000)


@dataclass(frozen=True, slots=True)
class Level:
    """What so many calls at once cost.

    Attributes:
        calls: How many are open.
        memory: MiB resident, before the turns were timed.
        spread: Until a turn's first text, the calls' turns spread over a second.
        at_once: Until a turn's last text, all calls' turns sent at the same moment. The
            first texts come late too then, since all calls get on by small steps.
        lag: By which the event loop woke late, with the turns spread.
        cpu: Of the process for each turn, all of the turn, in ms.
    """

    calls: int
    memory: float
    spread: Spans
    at_once: Spans
    lag: Spans
    cpu: float


@dataclass(frozen=True, slots=True)
class Serial:
    """What calls held one after another cost.

    Attributes:
        curve: MiB resident before them and at ten even steps.
        opened_in: Of a call until it has welcomed the caller, median, in ms.
        unanswered: Calls in which a turn got no answer.
    """

    curve: tuple[float, ...]
    opened_in: float
    unanswered: int


@dataclass(frozen=True, slots=True)
class Measured:
    """What an arrangement costs.

    Attributes:
        first: MiB that the first call took.
        levels: From few calls to many.
        serial: The calls held one after another.
        left: What was left once the calls had ended: of those held together, of all.
    """

    first: float
    levels: tuple[Level, ...]
    serial: Serial
    left: tuple[dict[str, int], ...]

    @property
    def further(self) -> float:
        """MiB for each call beyond the first."""
        few, many = self.levels[0], self.levels[-1]
        return (many.memory - few.memory) / max(1, many.calls - few.calls)

    @classmethod
    def parse(cls, text: str) -> "Measured":
        """Read the JSON of one."""
        told = json.loads(text)
        times = ("spread", "at_once", "lag")
        told["levels"] = tuple(
            Level(**level | {name: Spans(**level[name]) for name in times})
            for level in told["levels"]
        )
        return cls(**told | {"serial": Serial(**told["serial"])})
