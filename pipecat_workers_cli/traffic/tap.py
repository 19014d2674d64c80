"""The session's view of all its calls: their buses' counts and their entries."""

import asyncio
import contextlib
import time
from collections import Counter, deque
from collections.abc import AsyncGenerator, Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from itertools import islice
from types import MappingProxyType
from typing import Any, TypeVar

from loguru import logger
from pipecat.bus import BusMessage

from pipecat_workers_cli.buses.local import OTHERS, LocalBus
from pipecat_workers_cli.logs import redactor
from pipecat_workers_cli.traffic.classify import audio_entries, entry_of, struck
from pipecat_workers_cli.traffic.edges import EdgeKey, Edges, EdgeSum, sum_edges
from pipecat_workers_cli.traffic.entry import Entry
from pipecat_workers_cli.traffic.jobs import Durations, JobLog, Pair
from pipecat_workers_cli.traffic.series import SeriesLog
from pipecat_workers_cli.traffic.snapshot import CallTraffic, Past, Speech, summarise
from pipecat_workers_cli.traffic.views import NO_LINKS, LinkState, Snapshot

RECENT_ENTRIES = 200  # some twenty turns with their tools; a tall terminal shows fifty lines
WORKERS = 200  # names met, in all calls
ENDED_EDGES = 2_000  # kept of calls that ended
LATENCIES = 100  # of a worker's latest answers, that their median is taken of
WORDS = 300  # characters of a worker's last words
RATE_SPAN = 5.0  # seconds that a rate looks back
SAMPLE_EVERY = 0.5  # seconds between the counts that rates are reckoned from
COLLECT_EVERY = 0.02  # seconds; at 5,000 messages a second a round takes less than 1 ms
KEPT_FOR = 600.0  # seconds for which a session remembers what nobody asked it to record
KEPT_MOST = 50_000  # messages and entries remembered; some 30 MB

ANSWERS = ("bot", "tool", "transfer", "job", "error", "end")
"""Entries that show that something follows the caller's words."""

_Told = TypeVar("_Told")

Watch = Callable[[Sequence[Entry]], None]
"""Told entries in batches, in the order of their time in each call; must not block."""


Links = Callable[[], Mapping[str, LinkState]]
"""Tells how the links to a call's workers are, by worker."""


def no_links() -> Mapping[str, LinkState]:
    """Tell of no link."""
    return NO_LINKS


@dataclass(slots=True)
class _OpenCall:
    call: str
    bus: LocalBus
    recipe: str
    hash: str
    since: float
    jobs: JobLog
    series: SeriesLog
    main: str
    talker: str | None
    dropped: Mapping[str, int]
    links: Links
    asked_at: float | None = None
    turns: int = 0
    read: int = 0
    audio_told: dict[Any, tuple[int, int, float]] = field(
        default_factory=dict[Any, tuple[int, int, float]]
    )

    def at_ms(self, at: float) -> int:
        return max(0, round((at - self.since) * 1000))


@dataclass(frozen=True, slots=True)
class _Seen:
    """A message that crossed a call's bus, not yet told as an entry."""

    call: str
    at_ms: int
    message: BusMessage


class Tap:
    """Sees many calls at once and costs them nothing until somebody asks.

    A call's bus counts by itself; the tap reads the counts when a snapshot is wanted.
    Entries of calls are handed on at once to whoever subscribed; messages are collected on
    a timer (`collecting`), remembered by reference, and told as entries when somebody
    watches. Everything is for one event loop's thread; a snapshot may be read in any.
    """

    def __init__(self) -> None:
        """Begin with no call."""
        self._began = time.monotonic()
        self._open: dict[str, _OpenCall] = {}
        self._ended = 0
        self._ended_edges: Edges = {}
        self._missed = 0
        self._durations = Durations()
        self._dropped: Counter[str] = Counter()
        self._refused: Counter[str] = Counter()
        self._speech: dict[str, Speech] = {}
        self._recent: deque[Entry] = deque(maxlen=RECENT_ENTRIES)
        self._subscribers: dict[object, Callable[[Entry], None]] = {}
        self._samples: deque[tuple[float, dict[EdgeKey, int]]] = deque([(self._began, {})])
        self._strike = redactor()
        self._watchers: dict[object, Watch] = {}
        self._past: deque[tuple[float, Entry | _Seen]] = deque(maxlen=KEPT_MOST)

    def open_call(
        self,
        call: str,
        bus: LocalBus,
        *,
        recipe: str,
        workers: Sequence[str],
        main: str,
        main_talks: bool = False,
        since: float | None = None,
        recipe_hash: str = "",
        timeouts: Mapping[Pair, float] = MappingProxyType({}),
        dropped: Mapping[str, int] = MappingProxyType({}),
        links: Links = no_links,
    ) -> None:
        """Begin to watch a call.

        Args:
            call: The call's id.
            bus: The call's own bus.
            recipe: The name of what it runs.
            workers: Its workers' names, in the recipe's order, without the main worker's.
            main: The main worker's name.
            main_talks: Whether it talks to the caller itself, and is active all the time.
            since: When it began, in seconds of `time.monotonic`; None is now.
            recipe_hash: Which version of the recipe it runs.
            timeouts: How long who waits for whose answer to a job, in seconds.
            dropped: Counts, while the call goes on, what came too late from whom.
            links: Tells how the links to its workers are, by worker.
        """
        self._open[call] = _OpenCall(
            call,
            bus,
            recipe,
            recipe_hash,
            time.monotonic() if since is None else since,
            JobLog(bus, timeouts=timeouts, durations=self._durations),
            SeriesLog(bus),
            main,
            talker=main if main_talks else None,
            dropped=dropped,
            links=links,
        )
        for name in (main, *workers):
            if len(self._speech) < WORKERS:
                self._speech.setdefault(name, Speech(main=name == main))

    def close_call(self, call: str) -> None:
        """Let a call go; what it counted stays in the sums. An unknown call is passed over."""
        over = self._open.get(call)
        if over is None:
            return
        self._collect([over])
        del self._open[call]
        over.jobs.catch_up()
        self._missed += over.jobs.missed
        self._dropped.update(over.dropped)
        self._refused.update({name: link.refused for name, link in over.links().items()})
        self._ended += 1
        edges: Edges = {}
        sum_edges(over.bus.tallies, edges)
        for key, counted in edges.items():
            known = key in self._ended_edges or len(self._ended_edges) < ENDED_EDGES
            kept = key if known else key._replace(source=OTHERS, target=OTHERS)
            self._ended_edges.setdefault(kept, EdgeSum()).add(counted)

    def add(self, entry: Entry) -> None:
        """Take in what happened in a call, and tell every subscriber before returning."""
        entry = struck(entry, self._strike)
        call = self._open.get(entry.call)
        if call is not None:
            self._collect([call])  # what led to it stands before it
        self._keep([entry])
        if not entry.told:
            return
        self._recent.append(entry)
        if call is not None and entry.event == "user":
            call.asked_at = time.monotonic()
        elif call is not None and entry.event in ANSWERS:
            call.asked_at = None
        if entry.event == "bot":
            if entry.call in self._open:
                self._open[entry.call].turns += 1
            self._note_words(entry)
        _tell(self._subscribers, entry, of="entries")

    def tell_trouble(self, text: str) -> None:
        """Take in, as an `error` without a call, what concerns the session as a whole."""
        at_ms = int((time.monotonic() - self._began) * 1000)
        self.add(Entry(event="error", call="", at_ms=at_ms, text=text))

    def subscribe(self, callback: Callable[[Entry], None]) -> Callable[[], None]:
        """Have `callback` told every entry from now on; it must not block.

        Returns:
            What ends the subscription; calling it again does nothing.
        """
        return _join(self._subscribers, callback)

    def watch(self, callback: Watch) -> Callable[[], None]:
        """Have `callback` told all entries from now on, messages on the bus too.

        Returns:
            What ends the watch; calling it again does nothing.
        """
        self.collect()
        return _join(self._watchers, callback)

    def remembered(self) -> Iterator[Entry]:
        """Give all entries of the last ten minutes, as far as they were kept."""
        self.collect()
        oldest = time.monotonic() - KEPT_FOR
        for at, seen in tuple(self._past):
            if at >= oldest:
                yield self._told(seen)

    @asynccontextmanager
    async def collecting(self) -> AsyncGenerator[None]:
        """Collect messages from the calls' buses for as long as the block lasts."""

        async def collect() -> None:
            while True:
                await asyncio.sleep(COLLECT_EVERY)
                self.collect()

        task = asyncio.create_task(collect(), name="collect traffic")
        try:
            yield
        finally:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task
            self.collect()

    def collect(self) -> None:
        """Read what crossed the buses since the last time."""
        self._collect(tuple(self._open.values()))

    def _collect(self, calls: Iterable[_OpenCall]) -> None:
        now = time.monotonic()
        for call in calls:
            self._keep([*self._new(call, now)])
        while self._past and self._past[0][0] < now - KEPT_FOR:
            self._past.popleft()

    def _new(self, call: _OpenCall, now: float) -> Iterator[Entry | _Seen]:
        recent, noted = call.bus.recent, call.bus.noted
        new = min(noted - call.read, len(recent))
        if missed := noted - call.read - new:
            at_ms = call.at_ms(recent[0][0] if recent else now)
            yield Entry(event="left_out", call=call.call, at_ms=at_ms, count=missed)
        call.read = noted
        for at, message in islice(recent, len(recent) - new, None):
            yield _Seen(call.call, call.at_ms(at), message)
        yield from audio_entries(
            call.bus.tallies, call.audio_told, call=call.call, at_ms=call.at_ms(now)
        )

    def _keep(self, seen: Sequence[Entry | _Seen]) -> None:
        if not seen:
            return
        now = time.monotonic()
        self._past.extend((now, one) for one in seen)
        if not self._watchers:
            return
        _tell(self._watchers, [self._told(one) for one in seen], of="traffic")

    def _told(self, seen: Entry | _Seen) -> Entry:
        if isinstance(seen, Entry):
            return seen
        try:
            entry = entry_of(seen.message, call=seen.call, at_ms=seen.at_ms)
            return struck(entry, self._strike)
        except Exception as error:  # a stranger's class may be anything; the others are told
            kind = type(seen.message).__name__
            logger.error(f"a {kind} could not be told: {type(error).__name__}")
            return Entry(event="left_out", call=seen.call, at_ms=seen.at_ms, count=1)

    def snapshot(self) -> Snapshot:
        """Sum up what was seen until now."""
        now = time.monotonic()
        for call in self._open.values():
            call.jobs.catch_up()
            call.series.catch_up()
        counted_at, counts = self._samples[0]
        snapshot = summarise(
            [
                CallTraffic(
                    c.call,
                    c.recipe,
                    c.since,
                    c.turns,
                    c.bus.tallies,
                    c.jobs,
                    c.talker,
                    c.hash,
                    c.series,
                    main=c.main,
                    dropped=c.dropped,
                    links=c.links(),
                    asked_at=c.asked_at,
                )
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
                usual=self._durations.usual(),
                dropped=self._dropped,
                refused=self._refused,
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
        new = () if entry.latency_ms is None else (entry.latency_ms,)
        latencies = (*said.latencies, *new)[-LATENCIES:]
        self._speech[name] = replace(said, turns=said.turns + 1, words=words, latencies=latencies)

    def _keep_sample(self, snapshot: Snapshot, now: float) -> None:
        """Keep counts now and then; the first kept is the one that rates look back to."""
        if now - self._samples[-1][0] < SAMPLE_EVERY:
            return
        counts = {EdgeKey(e.kind, e.source, e.target): e.count for e in snapshot.edges}
        self._samples.append((now, counts))
        while len(self._samples) > 1 and now - self._samples[1][0] >= RATE_SPAN:
            self._samples.popleft()


def _join(
    listeners: dict[object, Callable[[_Told], None]], callback: Callable[[_Told], None]
) -> Callable[[], None]:
    ticket = object()  # the same callback may listen twice
    listeners[ticket] = callback

    def leave() -> None:
        listeners.pop(ticket, None)

    return leave


def _tell(listeners: Mapping[object, Callable[[_Told], None]], told: _Told, *, of: str) -> None:
    for listener in tuple(listeners.values()):
        try:
            listener(told)
        except Exception as error:  # one who looks on must not break the call
            name = getattr(listener, "__qualname__", type(listener).__name__)
            logger.error(f"{name}, a watcher of {of}, failed: {type(error).__name__}")
