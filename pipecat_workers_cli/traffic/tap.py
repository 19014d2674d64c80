"""The session's view of all its calls: their buses' counts and their entries."""

import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from loguru import logger

from pipecat_workers_cli.buses.local import OTHERS, LocalBus
from pipecat_workers_cli.traffic.entry import Entry
from pipecat_workers_cli.traffic.jobs import JobLog
from pipecat_workers_cli.traffic.snapshot import (
    CallTraffic,
    EdgeKey,
    Edges,
    EdgeSum,
    Past,
    Snapshot,
    Speech,
    sum_edges,
    summarise,
)

RECENT_ENTRIES = 200  # some twenty turns with their tools; a tall terminal shows fifty lines
WORKERS = 200  # names met, in all calls
ENDED_EDGES = 2_000  # kept of calls that ended
WORDS = 300  # characters of a worker's last words
RATE_SPAN = 5.0  # seconds that a rate looks back
SAMPLE_EVERY = 0.5  # seconds between the counts that rates are reckoned from


@dataclass(slots=True)
class _OpenCall:
    call: str
    bus: LocalBus
    recipe: str
    since: float
    jobs: JobLog
    talker: str | None
    turns: int = 0


class Tap:
    """Sees many calls at once and costs them nothing until somebody asks.

    A call's bus counts by itself; the tap reads the counts when a snapshot is wanted.
    Entries are handed on at once to whoever subscribed. Everything is for one event
    loop's thread; a snapshot may be read in any.
    """

    def __init__(self) -> None:
        """Begin with no call."""
        self._began = time.monotonic()
        self._open: dict[str, _OpenCall] = {}
        self._ended = 0
        self._ended_edges: Edges = {}
        self._missed = 0
        self._speech: dict[str, Speech] = {}
        self._recent: deque[Entry] = deque(maxlen=RECENT_ENTRIES)
        self._subscribers: dict[object, Callable[[Entry], None]] = {}
        self._samples: deque[tuple[float, dict[EdgeKey, int]]] = deque([(self._began, {})])

    def open_call(
        self,
        call: str,
        bus: LocalBus,
        *,
        recipe: str,
        workers: Sequence[str],
        main: str,
        main_talks: bool = False,
    ) -> None:
        """Begin to watch a call.

        Args:
            call: The call's id.
            bus: The call's own bus.
            recipe: The name of what it runs.
            workers: Its workers' names, in the recipe's order, without the main worker's.
            main: The main worker's name.
            main_talks: Whether it talks to the caller itself, and is active all the time.
        """
        talker = main if main_talks else None
        self._open[call] = _OpenCall(call, bus, recipe, time.monotonic(), JobLog(bus), talker)
        for name in (main, *workers):
            if len(self._speech) < WORKERS:
                self._speech.setdefault(name, Speech(main=name == main))

    def close_call(self, call: str) -> None:
        """Let a call go; what it counted stays in the sums. An unknown call is passed over."""
        over = self._open.pop(call, None)
        if over is None:
            return
        over.jobs.catch_up()
        self._missed += over.jobs.missed
        self._ended += 1
        edges: Edges = {}
        sum_edges(over.bus.tallies, edges)
        for key, counted in edges.items():
            known = key in self._ended_edges or len(self._ended_edges) < ENDED_EDGES
            kept = key if known else key._replace(source=OTHERS, target=OTHERS)
            self._ended_edges.setdefault(kept, EdgeSum()).add(counted)

    def add(self, entry: Entry) -> None:
        """Take in what happened in a call, and tell every subscriber before returning."""
        self._recent.append(entry)
        if entry.event == "bot":
            if entry.call in self._open:
                self._open[entry.call].turns += 1
            self._note_words(entry)
        for subscriber in tuple(self._subscribers.values()):
            try:
                subscriber(entry)
            except Exception as error:  # one who looks on must not break the call
                name = getattr(subscriber, "__qualname__", type(subscriber).__name__)
                logger.error(f"{name}, a watcher of entries, failed: {type(error).__name__}")

    def subscribe(self, callback: Callable[[Entry], None]) -> Callable[[], None]:
        """Have `callback` told every entry from now on; it must not block.

        Returns:
            What ends the subscription; calling it again does nothing.
        """
        ticket = object()
        self._subscribers[ticket] = callback

        def unsubscribe() -> None:
            self._subscribers.pop(ticket, None)

        return unsubscribe

    def snapshot(self) -> Snapshot:
        """Sum up what was seen until now."""
        now = time.monotonic()
        for call in self._open.values():
            call.jobs.catch_up()
        counted_at, counts = self._samples[0]
        snapshot = summarise(
            [
                CallTraffic(c.call, c.recipe, c.since, c.turns, c.bus.tallies, c.jobs, c.talker)
                for c in self._open.values()
            ],
            speech=self._speech,
            recent=self._recent,
            past=Past(
                ended=self._ended,
                edges=self._ended_edges,
                left_out=self._missed + sum(c.jobs.missed for c in self._open.values()),
                counted_at=counted_at,
                counts=counts,
            ),
            began=self._began,
            now=now,
        )
        self._keep_sample(snapshot, now)
        return snapshot

    def _note_words(self, entry: Entry) -> None:
        name = entry.worker
        if name is None or (name not in self._speech and len(self._speech) >= WORKERS):
            return
        said = self._speech.get(name, Speech())
        words = (entry.text or "")[:WORDS]
        self._speech[name] = replace(said, turns=said.turns + 1, words=words)

    def _keep_sample(self, snapshot: Snapshot, now: float) -> None:
        """Keep counts now and then; the first kept is the one that rates look back to."""
        if now - self._samples[-1][0] < SAMPLE_EVERY:
            return
        counts = {EdgeKey(e.kind, e.source, e.target): e.count for e in snapshot.edges}
        self._samples.append((now, counts))
        while len(self._samples) > 1 and now - self._samples[1][0] >= RATE_SPAN:
            self._samples.popleft()
