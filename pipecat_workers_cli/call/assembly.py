"""The workers of one call, built from a plan and not yet started."""

import asyncio
from collections.abc import Callable, Sequence

from pipecat.audio.vad.silero import SileroVADAnalyzer
from pipecat.bus import BusMessage, WorkerBus
from pipecat.observers.base_observer import BaseObserver
from pipecat.processors.aggregators.llm_response_universal import LLMUserAggregatorParams
from pipecat.transports.base_transport import BaseTransport
from pipecat.turns.user_turn_strategies import UserTurnStrategies

from pipecat_workers_cli.call.plan import Plan
from pipecat_workers_cli.services.providers import build_llm, build_stt, build_tts
from pipecat_workers_cli.workers.agent import Agent
from pipecat_workers_cli.workers.main import MainWorker


async def build_workers(
    plan: Plan,
    *,
    bus: WorkerBus,
    transport: BaseTransport,
    observers: Sequence[BaseObserver] = (),
    on_bus: Callable[[BusMessage], None] | None = None,
    idle_timeout: float | None = None,
    has_client: bool = True,
) -> tuple[MainWorker, tuple[Agent, ...]]:
    """Build the main worker and the agents of a call; the caller registers and runs them.

    Args:
        plan: What to build; its providers have been checked.
        bus: The call's bus.
        transport: The caller's path.
        observers: Watch the main worker's frames.
        on_bus: Told every message the main worker sees on the bus.
        idle_timeout: Seconds in which nobody says anything before the call is cancelled.
        has_client: Whether an RTVI client is at the other end.
    """
    recipe = plan.loaded.recipe
    summaries = {worker.name: worker.summary for worker in recipe.workers}
    agents = tuple(
        Agent(
            agent.recipe.name,
            llm=build_llm(agent.llm, plan.persona(agent)),
            transfers={name: summaries[name] for name in agent.recipe.transfers},
            tts=build_tts(agent.tts, agent.voice) if agent.tts else None,
        )
        for agent in plan.agents
    )
    main = MainWorker(
        recipe.main.name,
        bus=bus,
        transport=transport,
        opener=recipe.opener.name,
        opening=recipe.main.opening.message if recipe.main.opening else None,
        stt=build_stt(plan.stt) if plan.stt else None,
        tts=build_tts(plan.tts, plan.voice) if plan.tts else None,
        # Both load a model, some 100 ms that other calls' audio must not wait for.
        hearing=await asyncio.to_thread(spoken_turns) if plan.stt else None,
        observers=observers,
        on_bus=on_bus,
        idle_timeout=idle_timeout,
        has_client=has_client,
    )
    for agent in agents:  # Pipecat's LLMWorker has no option to leave it out
        if agent.turn_tracking_observer is not None:
            await agent.remove_observer(agent.turn_tracking_observer)
    return main, agents


def spoken_turns() -> LLMUserAggregatorParams:
    """Return how turns are told apart by sound: voice activity, then Pipecat's smart turn."""
    return LLMUserAggregatorParams(
        vad_analyzer=SileroVADAnalyzer(), user_turn_strategies=UserTurnStrategies()
    )
