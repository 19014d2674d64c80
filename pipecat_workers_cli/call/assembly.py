"""The workers of one call, built from a plan and not yet started."""

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING

from loguru import logger
from pipecat.bus import WorkerBus
from pipecat.pipeline.worker import PipelineWorker
from pipecat.processors.aggregators.llm_response_universal import LLMUserAggregatorParams
from pipecat.turns.user_turn_strategies import UserTurnStrategies
from pipecat.workers.base_worker import BaseWorker

from pipecat_workers_cli.call.own_code import load_tool, raised
from pipecat_workers_cli.call.plan import Plan, WorkerPlan
from pipecat_workers_cli.call.resolve import checked_options
from pipecat_workers_cli.errors import PmwError
from pipecat_workers_cli.recipe.model import Speaker
from pipecat_workers_cli.services.providers import Persona, build_llm, build_stt, build_tts
from pipecat_workers_cli.workers.bridging import BridgingMain
from pipecat_workers_cli.workers.job_tool import job_tool
from pipecat_workers_cli.workers.jobs import JobsEnd
from pipecat_workers_cli.workers.main import Line, MainWorker
from pipecat_workers_cli.workers.talking import TalkingMain
from pipecat_workers_cli.workers.tools import Tool

if TYPE_CHECKING:
    from pipecat_workers_cli.tracing.spans import WorkerTrace


async def build_workers(
    plan: Plan, line: Line, *, bus: WorkerBus
) -> tuple[MainWorker, tuple[BaseWorker, ...]]:
    """Build the main worker and the others of a call; the caller registers and runs them.

    Args:
        plan: What to build; its providers have been checked.
        line: The caller's end, without services: those are built here.
        bus: The call's bus.

    Raises:
        PmwError: A worker can't be built.
    """
    workers = tuple([await build_worker(plan, worker) for worker in plan.workers])
    line = replace(
        line,
        stt=build_stt(plan.stt) if plan.stt else None,
        tts=build_tts(plan.tts, plan.voice) if plan.tts else None,
        standby=build_tts(*plan.standby) if plan.standby else None,
        # Both load a model, some 100 ms that other calls' audio must not wait for.
        hearing=await asyncio.to_thread(spoken_turns) if plan.stt else None,
    )
    main = _build_main(plan, line, bus)
    if line.trace is not None:
        for worker in workers:
            traced(worker, line.trace.worker(worker.name))
        traced(main, line.trace.main)
    return main, workers


def traced(worker: BaseWorker, trace: "WorkerTrace") -> None:
    """Let a worker's spans, and those of its services, be part of a trace.

    Pipecat's own option comes with observers that count turns, and LLM workers have none at
    all. These two names are private; `tests/e2e/test_tracing.py` notices their loss.
    """
    if isinstance(worker, JobsEnd):
        worker.trace = trace
    if isinstance(worker, PipelineWorker):
        worker._enable_tracing = True  # pyright: ignore[reportPrivateUsage]
        worker._tracing_context = trace  # pyright: ignore[reportPrivateUsage]


def _build_main(plan: Plan, line: Line, bus: WorkerBus) -> MainWorker:
    recipe = plan.loaded.recipe
    main, opening = recipe.main, recipe.main.opening
    message = opening.message if opening else None
    if plan.llm is None:
        opener = recipe.opener.name
        return BridgingMain(main.name, line, bus=bus, opener=opener, opening=message)
    persona = Persona(main.name, recipe.summary, main.prompt or "", main.script)
    llm = build_llm(plan.llm, persona)
    return TalkingMain(main.name, line, llm=llm, opening=message, tools=_tools(plan, main))


class Unfit(PmwError):
    """A class of the user's own that can't be built, or not so that it can do its part."""


async def build_worker(plan: Plan, planned: WorkerPlan) -> BaseWorker:
    """Build a worker other than the main one.

    Args:
        plan: The recipe it stands in.
        planned: Which worker.

    Raises:
        PmwError: It can't be built.
    """
    recipe, kind = planned.recipe, planned.kind
    summaries = {worker.name: worker.summary for worker in plan.loaded.recipe.workers}
    try:
        worker = kind.build(
            recipe.name,
            checked_options(kind, recipe.options),
            llm=build_llm(planned.llm, planned.persona) if planned.llm else None,
            tts=build_tts(planned.tts, planned.voice) if planned.tts else None,
            tools=_tools(plan, recipe),
            transfers={name: summaries[name] for name in recipe.transfers},
            trust=plan.trust,
            profile=plan.profile,
        )
    except PmwError:
        raise
    except Exception as error:
        logger.opt(exception=error).debug(f"worker {recipe.name} can't be built")
        what = f"worker '{recipe.name}' of kind '{recipe.kind}' can't be built: {raised(error)}"
        mend = "mend its class; see it all with -v" if kind.own else "see why with -v"
        raise (Unfit if kind.own else PmwError)(what, mend=mend) from error
    if kind.own:
        _require_bridge(worker, plan)
    if isinstance(worker, PipelineWorker) and worker.turn_tracking_observer is not None:
        # Nobody here asks for Pipecat's count of turns; an LLMWorker has no option for it.
        await worker.remove_observer(worker.turn_tracking_observer)
    return worker


def _require_bridge(worker: BaseWorker, plan: Plan) -> None:
    """Refuse a worker of the user's own that is to have the call and can't be reached by it.

    Raises:
        PmwError: It isn't bridged.
    """
    recipe = plan.loaded.recipe
    callees = {name for other in recipe.workers for name in other.transfers}
    if worker.bridged or recipe.main.prompt is not None:
        return
    if worker.name in {recipe.opener.name, *callees}:
        what = f"worker '{worker.name}' is to have the call, but isn't bridged"
        raise Unfit(what, mend="hand bridged=() to super().__init__ in its class")


def _tools(plan: Plan, speaker: Speaker) -> list[Tool]:
    summaries = {worker.name: worker.summary for worker in plan.loaded.recipe.workers}
    own = [load_tool(reference, plan.loaded.folder) for reference in speaker.tools]
    return own + [job_tool(recipe, summaries=summaries) for recipe in speaker.jobs]


def spoken_turns() -> LLMUserAggregatorParams:
    """Return how turns are told apart by sound: voice activity, then Pipecat's smart turn."""
    from pipecat.audio.vad.silero import SileroVADAnalyzer  # noqa: PLC0415  # calls in words need none

    return LLMUserAggregatorParams(
        vad_analyzer=SileroVADAnalyzer(), user_turn_strategies=UserTurnStrategies()
    )
