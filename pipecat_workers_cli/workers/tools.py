"""Tools of an LLM: what it is told of each, and what runs when it calls one."""

from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass

from pipecat.adapters.llm.schemas.function_schema import FunctionSchema
from pipecat.frames.frames import (
    Frame,
    FunctionCallResultProperties,
    LLMContextFrame,
    LLMTextFrame,
)
from pipecat.processors.frame_processor import FrameProcessor
from pipecat.services.llm_service import FunctionCallParams, LLMService

from pipecat_workers_cli.recipe.names import END

REASON = {"type": "string", "description": "why, in a few words"}
DONE = FunctionCallResultProperties(run_llm=False)


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


def register(tools: Iterable[Tool], llm: LLMService) -> None:
    """Let an LLM's calls run; an interruption cancels them, unless `@tool_options` says no."""
    for tool in tools:
        llm.register_function(tool.name, tool.run, timeout_secs=tool.timeout)


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
        await params.result_callback({"ending": True, "now": "say goodbye in one sentence"})


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
