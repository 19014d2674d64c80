"""Jobs that always end: with an answer, or with an error that says why there is none.

Pipecat's own wait for ever for a worker that isn't there, for a handler that raised and for
one that is asleep, and give an iterator no end if the answer was quick. `JobsEnd` mends
that for both sides of a job, whoever wrote the worker; `Answering` is how the kinds of ours
answer: one job at a time, in the order in which they came.
"""

import asyncio
import contextlib
import functools
import json
from abc import abstractmethod
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Generator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from loguru import logger
from pipecat.bus import (
    BusJobCancelMessage,
    BusJobRequestMessage,
    BusJobResponseMessage,
    BusJobResponseUrgentMessage,
    BusMessage,
)
from pipecat.pipeline.job_context import (
    JobContext,
    JobGroup,
    JobGroupContext,
    JobGroupError,
    JobGroupParams,
    JobParams,
    JobStatus,
    resolve_job_params,
)
from pipecat.registry.types import WorkerReadyData
from pipecat.workers.base_worker import BaseWorker, WorkerParams

from pipecat_workers_cli.buses.remote import LINE_DOWN, RemoteBus, SpokeBus
from pipecat_workers_cli.workers.job_waits import EndingJob, EndingJobGroup

if TYPE_CHECKING:
    from pipecat_workers_cli.tracing.spans import WorkerTrace

JOB_TIMEOUT = 30.0  # seconds, for a job that was given none
ABSENT_AFTER = 0.8  # seconds; an error about a worker that isn't there is due within one
CANCELS = 1_000  # kept; a cancel overtakes its request by milliseconds
WAITING_JOBS = 100  # of one worker; whoever asks beyond them would wait in vain

ERROR = "error"
"""The key of a response that says why there is no answer."""

ANSWER = "answer"
"""The key of a response under which our kinds put their words."""

COST = "cost_usd"
"""The key of a response that says what the answer cost, in US dollars."""

PROGRESS, TOOL_CALL = "progress", "tool_call"
"""The types of update that our kinds send: `text`; or `name`, `args`, `tool_call_id`, and
`result` once there is one."""


RESPONSES = (BusJobResponseMessage, BusJobResponseUrgentMessage)
FAILURES = (JobStatus.FAILED, JobStatus.ERROR)


class JobFailed(Exception):
    """A job can't be answered; the text says why, in a few words for whoever asked."""


class JobsEnd(BaseWorker):
    """A worker whose jobs end, those it is given and those it gives.

    To be named before Pipecat's class: `class Coder(JobsEnd, BaseWorker)`; `with_ending_jobs`
    does it for a class of somebody else's.

    A job it is given is refused while the worker is inactive, never runs once it has been
    cancelled, and is answered by an error if its handler raises. A job it gives has a
    timeout, ends within a second if nobody of that name is there, and can be iterated over
    even if it is already answered.

    Attributes:
        has_stopped: Whether it is over; whoever asks it waits in vain.
        trace: Of what its spans are part; None while calls aren't traced.
    """

    trace: "WorkerTrace | None" = None

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        """Take what Pipecat's class takes."""
        super().__init__(*args, **kwargs)
        self._cancelled_jobs: OrderedDict[str, None] = OrderedDict()
        self._arrivals: dict[str, asyncio.Event] = {}
        self.has_stopped = False

    async def run(self, params: WorkerParams) -> None:
        """Run as any worker does; what is logged meanwhile says whose it is."""
        with logger.contextualize(worker=self.name):
            await super().run(params)

    async def stop(self) -> None:
        """Stop as any worker does: jobs under way are cancelled, those it has are answered."""
        self.has_stopped = True
        await super().stop()
        if self.trace is not None:
            self.trace.close()

    async def send_bus_message(self, message: BusMessage) -> None:
        """Send a message; a job that begins or ends by it is a span."""
        if self.trace is not None:
            self.trace.sends(message)
        await super().send_bus_message(message)

    def accepts_bus_message(self, message: BusMessage) -> bool:
        """Take a job even while inactive: somebody waits for an answer to it."""
        return super().accepts_bus_message(message) or (
            isinstance(message, BusJobRequestMessage) and message.target == self.name
        )

    async def on_bus_message(self, message: BusMessage) -> None:
        """Handle a message, unless it is a job that can't or must not run."""
        if self.trace is not None:
            self.trace.takes(message)
        if message.target != self.name:
            pass  # most are: every worker is shown every message
        elif isinstance(message, BusJobCancelMessage):
            self._note_cancelled(message)
        elif isinstance(message, BusJobRequestMessage):
            if message.job_id in self._cancelled_jobs:
                return  # whoever asked has given up, and waits for nothing
            if not self.active:
                await self._refuse(message, f"{self.name} is not active")
                return
        elif isinstance(message, RESPONSES) and message.status in FAILURES:
            message = _with_reason(message)
        await super().on_bus_message(message)

    async def send_job_response(
        self,
        job_id: str,
        response: dict[str, Any] | None = None,
        *,
        status: JobStatus = JobStatus.COMPLETED,
        urgent: bool = False,
    ) -> None:
        """Answer a job, unless it has been answered.

        A handler that is cancelled may still give an answer, or raise; Pipecat then answers
        the job once more and would stumble over that.
        """
        if job_id in self.active_jobs:
            await super().send_job_response(job_id, response, status=status, urgent=urgent)

    def job(
        self, worker_name: str, *, params: JobParams | None = None, **deprecated: Any
    ) -> JobContext:
        """Ask one worker, as Pipecat's own method does."""
        return EndingJob(
            self, worker_name, params=resolve_job_params(params, JobParams, **deprecated)
        )

    def job_group(
        self, *worker_names: str, params: JobGroupParams | None = None, **deprecated: Any
    ) -> JobGroupContext:
        """Ask several workers at once, as Pipecat's own method does."""
        return EndingJobGroup(
            self, worker_names, params=resolve_job_params(params, JobGroupParams, **deprecated)
        )

    async def create_job_group_and_request_job(
        self, worker_names: list[str], *, params: JobGroupParams | None = None, **deprecated: Any
    ) -> JobGroup:
        """Send a job to each worker, once all of them are there.

        Raises:
            JobGroupError: Somebody isn't, a moment later still.
        """
        params = resolve_job_params(params, JobGroupParams, **deprecated)
        if params.timeout is None:
            params = params.model_copy(update={"timeout": JOB_TIMEOUT})
        if absent := await self.absent(worker_names):
            raise JobGroupError(f"no worker is called {' or '.join(absent)}")
        return await super().create_job_group_and_request_job(worker_names, params=params)

    async def absent(self, names: Sequence[str]) -> list[str]:
        """Return those of `names` that no worker has, after waiting a moment for them."""
        missing = [name for name in names if name not in self.registry]
        arrivals = [await self._arrival(name) for name in missing]
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(ABSENT_AFTER):
                for arrival in arrivals:
                    await arrival.wait()
        return [name for name in names if name not in self.registry or self._has_left(name)]

    def _has_left(self, name: str) -> bool:
        """Tell of a worker that it stopped, or its process is gone; the registry still lists it."""
        worker = self.worker_runner.get_worker(name)
        if worker is None and isinstance(self.bus, RemoteBus):
            return name not in self.bus.elsewhere
        return isinstance(worker, JobsEnd) and worker.has_stopped

    async def _wait_workers_ready(self, worker_names: list[str]) -> asyncio.Future[Any]:
        """Pipecat's own adds a watcher for each job and never takes one away.

        The one private name used here; `tests/workers/test_jobs.py` notices its loss.
        """
        there: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        there.set_result(None)
        return there

    async def _arrival(self, name: str) -> asyncio.Event:
        arrival = self._arrivals.get(name)
        if arrival is None:
            arrival = self._arrivals[name] = asyncio.Event()

            async def on_ready(_data: WorkerReadyData) -> None:
                arrival.set()

            await self.registry.watch(name, on_ready)
        return arrival

    def _note_cancelled(self, message: BusJobCancelMessage) -> None:
        if message.job_id in self.active_jobs:
            return
        self._cancelled_jobs[message.job_id] = None
        if len(self._cancelled_jobs) > CANCELS:
            self._cancelled_jobs.popitem(last=False)

    async def _refuse(self, job: BusJobRequestMessage, why: str) -> None:
        """Answer a job that was never begun by an error."""
        await self.send_bus_message(
            BusJobResponseMessage(
                source=self.name,
                target=job.source,
                job_id=job.job_id,
                response={ERROR: why},
                status=JobStatus.FAILED,
            )
        )

    async def _answered(
        self, handler: Callable[[BusJobRequestMessage], Awaitable[None]], job: BusJobRequestMessage
    ) -> None:
        """Run a handler; what it raises becomes the answer."""
        inside = self.trace.handling(job) if self.trace is not None else contextlib.nullcontext()
        with logger.contextualize(job=job.job_id), inside:
            await self._handle_job(handler, job)

    async def _handle_job(
        self, handler: Callable[[BusJobRequestMessage], Awaitable[None]], job: BusJobRequestMessage
    ) -> None:
        try:
            await handler(job)
        except JobFailed as failure:
            told = {ERROR: str(failure)}
            await self.send_job_response(job.job_id, told, status=JobStatus.FAILED)
        except Exception as error:
            kind = type(error).__name__  # its text may hold a key or a password
            logger.opt(exception=error).error(f"a job of {self.name} raised {kind}")
            told = {ERROR: f"{self.name} failed: {kind}"}
            await self.send_job_response(job.job_id, told, status=JobStatus.ERROR)


class Answering(JobsEnd):
    """Answers jobs one at a time, in their order; a kind says how in `answer`."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        """Take what Pipecat's class takes."""
        super().__init__(*args, **kwargs)
        self._turn = asyncio.Lock()
        self._waiting = 0

    @abstractmethod
    async def answer(self, job: BusJobRequestMessage) -> dict[str, Any]:
        """Answer one job; no other runs meanwhile.

        Cancelled when the job is, or when its time is up: leave within two seconds, fit for
        the next job.

        Args:
            job: What was asked; `question_of` gives its words.

        Returns:
            The response; words under `ANSWER`.

        Raises:
            JobFailed: There is no answer.
        """

    async def on_job_request(self, message: BusJobRequestMessage) -> None:
        """Answer a job when its turn comes."""
        await self._answered(self._answer_in_turn, message)

    async def tell(self, job: BusJobRequestMessage, update: dict[str, Any]) -> None:
        """Send whoever asked an update, unless the job is over."""
        if job.job_id in self.active_jobs:
            await self.send_job_update(job.job_id, update)

    async def report(self, job: BusJobRequestMessage, text: str) -> None:
        """Say what is being done for a job, in a few words such as `reading app.py`."""
        await self.tell(job, {"type": PROGRESS, "text": text})

    async def _answer_in_turn(self, job: BusJobRequestMessage) -> None:
        if self._waiting >= WAITING_JOBS:
            raise JobFailed(f"{self.name} has too many questions to answer")
        self._waiting += 1
        try:
            async with self._turn:
                if self.trace is not None:
                    self.trace.hang_from(job)
                response = await self.answer(job)
        finally:
            self._waiting -= 1
        await self.send_job_response(job.job_id, response)


def question_of(job: BusJobRequestMessage) -> str:
    """Return a job's payload in words: its only value, or a line for each."""
    payload = {name: value for name, value in (job.payload or {}).items() if value}
    if len(payload) == 1:
        return str(next(iter(payload.values())))
    return "\n".join(f"{name}: {value}" for name, value in payload.items())


def as_json(value: object) -> Any:
    """Return a value as JSON can have it; a worker of somebody else's may send anything."""
    try:
        return json.loads(json.dumps(value, default=str, skipkeys=True))
    except (ValueError, RecursionError):  # it holds itself, or is nested without end
        return {ERROR: "it can't be put in words"}


def _with_reason(
    message: BusJobResponseMessage | BusJobResponseUrgentMessage,
) -> BusJobResponseMessage | BusJobResponseUrgentMessage:
    """Return a failure that tells so in its response, all that a job group keeps of it."""
    response: object = message.response
    told = response if isinstance(response, dict) else {}
    if ERROR in told:
        return message
    return replace(message, response={**told, ERROR: f"it answered: {message.status}"})


def with_ending_jobs(worker_class: type[BaseWorker]) -> type[BaseWorker]:
    """Return a class like `worker_class` whose jobs end.

    Args:
        worker_class: Any worker class, with `@job` handlers or an `on_job_request`.
    """
    bases = (worker_class,) if issubclass(worker_class, JobsEnd) else (JobsEnd, worker_class)
    handlers = {
        name: _ending(handler)
        for ancestor in reversed(worker_class.__mro__)
        for name, handler in vars(ancestor).items()
        if getattr(handler, "is_job_handler", False)
    }
    if not issubclass(worker_class, Answering):
        handlers["on_job_request"] = _ending(worker_class.on_job_request)
    return type(worker_class.__name__, bases, {**handlers, "__module__": worker_class.__module__})


def _ending(handler: Callable[..., Awaitable[None]]) -> Callable[..., Awaitable[None]]:
    @functools.wraps(handler)  # with what Pipecat's decorator noted on it
    async def ending(self: JobsEnd, message: BusJobRequestMessage) -> None:
        begun = functools.partial(_announced, handler, self)
        await self._answered(begun, message)  # pyright: ignore[reportPrivateUsage]

    return ending


@contextlib.contextmanager
def staying() -> Generator[None]:
    """Make an error of a user's `sys.exit`, which would take every call of this process along."""
    try:
        yield
    except SystemExit as error:
        raise RuntimeError(f"it called sys.exit({error.code!r})") from error


async def _announced(
    handler: Callable[..., Awaitable[None]], worker: JobsEnd, job: BusJobRequestMessage
) -> None:
    """Run a handler of which nobody knows what it does, and whether it may be done twice.

    Raises:
        JobFailed: Its main worker can't be told, so it was not run.
    """
    bus = worker.bus
    if isinstance(bus, SpokeBus) and not await bus.announce(job.job_id, job.job_name or "job"):
        raise JobFailed(LINE_DOWN)
    if worker.trace is not None:
        worker.trace.hang_from(job)
    with staying():
        await handler(worker, job)
