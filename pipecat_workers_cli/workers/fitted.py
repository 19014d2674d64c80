"""A stranger's worker class, fitted for a call: what it lacks is added, what it has stays."""

from functools import cache
from typing import Any

from loguru import logger
from pipecat.bus import BusWorkerLocalErrorMessage
from pipecat.pipeline.base_pipeline import BasePipeline
from pipecat.pipeline.worker import PipelineWorker
from pipecat.workers.base_worker import BaseWorker, WorkerParams
from pipecat.workers.llm import LLMWorker

from pipecat_workers_cli.logs import told
from pipecat_workers_cli.recipe.names import END, TRANSFER
from pipecat_workers_cli.workers.agent import TakesCall
from pipecat_workers_cli.workers.jobs import with_ending_jobs


@cache
def fitted(worker_class: type[BaseWorker]) -> type[BaseWorker]:
    """Return a class like `worker_class` that is fit for a call; the same one each time.

    Its jobs end, and what stops it is told. A pipeline worker doesn't end the call for being
    idle itself. An LLM worker can be given a recipe's tools, and have the call if it is bridged.

    Args:
        worker_class: Written for Pipecat, without knowing of this package.
    """
    ending = with_ending_jobs(worker_class)
    bases: list[type[BaseWorker]] = [ending]
    members: dict[str, Any] = {"__module__": worker_class.__module__}
    members |= {"run": _run, "start": _start}
    if issubclass(ending, PipelineWorker):
        bases.append(_Beside)
    if issubclass(ending, LLMWorker) and not issubclass(ending, TakesCall):
        bases.insert(0, TakesCall)
        own = (name for name in (END, TRANSFER) if hasattr(worker_class, name))
        members |= {name: getattr(worker_class, name) for name in own}
        members["on_activated"] = _take_call
    return type(worker_class.__name__, tuple(bases), members)


async def _run(self: BaseWorker, params: WorkerParams) -> None:
    """Run; what the class raises on the way is told to the main worker."""
    try:
        await _as_it_was(self).run(params)
    except Exception as error:
        await _tell(self, "stopped", error)


async def _start(self: BaseWorker) -> None:
    """Start, which Pipecat does in a task of its own, where an error would be lost."""
    try:
        await _as_it_was(self).start()
    except Exception as error:
        await _tell(self, "did not start", error)


async def _take_call(self: TakesCall, args: dict[str, Any] | None) -> None:
    """Take the call; what the class raises must not leave the caller in silence."""
    try:
        await _as_it_was(self).on_activated(args)
    except Exception as error:
        await _tell(self, "can't take the call", error)


def _as_it_was(worker: BaseWorker) -> Any:
    """Return the worker with the methods it had before its class was fitted."""
    return super(type(worker), worker)


async def _tell(worker: BaseWorker, what: str, error: Exception) -> None:
    logger.opt(exception=error).debug(f"{worker.name} {what}")
    message = BusWorkerLocalErrorMessage(source=worker.name, error=f"{what}: {told(error)}")
    await worker.send_bus_message(message)


class _Beside(PipelineWorker):
    """Stands behind a class and before Pipecat's: what it didn't say is said here.

    Pipecat takes any pipeline worker for the one with the caller. Left to itself, one that
    answers jobs would end the call after five minutes, since nobody speaks to it.
    """

    def __init__(self, pipeline: BasePipeline, **options: Any) -> None:
        options.setdefault("idle_timeout_secs", None)
        options.setdefault("enable_turn_tracking", False)  # counts turns for nobody
        options.setdefault("enable_rtvi", False)  # there is no client at this end
        super().__init__(pipeline, **options)
