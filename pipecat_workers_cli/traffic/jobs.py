"""The jobs of one call and how each stands, read from its messages."""

import statistics
from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

from pipecat.bus import (
    BusJobCancelMessage,
    BusJobRequestMessage,
    BusJobResponseMessage,
    BusJobResponseUrgentMessage,
    BusJobStreamDataMessage,
    BusJobStreamEndMessage,
    BusJobStreamStartMessage,
    BusJobUpdateMessage,
    BusJobUpdateUrgentMessage,
    BusMessage,
)
from pipecat.pipeline.job_context import JobStatus

from pipecat_workers_cli.buses.local import LocalBus
from pipecat_workers_cli.traffic.ring import RingReader

JobState = Literal["started", "update", "completed", "failed", "cancelled", "timeout"]

OPEN_JOBS = 200  # at once in a call; beyond them the oldest is forgotten
DONE_JOBS = 20  # kept to be looked at
PAIRS = 200  # of who asks and who answers, whose times are kept
TIMES = 200  # kept of each, the latest; a percentile of more moves no more
ENOUGH = 5  # answers after which a worker's usual time is known
FAR = 2.0  # times what 95 of 100 answers take: far over the usual
NOT_LATE = 1.0  # seconds that any answer may take, however fast they usually are

PROGRESS = (
    BusJobUpdateMessage,
    BusJobUpdateUrgentMessage,
    BusJobStreamStartMessage,
    BusJobStreamDataMessage,
)
RESPONSES = (BusJobResponseMessage, BusJobResponseUrgentMessage)
STATES: dict[JobStatus, JobState] = {
    JobStatus.COMPLETED: "completed",
    JobStatus.FAILED: "failed",
    JobStatus.ERROR: "failed",
    JobStatus.CANCELLED: "cancelled",
}


Pair = tuple[str, str]
"""Who asks and who is asked."""


@dataclass(frozen=True, slots=True)
class Usual:
    """How long one worker's jobs for another take, in seconds.

    Attributes:
        count: How many have ended.
        p50: Half of them took no longer.
        p95: 95 of 100 took no longer.
    """

    count: int
    p50: float
    p95: float


class Durations:
    """How long jobs took, by who asked and who answered; the latest of each alone."""

    def __init__(self) -> None:
        """Begin with none."""
        self._times: dict[Pair, deque[float]] = {}

    def add(self, pair: Pair, seconds: float) -> None:
        """Take in a job that was answered."""
        if pair in self._times or len(self._times) < PAIRS:
            self._times.setdefault(pair, deque(maxlen=TIMES)).append(seconds)

    def usual(self) -> dict[Pair, Usual]:
        """Say how long each worker takes for each other."""
        return {pair: _usual(times) for pair, times in self._times.items()}


def _usual(times: deque[float]) -> Usual:
    if len(times) == 1:
        return Usual(1, times[0], times[0])
    cuts = statistics.quantiles(times, n=20, method="inclusive")
    return Usual(len(times), cuts[9], cuts[18])


def is_late(age: float, timeout: float | None, usual: Usual | None) -> bool:
    """Tell whether a running job stands out: past half its timeout, or far over its usual.

    Args:
        age: Seconds since it was asked.
        timeout: Seconds after which nobody waits for it; None where that isn't known.
        usual: How long such jobs take; None if none has ended.
    """
    if timeout is not None and age > timeout / 2:
        return True
    return usual is not None and usual.count >= ENOUGH and age > max(NOT_LATE, FAR * usual.p95)


@dataclass(slots=True)
class Job:
    """What one worker was asked for.

    Attributes:
        id: Pipecat's id; the workers of a job group share one.
        requester: Who asked.
        worker: Who was asked.
        state: How it stands.
        since: When it was first heard of, in seconds of `time.monotonic`.
        until: When it ended; None while it runs.
        timeout: Seconds that whoever asked waits for it; None where that isn't known.
    """

    id: str
    requester: str
    worker: str
    state: JobState
    since: float
    until: float | None = None
    timeout: float | None = None


class JobLog:
    """Follows the jobs on one bus, as far as its ring of recent messages reaches."""

    def __init__(
        self,
        bus: LocalBus,
        *,
        timeouts: Mapping[Pair, float] = MappingProxyType({}),
        durations: Durations | None = None,
    ) -> None:
        """Begin with what the ring of `bus` holds.

        Args:
            bus: Where the jobs are asked and answered.
            timeouts: How long who waits for whom, in seconds, as far as that is known.
            durations: Told how long each answer took.
        """
        self._ring = RingReader(bus)
        self._timeouts = timeouts
        self._durations = durations
        self._open: dict[tuple[str, str], Job] = {}
        self._done: dict[tuple[str, str], Job] = {}

    def __iter__(self) -> Iterator[Job]:
        """Give the running jobs, then the ended ones, the latest first in each."""
        yield from reversed(self._open.values())
        yield from reversed(self._done.values())

    @property
    def missed(self) -> int:
        """Messages that left the ring before they were read.

        A job that ran when some were missed is forgotten, since it may have ended, until
        it is heard of again.
        """
        return self._ring.missed

    def catch_up(self) -> None:
        """Read what came since the last time."""
        missed = self.missed
        messages = self._ring.read()
        if self.missed > missed:
            self._open.clear()
        for at, message in messages:
            self._note(at, message)

    def _note(self, at: float, message: BusMessage) -> None:
        if isinstance(message, BusJobRequestMessage):
            self._find(message.job_id, message.source, message.target, at)
        elif isinstance(message, BusJobCancelMessage):
            state: JobState = "timeout" if message.reason == "timeout" else "cancelled"
            self._end(message.job_id, message.source, message.target, at, state)
        elif isinstance(message, RESPONSES):
            state = STATES[message.status]
            self._end(message.job_id, message.target, message.source, at, state)
        elif isinstance(message, BusJobStreamEndMessage):
            self._end(message.job_id, message.target, message.source, at, "completed")
        elif isinstance(message, PROGRESS):
            job = self._find(message.job_id, message.target, message.source, at)
            if job is not None:
                job.state = "update"

    def _find(self, id: str, requester: str | None, worker: str | None, at: float) -> Job | None:
        """Return the running job, a new one if it wasn't known, None if it has ended."""
        key = (id, worker or "")
        if key in self._done:
            return None
        job = self._open.get(key)
        if job is None:
            pair = (requester or "", worker or "")
            timeout = self._timeouts.get(pair)
            job = self._open[key] = Job(id, *pair, "started", at, timeout=timeout)
            if len(self._open) > OPEN_JOBS:
                del self._open[next(iter(self._open))]
        return job

    def _end(
        self, id: str, requester: str | None, worker: str | None, at: float, state: JobState
    ) -> None:
        job = self._find(id, requester, worker, at)
        if job is None:  # the answer of a worker whose job was cancelled before
            return
        job.state = state
        job.until = at
        if self._durations is not None and state in ("completed", "failed"):
            self._durations.add((job.requester, job.worker), at - job.since)
        key = (job.id, job.worker)
        self._done[key] = self._open.pop(key)
        if len(self._done) > DONE_JOBS:
            del self._done[next(iter(self._done))]
