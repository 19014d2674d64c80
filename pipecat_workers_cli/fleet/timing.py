"""How long a host's workers take, read from their buses off the path."""

from collections.abc import Callable

from pipecat.bus import (
    BusFrameMessage,
    BusJobRequestMessage,
    BusJobStreamEndMessage,
    BusMessage,
)
from pipecat.frames.frames import LLMContextFrame, LLMTextFrame
from pipecat.pipeline.job_context import JobStatus

from pipecat_workers_cli.buses.asked import ANSWERS
from pipecat_workers_cli.buses.local import LocalBus
from pipecat_workers_cli.traffic.jobs import OPEN_JOBS, STATES
from pipecat_workers_cli.traffic.ring import RingReader

OnAnswer = Callable[[str, float], None]
"""Told a worker and the seconds from a turn's arrival to the first word of its answer."""

OnJob = Callable[[str, str, float], None]
"""Told a worker, how a job of its ended, and the seconds that it took."""


class Timing:
    """Follows one worker on its bus."""

    def __init__(self, worker: str, bus: LocalBus, *, on_answer: OnAnswer, on_job: OnJob) -> None:
        """Begin with what comes from now on.

        Args:
            worker: Its name.
            bus: Its own bus.
            on_answer: Must not block.
            on_job: Must not block.
        """
        self._worker = worker
        self._ring = RingReader(bus)
        self._on_answer = on_answer
        self._on_job = on_job
        self._asked_at: float | None = None
        self._jobs: dict[str, float] = {}

    def catch_up(self) -> None:
        """Read what has crossed the bus since the last time."""
        for at, message in self._ring.read():
            if isinstance(message, BusFrameMessage):
                self._see_frame(at, message)
            else:
                self._see_job(at, message)

    def _see_frame(self, at: float, message: BusFrameMessage) -> None:
        if message.source != self._worker:
            if isinstance(message.frame, LLMContextFrame):
                self._asked_at = at
        elif isinstance(message.frame, LLMTextFrame) and self._asked_at is not None:
            self._on_answer(self._worker, at - self._asked_at)
            self._asked_at = None

    def _see_job(self, at: float, message: BusMessage) -> None:
        if isinstance(message, BusJobRequestMessage) and message.target == self._worker:
            if len(self._jobs) >= OPEN_JOBS:
                self._jobs.pop(next(iter(self._jobs)))
            self._jobs[message.job_id] = at
        elif isinstance(message, ANSWERS) and message.source == self._worker:
            began = self._jobs.pop(message.job_id, None)
            ended = "completed"
            if not isinstance(message, BusJobStreamEndMessage):
                ended = STATES[JobStatus(message.status)]
            if began is not None:
                self._on_job(self._worker, ended, at - began)
