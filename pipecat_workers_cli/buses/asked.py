"""What workers elsewhere are asked: jobs without an answer, and which of them have begun."""

from pipecat.bus import (
    BusFrameMessage,
    BusJobCancelMessage,
    BusJobRequestMessage,
    BusJobResponseMessage,
    BusJobResponseUrgentMessage,
    BusJobStreamEndMessage,
    BusJobUpdateMessage,
    BusMessage,
)
from pipecat.frames.frames import FunctionCallCancelFrame, FunctionCallResultFrame

from pipecat_workers_cli.wire.limits import FUNCTION_CALLS, Refused

ANSWERS = (BusJobResponseMessage, BusJobResponseUrgentMessage, BusJobStreamEndMessage)


class Asked:
    """Follows the jobs of one call that workers elsewhere were given.

    A job that has begun must not be done twice, nor must one for which a tool may have run.
    """

    def __init__(self) -> None:
        """Begin with none."""
        self._jobs: dict[tuple[str, str], BusJobRequestMessage] = {}
        self._begun: set[tuple[str, str]] = set()
        self._tools: dict[tuple[str, str], set[str]] = {}  # the jobs that each may run for

    def of(self, worker: str) -> list[BusJobRequestMessage]:
        """Return the jobs that a worker has not answered, in the order they were asked."""
        return [job for (_, asked), job in self._jobs.items() if asked == worker]

    def has(self, id: str, worker: str) -> bool:
        """Tell whether a worker has a job of this id, and has not answered it."""
        return (id, worker) in self._jobs

    def may_have_begun(self, id: str, worker: str) -> bool:
        """Tell whether something may have been done for a job that can't be done twice."""
        return (id, worker) in self._begun or any(
            of == worker and id in jobs for (_, of), jobs in self._tools.items()
        )

    def asks(self, job: BusJobRequestMessage, worker: str) -> None:
        """Take note of a job that is given to a worker."""
        self._jobs[job.job_id, worker] = job

    def follow(self, message: BusMessage) -> None:
        """Take note of what is said about jobs: the end of one, or whose a tool is."""
        if isinstance(message, BusJobCancelMessage):
            self._end(message.job_id, message.target)
        elif isinstance(message, ANSWERS):
            self._end(message.job_id, message.source)
        elif isinstance(message, BusJobUpdateMessage):
            self._attribute(message)
        elif isinstance(message, BusFrameMessage):  # a tool's, so it was for the conversation
            frame = message.frame
            if isinstance(frame, FunctionCallResultFrame | FunctionCallCancelFrame):
                self._tools.pop((frame.tool_call_id, message.source), None)

    def begins(self, id: str, worker: str) -> None:
        """Take note that a worker is about to do a job, or to run a tool, of this id.

        A tool may be for any of the jobs that the worker has, until it tells which. If it has
        none, the tool is for the conversation, and no matter here.

        Raises:
            Refused: More of its tools run than any LLM calls at once.
        """
        if (id, worker) in self._jobs:
            self._begun.add((id, worker))
        elif jobs := {job.job_id for job in self.of(worker)}:
            if sum(of == worker for _, of in self._tools) >= FUNCTION_CALLS:
                raise Refused("too many tools at once")
            self._tools[id, worker] = jobs

    def _attribute(self, message: BusJobUpdateMessage) -> None:
        """Of all jobs for which a tool may run, keep in mind the one that tells of it."""
        update: object = message.update
        if not isinstance(update, dict) or "tool_call_id" not in update:
            return
        job = message.job_id, message.source
        known = self._tools.pop((str(update["tool_call_id"]), message.source), None)
        if known is not None and job in self._jobs:
            self._begun.add(job)

    def _end(self, id: str, worker: str | None) -> None:
        if worker is None or self._jobs.pop((id, worker), None) is None:
            return
        self._begun.discard((id, worker))
        for tool, jobs in list(self._tools.items()):
            if tool[1] == worker:
                jobs.discard(id)
                if not jobs:
                    del self._tools[tool]
