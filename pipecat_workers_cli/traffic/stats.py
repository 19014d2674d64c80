"""Counts, rates and percentiles of a recording, read once and in bounded memory."""

import math
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

import msgspec

from pipecat_workers_cli.traffic.entry import Entry

BUCKET = 1.02  # each bucket of a histogram is so much wider: percentiles within one per cent
ROWS = 2_000  # names that are told apart; more come from no recipe


class Line(msgspec.Struct):
    """Of an entry what statistics need: reading no more is what makes them quick."""

    event: str
    call: str
    at_ms: int
    worker: str | None = None
    name: str | None = None
    kind: str | None = None
    state: str | None = None
    size: int | None = None
    count: int | None = None
    took_ms: float | None = None
    latency_ms: float | None = None


class Times:
    """Lengths of time in buckets, so that any number of them takes little room."""

    __slots__ = ("buckets", "count", "most")

    def __init__(self) -> None:
        """Begin with none."""
        self.buckets: Counter[int] = Counter()
        self.count = 0
        self.most = 0.0

    def add(self, ms: float) -> None:
        """Count one."""
        self.buckets[math.ceil(math.log(max(ms, 0.01), BUCKET))] += 1
        self.count += 1
        self.most = max(self.most, ms)

    def percentile(self, share: float) -> float:
        """Return the time that `share` of them (0 to 1) do not exceed; 0 if there are none."""
        rank, seen = math.ceil(share * self.count), 0
        for bucket in sorted(self.buckets):
            seen += self.buckets[bucket]
            if seen >= rank:
                return min(BUCKET**bucket, self.most)
        return 0.0


@dataclass(slots=True)
class Row:
    """What is known under one name.

    Attributes:
        count: How many there were.
        size: Bytes, of messages.
        times: How long they took, of those that take time.
        failed: How many did not end well.
    """

    count: int = 0
    size: int = 0
    failed: int = 0
    times: Times = field(default_factory=Times)


Rows = dict[str, Row]


@dataclass(slots=True)
class Stats:
    """What a recording holds, in sums.

    Attributes:
        calls: How many calls.
        seconds: From the first entry to the last, the longest of any call.
        kinds: Messages and events, by kind.
        workers: Answers, by worker, with the caller's wait.
        jobs: Jobs, by worker.
        tools: Calls of tools, by name.
        left_out: Messages that came too fast to be recorded.
    """

    calls: int = 0
    seconds: float = 0.0
    kinds: Rows = field(default_factory=Rows)
    workers: Rows = field(default_factory=Rows)
    jobs: Rows = field(default_factory=Rows)
    tools: Rows = field(default_factory=Rows)
    left_out: int = 0


def sum_up(lines: Iterable[Line | Entry], *, call: str | None = None) -> Stats:
    """Sum a recording up.

    Args:
        lines: Its entries, or what `Line` has of them.
        call: The beginning of the only call's id that counts; None counts all.
    """
    stats = Stats()
    calls: set[str] = set()
    latest = 0
    kinds = stats.kinds
    for line in lines:
        if call and not line.call.startswith(call):
            continue
        if line.call and line.call not in calls:
            calls.add(line.call)
        latest = max(latest, line.at_ms)
        if line.event == "left_out":
            stats.left_out += line.count or 0
            continue
        row = _row(kinds, line.kind or line.event)
        row.count += line.count or 1
        if line.size:
            row.size += line.size
        if line.event in _TIMED:
            _TIMED[line.event](stats, line)
    stats.calls = len(calls)
    stats.seconds = latest / 1000
    return stats


def _row(rows: Rows, name: str) -> Row:
    row = rows.get(name)
    if row is None:
        row = rows.setdefault(name if len(rows) < ROWS else "(others)", Row())
    return row


def _bot(stats: Stats, line: Line | Entry) -> None:
    row = _row(stats.workers, line.worker or "")
    row.count += 1
    if line.latency_ms is not None:
        row.times.add(line.latency_ms)


def _ended(rows: Rows, line: Line | Entry) -> None:
    if line.took_ms is not None:
        row = _row(rows, line.name or "")
        row.count += 1
        row.failed += line.state not in ("completed", None)
        row.times.add(line.took_ms)


_TIMED: dict[str, Callable[[Stats, Line | Entry], None]] = {
    "bot": _bot,
    "job": lambda stats, line: _ended(stats.jobs, line),
    "tool": lambda stats, line: _ended(stats.tools, line),
}
