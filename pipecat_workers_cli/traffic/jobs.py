"""The jobs of one call and how each stands, read from its messages."""

from collections.abc import Iterator
from dataclasses import dataclass
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
    """

    id: str
    requester: str
    worker: str
    state: JobState
    since: float
    until: float | None = None


class JobLog:
    """Follows the jobs on one bus, as far as its ring of recent messages reaches."""

    def __init__(self, bus: LocalBus) -> None:
        """Begin with what the ring of `bus` holds."""
        self._ring = RingReader(bus)
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
            job = self._open[key] = Job(id, requester or "", worker or "", "started", at)
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
        key = (job.id, job.worker)
        self._done[key] = self._open.pop(key)
        if len(self._done) > DONE_JOBS:
            del self._done[next(iter(self._done))]
