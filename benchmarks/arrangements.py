"""Three arrangements of the same conversation, and a caller that times its turns.

Ours is a call of the recipe `handoff`. Beside it stand a bare pipeline of the same
processors without a bus, and a multi-worker call on Pipecat's own API alone. All three are
given the same transport, the same scripted LLM and the same words.
"""

import asyncio
import time
from collections.abc import AsyncGenerator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass

from pipecat.bus import BusBridgeProcessor
from pipecat.frames.frames import Frame, LLMFullResponseEndFrame, LLMTextFrame
from pipecat.pipeline.pipeline import Pipeline
from pipecat.pipeline.worker import PipelineParams, PipelineWorker
from pipecat.processors.aggregators.llm_context import LLMContext
from pipecat.processors.aggregators.llm_response_universal import (
    LLMContextAggregatorPair,
    LLMUserAggregatorParams,
)
from pipecat.processors.frame_processor import FrameProcessor
from pipecat.registry.types import WorkerReadyData
from pipecat.services.llm_service import FunctionCallParams
from pipecat.transports.base_transport import BaseTransport
from pipecat.workers.llm import LLMWorker, LLMWorkerActivationArgs, tool
from pipecat.workers.runner import WorkerRunner

from pipecat_workers_cli.call.plan import Plan, plan_call
from pipecat_workers_cli.call.run import open_call
from pipecat_workers_cli.options import Profile, ServiceOptions
from pipecat_workers_cli.recipe.load import load_recipe
from pipecat_workers_cli.services.scripted import ScriptedLLMService
from pipecat_workers_cli.traffic.tap import Tap
from pipecat_workers_cli.transports.console import ConsoleTransport
from pipecat_workers_cli.workers.cues import opening_cue, transfer_cue
from pipecat_workers_cli.workers.turns import text_turns

ANSWER_WITHIN = 20.0  # seconds; fifty calls at once on a busy machine take a few
IDLE_TIMEOUT = 300.0  # seconds; Pipecat's default, so that each arrangement watches for it


@dataclass(frozen=True, slots=True)
class Turn:
    """What the caller says, and what must be in the answer for the time to count."""

    text: str
    expect: str
    handoff: bool = False


TURNS = (
    Turn("How much are the rocket boots?", "$299", handoff=True),
    Turn("How fast are they?", "60 miles"),
    Turn("Can I talk to the greeter?", "greeter", handoff=True),
    Turn("What do you sell?", "Tornado Kit"),
)
"""To support and back; after the four of them the greeter has the call again."""


@dataclass(frozen=True, slots=True)
class Took:
    """Seconds from a turn sent to its answer's first text, and to its end."""

    first: float
    whole: float


class Caller:
    """Holds up the caller's end of one call, and times the answers.

    A time is taken where the output processor takes a frame up, in its own task: an
    observer would be told from a queue, some frames later.
    """

    def __init__(self, transport: ConsoleTransport) -> None:
        self._transport = transport
        self._words: list[str] = []
        self._first_text = self._last_text = 0.0
        self._answered = asyncio.Event()
        transport.output().add_event_handler("on_before_process_frame", self._note)

    async def say(self, turn: Turn) -> Took:
        """Say something and hear the answer out.

        Raises:
            RuntimeError: The answer was not the one expected.
            TimeoutError: There was none within `ANSWER_WITHIN`.
        """
        self._words.clear()
        self._answered.clear()
        began = time.perf_counter()
        await self._transport.send_turn(turn.text)
        await self.answered()
        if turn.expect not in "".join(self._words):
            raise RuntimeError(f"to {turn.text!r} came {''.join(self._words)!r}")
        return Took(self._first_text - began, self._last_text - began)

    async def answered(self) -> None:
        """Wait until the last word of an answer has come.

        Raises:
            TimeoutError: It did not come within `ANSWER_WITHIN`.
        """
        async with asyncio.timeout(ANSWER_WITHIN):
            await self._answered.wait()

    def _note(self, _output: FrameProcessor, frame: Frame) -> None:
        if isinstance(frame, LLMTextFrame):
            if not self._words:
                self._first_text = time.perf_counter()
            self._words.append(frame.text)
        elif isinstance(frame, LLMFullResponseEndFrame) and self._words:
            self._last_text = time.perf_counter()
            self._answered.set()


Arrangement = Callable[[], AbstractAsyncContextManager[Caller]]
"""Opens a call; entered once the greeter has welcomed the caller, left when all is down."""


def handoff_plan() -> Plan:
    """Plan the recipe `handoff` for words, with the scripted LLM."""
    services = ServiceOptions(profile=Profile.OFFLINE)
    return plan_call(load_recipe("handoff"), services, speech=False)


def ours(plan: Plan, tap: Tap) -> Arrangement:
    """Arrange calls as `pmw handoff console` does: one plan and one tap for all of them."""

    @asynccontextmanager
    async def opened() -> AsyncGenerator[Caller]:
        transport = ConsoleTransport()
        caller = Caller(transport)
        async with open_call(plan, transport, tap=tap, idle_timeout=IDLE_TIMEOUT, has_client=False):
            await caller.answered()
            yield caller

    return opened


def bare(plan: Plan) -> Arrangement:
    """Arrange calls as one pipeline with one LLM, support's, in it."""

    @asynccontextmanager
    async def opened() -> AsyncGenerator[Caller]:
        transport = ConsoleTransport()
        caller = Caller(transport)
        llm = ScriptedLLMService(persona=plan.workers[1].persona)
        worker = _pipeline_worker("bare", transport, llm, user=text_turns())
        started = _event_of(transport, "on_client_connected")
        async with _running(WorkerRunner(handle_sigint=False), worker):
            await asyncio.wait_for(started.wait(), ANSWER_WITHIN)
            yield caller

    return opened


def stock(plan: Plan, *, lean: bool = False) -> Arrangement:
    """Arrange calls as Pipecat's own two-agent handoff: a bridge and two LLM workers.

    Args:
        plan: The personas are taken from it.
        lean: Leave the model that judges the end of a spoken turn out, as ours does in
            calls of words. Pipecat's default loads it.
    """

    @asynccontextmanager
    async def opened() -> AsyncGenerator[Caller]:
        transport = ConsoleTransport()
        caller = Caller(transport)
        runner = WorkerRunner(handle_sigint=False)
        bridge = BusBridgeProcessor(bus=runner.bus, worker_name="acme")
        user = text_turns() if lean else None
        main = _pipeline_worker("acme", transport, bridge, user=user)
        greeter, support = (
            StockAgent(persona.name, llm=ScriptedLLMService(persona=persona), bridged=())
            for persona in (worker.persona for worker in plan.workers)
        )
        started = _event_of(transport, "on_client_connected")
        ready = asyncio.Event()

        async def on_worker_ready(_main: PipelineWorker, _data: WorkerReadyData) -> None:
            ready.set()

        main.add_event_handler("on_worker_ready", on_worker_ready)
        async with _running(runner, greeter, support, main):
            await asyncio.wait_for(started.wait(), ANSWER_WITHIN)
            await main.watch_workers("greeter")
            await asyncio.wait_for(ready.wait(), ANSWER_WITHIN)
            cue = opening_cue("Welcome the caller.")
            await main.activate_worker("greeter", args=LLMWorkerActivationArgs(messages=[cue]))
            await caller.answered()
            yield caller

    return opened


class StockAgent(LLMWorker):
    """An agent as Pipecat's examples have it, with the message that the script knows."""

    @tool
    async def transfer_to_agent(self, params: FunctionCallParams, agent: str, reason: str) -> None:
        """Hand the call to another agent.

        Args:
            params: The function call.
            agent: Who takes over.
            reason: Why, in a few words.
        """
        await params.result_callback(None)
        cue = transfer_cue(source=self.name, reason=reason)
        await self.activate_worker(
            agent, args=LLMWorkerActivationArgs(messages=[cue]), deactivate_self=True
        )


def _pipeline_worker(
    name: str,
    transport: ConsoleTransport,
    answering: FrameProcessor,
    *,
    user: LLMUserAggregatorParams | None,
) -> PipelineWorker:
    aggregators = LLMContextAggregatorPair(LLMContext(), user_params=user)
    pipeline = Pipeline(
        [
            transport.input(),
            aggregators.user(),
            answering,
            transport.output(),
            aggregators.assistant(),
        ]
    )
    params = PipelineParams(enable_metrics=True, enable_usage_metrics=True)
    return PipelineWorker(pipeline, name=name, params=params, idle_timeout_secs=IDLE_TIMEOUT)


def _event_of(transport: BaseTransport, event_name: str) -> asyncio.Event:
    happened = asyncio.Event()

    async def note(_transport: BaseTransport, _client: object) -> None:
        happened.set()

    transport.add_event_handler(event_name, note)
    return happened


@asynccontextmanager
async def _running(runner: WorkerRunner, *workers: PipelineWorker) -> AsyncGenerator[None]:
    await runner.add_workers(*workers)
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(runner.run(auto_end=False))
        try:
            yield
        finally:
            await runner.cancel()
