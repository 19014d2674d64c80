"""The LLM behind the provider `parrot`: calls the one tool it has, or repeats what it hears."""

from pipecat.adapters.llm.schemas.tools_schema import ToolsSchema
from pipecat.frames.frames import (
    Frame,
    FunctionCallFromLLM,
    LLMContextFrame,
    LLMFullResponseEndFrame,
    LLMFullResponseStartFrame,
    LLMTextFrame,
)
from pipecat.processors.aggregators.llm_context import LLMContext
from pipecat.processors.frame_processor import FrameDirection
from pipecat.services.llm_service import LLMService

from pipecat_workers_cli.services.providers import TOOL_TIMEOUT, Persona


def build_parrot(*, persona: Persona, model: str, key: str) -> "Parrot":
    """Build the LLM, not yet started.

    Args:
        persona: Who it speaks as.
        model: `calm` or `loud`.
        key: Needed, as with most providers.
    """
    return Parrot(name=persona.name, loud=model == "loud", key=key)


class Parrot(LLMService):
    """Answers without thinking."""

    def __init__(self, *, name: str, loud: bool, key: str) -> None:
        """Learn its name."""
        super().__init__(function_call_timeout_secs=TOOL_TIMEOUT)
        self._called = name
        self._loud = loud
        self._key = key
        self._calls = 0

    async def process_frame(self, frame: Frame, direction: FrameDirection) -> None:
        """Answer a context; hand everything else on."""
        await super().process_frame(frame, direction)
        if not isinstance(frame, LLMContextFrame):
            await self.push_frame(frame, direction)
            return
        await self.push_frame(LLMFullResponseStartFrame())
        await self._answer(frame.context)
        await self.push_frame(LLMFullResponseEndFrame())

    async def _answer(self, context: LLMContext) -> None:
        last = context.get_messages()[-1]
        heard = str(last["content"])
        tools = context.tools.standard_tools if isinstance(context.tools, ToolsSchema) else []
        fitting = [tool for tool in tools if tool.name.partition("_")[0] in heard.lower()]
        if last["role"] != "user" or not fitting:
            words = f"{self._called} says: {heard}"
            await self.push_frame(LLMTextFrame(words.upper() if self._loud else words))
            return
        self._calls += 1
        call = FunctionCallFromLLM(
            function_name=fitting[0].name,
            tool_call_id=f"call_{self._calls}",
            arguments=dict.fromkeys(fitting[0].required, heard),
            context=context,
        )
        await self.run_function_calls([call])
