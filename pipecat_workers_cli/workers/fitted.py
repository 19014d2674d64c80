"""A stranger's worker class, fitted for a call: what it lacks is added, what it has stays."""

from functools import cache
from typing import Any

from pipecat.pipeline.base_pipeline import BasePipeline
from pipecat.pipeline.worker import PipelineWorker
from pipecat.workers.base_worker import BaseWorker
from pipecat.workers.llm import LLMWorker

from pipecat_workers_cli.logs import told
from pipecat_workers_cli.recipe.names import END, TRANSFER
from pipecat_workers_cli.workers.agent import TakesCall
from pipecat_workers_cli.workers.jobs import with_ending_jobs


@cache
def fitted(worker_class: type[BaseWorker]) -> type[BaseWorker]:
    """Return a class like `worker_class` that is fit for a call; the same one each time.

    Its jobs end. A pipeline worker doesn't end the call for being idle itself. An LLM
    worker can be given a recipe's tools, and if it is bridged can have the call.

    Args:
        worker_class: Written for Pipecat, without knowing of this package.
    """
    ending = with_ending_jobs(worker_class)
    bases: list[type[BaseWorker]] = [ending]
    members: dict[str, Any] = {"__module__": worker_class.__module__}
    if issubclass(ending, PipelineWorker):
        bases.append(_Beside)
    if issubclass(ending, LLMWorker) and not issubclass(ending, TakesCall):
        bases.insert(0, TakesCall)
        own = (name for name in (END, TRANSFER) if hasattr(worker_class, name))
        members |= {name: getattr(worker_class, name) for name in own}
        members["on_activated"] = _take_call
    return type(worker_class.__name__, tuple(bases), members)


async def _take_call(self: TakesCall, args: dict[str, Any] | None) -> None:
    """Take the call; what somebody else's class raises must not leave the caller in silence."""
    try:
        await super(type(self), self).on_activated(args)
    except Exception as error:
        what = f"{self.name} can't take the call: {told(error)}"
        await self.llm.push_error(error_msg=what, exception=error)


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
