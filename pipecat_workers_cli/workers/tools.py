"""Tools of an LLM: what it is told of each, and what runs when it calls one."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import partial, update_wrapper
from typing import Any

from pipecat.adapters.llm.schemas.function_schema import FunctionSchema
from pipecat.frames.frames import (
    Frame,
    FunctionCallCancelFrame,
    FunctionCallResultProperties,
    LLMContextFrame,
    LLMTextFrame,
)
from pipecat.processors.frame_processor import FrameProcessor
from pipecat.services.llm_service import FunctionCallParams, LLMService

from pipecat_workers_cli.buses.remote import LINE_DOWN, SpokeBus
from pipecat_workers_cli.recipe.names import END

REASON = {"type": "string", "description": "why, in a few words"}
DONE = FunctionCallResultProperties(run_llm=False)
SPEAK = FunctionCallResultProperties(run_llm=True)  # even if other calls are still running
GIVE_UP_WITHIN = 2.0  # seconds a call may take to clean up


@dataclass(frozen=True, slots=True)
class Tool:
    """One tool.

    Attributes:
        schema: What the LLM is told. It carries no handler, so that it means the same at
            the other end of a bus.
        run: Called with the function call; answers by its `result_callback`.
        timeout: Seconds after which Pipecat stops `run`; None leaves it to `run`.
    """

    schema: FunctionSchema
    run: Callable[[FunctionCallParams], Awaitable[None]]
    timeout: float | None = None

    @property
    def name(self) -> str:
        """The name the LLM calls it by."""
        return self.schema.name


def register(tools: Iterable[Tool], llm: LLMService) -> "ToolCalls":
    """Let an LLM's calls run; an interruption cancels them, unless `@tool_options` says no."""
    calls = ToolCalls(llm)
    for tool in tools:
        # With what Pipecat's `tool_options` noted on it.
        run = update_wrapper(partial(calls.follow, tool.run), tool.run)
        llm.register_function(tool.name, run, timeout_secs=tool.timeout)
    return calls


class ToolCalls:
    """The calls of an LLM's tools that are running."""

    def __init__(self, llm: LLMService) -> None:
        """Begin with none."""
        self._llm = llm
        self._running: dict[str, tuple[str, asyncio.Task[Any] | None]] = {}

    async def follow(
        self, run: Callable[[FunctionCallParams], Awaitable[None]], params: FunctionCallParams
    ) -> None:
        """Run a call, once whoever has the conversation knows that it is about to run."""
        self._running[params.tool_call_id] = (params.function_name, asyncio.current_task())
        try:
            if await is_announced(params):
                with traced(params):
                    await run(params)
        finally:
            self._running.pop(params.tool_call_id, None)

    async def give_up(self) -> None:
        """Cancel all calls but the one that this is called from, and say so in the pipeline.

        What an LLM has called besides a goodbye or a transfer would else go on for an agent
        who no longer has the call, and count as running for ever.
        """
        for id, (name, task) in list(self._running.items()):
            if task is not None and task is not asyncio.current_task():
                task.cancel()
                await asyncio.wait({task}, timeout=GIVE_UP_WITHIN)
                frame = {"function_name": name, "tool_call_id": id}
                await self._llm.broadcast_frame(FunctionCallCancelFrame, **frame)


def traced(params: FunctionCallParams) -> AbstractContextManager[None]:
    """Return a block that is a span of a tool's call, where calls are traced."""
    trace = getattr(params.pipeline_worker, "trace", None)
    if trace is None:
        return nullcontext()
    return trace.tool(params.function_name, params.tool_call_id)


async def is_announced(params: FunctionCallParams) -> bool:
    """Let the process that has the conversation know of a call before it runs.

    Returns:
        Whether it may run; if not, the call is answered.
    """
    bus = params.pipeline_worker.bus
    if not isinstance(bus, SpokeBus) or await bus.announce(
        params.tool_call_id, params.function_name
    ):
        return True
    await params.result_callback({"error": LINE_DOWN})
    return False


END_SCHEMA = FunctionSchema(
    name=END,
    description=(
        "End the call, once the caller has said goodbye. Call it without words; "
        "say goodbye when it has answered."
    ),
    properties={"reason": REASON},
    required=["reason"],
)


async def answer_goodbye(params: FunctionCallParams, *, spoke: bool) -> None:
    """Answer a call of `end_conversation` so that a goodbye is said once.

    Args:
        params: The function call.
        spoke: Whether the LLM had words in the response that called it.
    """
    if spoke:
        await params.result_callback({"ended": True}, properties=DONE)
    else:  # the goodbye is the LLM's answer to this result
        told = {"ending": True, "now": "say goodbye in one sentence"}
        await params.result_callback(told, properties=SPEAK)


class Spoken:
    """True once an LLM's response to the latest context has had words."""

    def __init__(self, llm: LLMService) -> None:
        """Listen to what `llm` is given and what it says."""
        self._spoke = False

        async def on_given(_llm: FrameProcessor, frame: Frame) -> None:
            # Not at the response's first frame, for a tool may run before that is on its way.
            if isinstance(frame, LLMContextFrame):
                self._spoke = False

        async def on_said(_llm: FrameProcessor, frame: Frame) -> None:
            if isinstance(frame, LLMTextFrame) and frame.text.strip():
                self._spoke = True

        llm.add_event_handler("on_before_process_frame", on_given)
        llm.add_event_handler("on_before_push_frame", on_said)

    def __bool__(self) -> bool:
        """Tell whether it has."""
        return self._spoke
