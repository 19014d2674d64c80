"""One summary out of several: what the sessions of a channel tell of themselves."""

import statistics
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

from pipecat_workers_cli.traffic.edges import EdgeKey
from pipecat_workers_cli.traffic.entry import Entry
from pipecat_workers_cli.traffic.kinds import RANK
from pipecat_workers_cli.traffic.views import Edge, Snapshot, WorkerView


def merged(snapshots: Sequence[Snapshot], *, recent: Iterable[Entry]) -> Snapshot:
    """Sum sessions' summaries up.

    Args:
        snapshots: One a session.
        recent: The latest entries of all, in the order in which they came; a call's own times
            don't say how they follow each other.
    """
    jobs = [job for one in snapshots for job in one.jobs]
    return Snapshot(
        uptime=max((one.uptime for one in snapshots), default=0.0),
        calls=tuple(sorted((c for one in snapshots for c in one.calls), key=lambda c: -c.age)),
        ended=sum(one.ended for one in snapshots),
        edges=tuple(_edges(snapshots)),
        jobs=tuple(sorted(jobs, key=lambda job: not job.running)),
        series=tuple(series for one in snapshots for series in one.series),
        workers=tuple(_workers(snapshots)),
        recent=tuple(recent),
        left_out=sum(one.left_out for one in snapshots),
    )


def _edges(snapshots: Sequence[Snapshot]) -> Iterator[Edge]:
    """Add edges up; of how long jobs took, the slowest session's figure is kept."""
    found: dict[EdgeKey, Edge] = {}
    for edge in (edge for one in snapshots for edge in one.edges):
        key = EdgeKey(edge.kind, edge.source, edge.target)
        one = found.get(key)
        found[key] = edge if one is None else replace(
            one,
            count=one.count + edge.count,
            rate=one.rate + edge.rate,
            bytes=one.bytes + edge.bytes,
            seconds=one.seconds + edge.seconds,
            last_seen=min(one.last_seen, edge.last_seen),
            p50=_slower(one.p50, edge.p50),
            p95=_slower(one.p95, edge.p95),
        )  # fmt: skip
    order = sorted(found, key=lambda key: (RANK[key.kind], key.source, key.target))
    return (found[key] for key in order)


def _slower(one: float | None, other: float | None) -> float | None:
    return max((seconds for seconds in (one, other) if seconds is not None), default=None)


def _workers(snapshots: Sequence[Snapshot]) -> Iterator[WorkerView]:
    """Take workers of one name for one, as they are in a session's many calls."""
    found: dict[str, list[WorkerView]] = {}
    for worker in (worker for one in snapshots for worker in one.workers):
        found.setdefault(worker.name, []).append(worker)
    for name, same in found.items():
        latest = max(same, key=lambda worker: (worker.active_in, worker.turns))
        medians = [worker.median_ms for worker in same if worker.median_ms is not None]
        yield WorkerView(
            name,
            any(worker.main for worker in same),
            sum(worker.active_in for worker in same),
            sum(worker.turns for worker in same),
            latest.words,
            latest.latency_ms,
            statistics.median(medians) if medians else None,
            ready_in=sum(worker.ready_in for worker in same),
            jobs=sum(worker.jobs for worker in same),
            late=sum(worker.late for worker in same),
            silent=max(worker.silent for worker in same),
            dropped=sum(worker.dropped for worker in same),
            refused=sum(worker.refused for worker in same),
            link_ms=max((one.link_ms for one in same if one.link_ms is not None), default=None),
            link_down=sum(worker.link_down for worker in same),
        )
