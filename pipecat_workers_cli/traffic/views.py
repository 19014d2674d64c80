"""What a table shows of traffic at a moment: edges, jobs, workers, calls, and the whole."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from pipecat_workers_cli.traffic.entry import Entry
from pipecat_workers_cli.traffic.jobs import JobState
from pipecat_workers_cli.traffic.kinds import Kind


@dataclass(frozen=True, slots=True)
class Edge:
    """What one worker sent another.

    Attributes:
        kind: What it was about.
        source: Who sent it.
        target: For whom; `EVERYBODY` if for all.
        count: Messages since the session began, in calls that ended too.
        rate: Messages a second over the last few seconds.
        bytes: Of audio, the size of its samples; else 0.
        seconds: Of audio, how long it plays; else 0.
        last_seen: Seconds since the last one.
        p50: Of jobs that were asked: half of them took no longer than these seconds.
        p95: Likewise, 95 of 100.
    """

    kind: Kind
    source: str
    target: str
    count: int
    rate: float
    bytes: int
    seconds: float
    last_seen: float
    p50: float | None = None
    p95: float | None = None


@dataclass(frozen=True, slots=True)
class JobView:
    """One job of an open call.

    Attributes:
        id: Pipecat's id.
        call: The call it belongs to.
        requester: Who asked.
        worker: Who was asked.
        state: How it stands.
        age: Seconds since it was asked; of one that has ended, the seconds it took.
        running: Whether it still runs.
        timeout: Seconds that whoever asked waits for it; None where that isn't known.
        late: Whether it runs past half its timeout, or far longer than such jobs usually do.
    """

    id: str
    call: str
    requester: str
    worker: str
    state: JobState
    age: float
    running: bool
    timeout: float | None = None
    late: bool = False


@dataclass(frozen=True, slots=True)
class SeriesView:
    """What a worker of an open call measured.

    Attributes:
        call: The call it belongs to.
        worker: Who measured.
        reading: What, such as `temperature`.
        unit: As it is written after a figure; may be empty.
        values: The latest figures, the oldest first; at least one.
    """

    call: str
    worker: str
    reading: str
    unit: str
    values: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class LinkState:
    """How a link to a worker elsewhere is.

    Attributes:
        latency: Seconds to the other end and back; None while it is down.
        refused: What came over it, or over one before it, and was not let in.
    """

    latency: float | None
    refused: int


NO_LINKS: Mapping[str, LinkState] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class WorkerView:
    """One worker's name in all calls.

    Attributes:
        name: The worker.
        main: Whether it is the one that has the caller.
        active_in: The number of open calls in which it is active.
        turns: Answers it gave since the session began.
        words: What it said last, shortened; empty before it speaks.
        latency_ms: How long its last answer took; None before its first.
        median_ms: How long its latest answers took in the middle.
        ready_in: The number of open calls in which it has said that it is there.
        jobs: How many jobs it was asked for and hasn't answered.
        late: How many of these are late.
        silent: Seconds for which it has left the caller's words unanswered, though it has the
            call; 0 while all is well.
        dropped: Words and sound of it that came when it wasn't active, and were dropped.
        refused: What came over links to it, and was not let in.
        link_ms: The slowest link to it, there and back; None without one that is up.
        link_down: The number of open calls in which a link to it is down.
    """

    name: str
    main: bool
    active_in: int
    turns: int
    words: str
    latency_ms: float | None = None
    median_ms: float | None = None
    ready_in: int = 0
    jobs: int = 0
    late: int = 0
    silent: float = 0.0
    dropped: int = 0
    refused: int = 0
    link_ms: float | None = None
    link_down: int = 0


@dataclass(frozen=True, slots=True)
class CallView:
    """One open call.

    Attributes:
        call: Its id.
        recipe: What it runs.
        active: The workers that are active in it.
        turns: Answers given in it.
        age: Seconds since it began.
        hash: Which version of the recipe it runs.
    """

    call: str
    recipe: str
    active: tuple[str, ...]
    turns: int
    age: float
    hash: str = ""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What was seen until one moment.

    Attributes:
        uptime: Seconds since the tap was made.
        calls: The open calls, the oldest first.
        ended: How many calls have ended; their messages stay counted in `edges`.
        edges: Who sent what to whom, by kind, then by name.
        jobs: The jobs of the open calls: those that run first, the latest first in each.
        series: What workers of the open calls measured, the oldest call's first.
        workers: Every worker met so far, a call's main worker before its others.
        recent: The latest entries, the oldest first.
        left_out: Messages that were counted, but were gone before their jobs were read.
    """

    uptime: float
    calls: tuple[CallView, ...] = ()
    ended: int = 0
    edges: tuple[Edge, ...] = ()
    jobs: tuple[JobView, ...] = ()
    series: tuple[SeriesView, ...] = ()
    workers: tuple[WorkerView, ...] = ()
    recent: tuple[Entry, ...] = ()
    left_out: int = 0
