"""What is known of many calls' traffic, and the pure function that makes views of it."""

import statistics
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from pipecat.bus import (
    BusActivateWorkerMessage,
    BusDeactivateWorkerMessage,
    BusWorkerReadyMessage,
)

from pipecat_workers_cli.traffic.edges import EdgeKey, Edges, EdgeSum, Tallies, sum_edges
from pipecat_workers_cli.traffic.entry import Entry
from pipecat_workers_cli.traffic.jobs import Job, Pair, Usual, is_late
from pipecat_workers_cli.traffic.kinds import RANK, Kind
from pipecat_workers_cli.traffic.series import Series
from pipecat_workers_cli.traffic.silence import silent_agents, silent_talker
from pipecat_workers_cli.traffic.views import (
    CallView,
    Edge,
    JobView,
    LinkState,
    SeriesView,
    Snapshot,
    WorkerView,
)


@dataclass(frozen=True, slots=True)
class CallTraffic:
    """What is known of an open call; `since` is in seconds of `time.monotonic`.

    `talker` is the main worker's name, if it talks to the caller itself. `dropped` counts by
    worker what came too late to be spoken. `links` says how the links to its workers are.
    `asked_at` is when the caller's last words came, if nothing has followed them.
    """

    call: str
    recipe: str
    since: float
    turns: int
    tallies: Tallies
    jobs: Iterable[Job] = ()
    talker: str | None = None
    hash: str = ""
    series: Iterable[Series] = ()
    main: str = ""
    dropped: Mapping[str, int] = field(default_factory=dict[str, int])
    links: Mapping[str, LinkState] = field(default_factory=dict[str, LinkState])
    asked_at: float | None = None


@dataclass(frozen=True, slots=True)
class Speech:
    """What a worker has said so far, in all calls; of its latest answers, how long they took."""

    main: bool = False
    turns: int = 0
    words: str = ""
    latencies: tuple[float, ...] = ()


@dataclass(frozen=True, slots=True)
class Past:
    """What is over: calls that ended, and what had been counted a few seconds ago.

    Attributes:
        ended: How many calls have ended.
        edges: Their traffic.
        left_out: Messages of theirs, and of open calls, that were not read one by one.
        counted_at: When `counts` were taken, in seconds of `time.monotonic`.
        counts: Messages by edge at that moment, which rates are reckoned from.
        usual: How long jobs took, by who asked and who answered.
        dropped: What was dropped in calls that ended, by worker.
        refused: What was refused at links of calls that ended, by worker.
    """

    ended: int = 0
    edges: Mapping[EdgeKey, EdgeSum] = field(default_factory=dict[EdgeKey, EdgeSum])
    left_out: int = 0
    counted_at: float = 0.0
    counts: Mapping[EdgeKey, int] = field(default_factory=dict[EdgeKey, int])
    usual: Mapping[Pair, Usual] = field(default_factory=dict[Pair, Usual])
    dropped: Mapping[str, int] = field(default_factory=dict[str, int])
    refused: Mapping[str, int] = field(default_factory=dict[str, int])


def active_workers(tallies: Tallies) -> tuple[str, ...]:
    """Return who was activated later than deactivated, the latest activated first."""
    activated: dict[str, float] = {}
    deactivated: dict[str, float] = {}
    for (type_, _, target, _), tally in tallies.items():
        if target is None:
            continue
        if type_ is BusActivateWorkerMessage:
            activated[target] = max(tally.last, activated.get(target, 0.0))
        elif type_ is BusDeactivateWorkerMessage:
            deactivated[target] = max(tally.last, deactivated.get(target, 0.0))
    active = [name for name, at in activated.items() if at > deactivated.get(name, 0.0)]
    return tuple(sorted(active, key=lambda name: -activated[name]))


def summarise(
    calls: Sequence[CallTraffic],
    *,
    speech: Mapping[str, Speech],
    recent: Sequence[Entry],
    past: Past,
    began: float,
    now: float,
) -> Snapshot:
    """Sum up what was seen.

    Args:
        calls: The open calls, the oldest first.
        speech: Every worker met so far, and what it said.
        recent: The latest entries, the oldest first.
        past: What is over.
        began: When the tap was made, in seconds of `time.monotonic`.
        now: The moment of the snapshot, likewise.
    """
    active = {
        call.call: (call.talker,) if call.talker else active_workers(call.tallies) for call in calls
    }
    jobs = tuple(_jobs(calls, past.usual, now))
    return Snapshot(
        uptime=now - began,
        calls=tuple(
            CallView(
                call.call,
                call.recipe,
                active[call.call],
                call.turns,
                now - call.since,
                hash=call.hash,
            )
            for call in calls
        ),
        ended=past.ended,
        edges=tuple(_edges(calls, past, now)),
        jobs=jobs,
        series=tuple(
            SeriesView(call.call, one.worker, one.reading, one.unit, tuple(one.values))
            for call in calls
            for one in call.series
        ),
        workers=tuple(_workers(calls, speech, active, jobs, past, now)),
        recent=tuple(recent),
        left_out=past.left_out,
    )


def _workers(
    calls: Sequence[CallTraffic],
    speech: Mapping[str, Speech],
    active: Mapping[str, tuple[str, ...]],
    jobs: Sequence[JobView],
    past: Past,
    now: float,
) -> Iterator[WorkerView]:
    ready = Counter(
        key[1] for call in calls for key in call.tallies if key[0] is BusWorkerReadyMessage
    )
    having = Counter(name for names in active.values() for name in names)
    running = Counter(job.worker for job in jobs if job.running)
    late = Counter(job.worker for job in jobs if job.late)
    dropped, refused = Counter(past.dropped), Counter(past.refused)
    latencies: dict[str, float] = {}
    down = Counter[str]()
    silent: dict[str, float] = {}
    for call in calls:
        dropped.update(call.dropped)
        for name, link in call.links.items():
            refused[name] += link.refused
            down[name] += link.latency is None
            if link.latency is not None:
                latencies[name] = max(link.latency, latencies.get(name, 0.0))
        for name, waited in _silent(call, active[call.call], now).items():
            silent[name] = max(waited, silent.get(name, 0.0))
    for name, said in speech.items():
        yield WorkerView(
            name,
            said.main,
            having[name],
            said.turns,
            said.words,
            said.latencies[-1] if said.latencies else None,
            statistics.median(said.latencies) if said.latencies else None,
            ready_in=ready[name],
            jobs=running[name],
            late=late[name],
            silent=silent.get(name, 0.0),
            dropped=dropped[name],
            refused=refused[name],
            link_ms=latencies[name] * 1000 if name in latencies else None,
            link_down=down[name],
        )


def _silent(call: CallTraffic, active: Sequence[str], now: float) -> dict[str, float]:
    if call.talker is not None:
        return {call.talker: silent_talker(call.asked_at, now)}
    return silent_agents(call.tallies, active, main=call.main, now=now)


def _edges(calls: Sequence[CallTraffic], past: Past, now: float) -> Iterator[Edge]:
    edges: Edges = {}
    for key, ended in past.edges.items():
        edges.setdefault(key, EdgeSum()).add(ended)
    for call in calls:
        sum_edges(call.tallies, edges)
    span = now - past.counted_at
    for key in sorted(edges, key=lambda key: (RANK[key.kind], key.source, key.target)):
        total = edges[key]
        # Smaller only when the sums of ended calls were full and took a key in as others'.
        new = max(0, total.count - past.counts.get(key, 0))
        asked = key.kind is Kind.JOB_REQUEST
        usual = past.usual.get((key.source, key.target)) if asked else None
        yield Edge(
            *key,
            count=total.count,
            rate=new / span if span > 0 else 0.0,
            bytes=total.bytes,
            seconds=total.seconds,
            last_seen=now - total.last,
            p50=usual.p50 if usual else None,
            p95=usual.p95 if usual else None,
        )


def _jobs(
    calls: Sequence[CallTraffic], usual: Mapping[Pair, Usual], now: float
) -> Iterator[JobView]:
    found = [(call.call, job) for call in calls for job in call.jobs]
    found.sort(key=lambda one: one[1].until or one[1].since, reverse=True)
    found.sort(key=lambda one: one[1].until is not None)
    for call, job in found:
        running = job.until is None
        age = (now if job.until is None else job.until) - job.since
        pair = (job.requester, job.worker)
        yield JobView(
            job.id,
            call,
            *pair,
            job.state,
            age,
            running,
            timeout=job.timeout,
            late=running and is_late(age, job.timeout, usual.get(pair)),
        )
