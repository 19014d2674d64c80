"""The scripted LLM: needs no key and no network, and answers by a recipe's `script`.

To a pipeline it is an LLM like any other: it streams words, makes real tool calls and can be
interrupted. What it says is decided by `script`, or where no rule fits by `fallback`.
"""

import asyncio
import re
import uuid
from collections import Counter
from collections.abc import Mapping
from typing import Any

from pipecat.adapters.llm.base_llm_adapter import BaseLLMAdapter
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
from pipecat.services.settings import LLMSettings
from pipecat.utils.tracing.service_decorators import traced_llm

from pipecat_workers_cli.services.fallback import improvise
from pipecat_workers_cli.services.providers import TOOL_TIMEOUT, Persona
from pipecat_workers_cli.services.script import Answer, Call, Say, Script, Tool, Tools
from pipecat_workers_cli.services.trigger import (
    Message,
    Trigger,
    count_speeches,
    find_trigger,
    settled_calls,
)

WORD = re.compile(r"\s*\S+(?:\s+$)?")


class ScriptedLLMAdapter(BaseLLMAdapter[dict[str, Any]]):
    """Leaves a conversation as it is: there is no provider whose form it would need.

    What Pipecat chooses for those that name none would load OpenAI's package, which takes a
    quarter of the time in which a call offline starts.
    """

    @property
    def id_for_llm_specific_messages(self) -> str:
        """What would mark a message as for this LLM alone."""
        return "scripted"

    async def get_llm_invocation_params(
        self, context: LLMContext, **_kwargs: Any
    ) -> dict[str, Any]:
        """Return the conversation's messages."""
        return {"messages": _standard_messages(context)}

    def to_provider_tools_format(self, tools_schema: ToolsSchema) -> list[Any]:
        """Return the tools as mappings."""
        return [tool.to_default_dict() for tool in tools_schema.standard_tools]

    def get_messages_for_logging(self, context: LLMContext) -> list[dict[str, Any]]:
        """Return the messages, sound and pictures in them cut short."""
        messages = self.get_messages(context, truncate_large_values=True)
        return [dict(message) for message in messages if isinstance(message, Mapping)]


class ScriptedLLMService(LLMService):
    """Speaks as one worker, by the rules of its script.

    A rule's list of texts is counted here, so it starts over with a new service: texts with
    placeholders, and answers cut off by the caller, could not be counted in a conversation
    without doubt. A text counts as used once its first word is due.
    """

    adapter_class = ScriptedLLMAdapter

    def __init__(self, *, persona: Persona) -> None:
        """Take a worker's part.

        Args:
            persona: Who it is, and its script.
        """
        super().__init__(
            function_call_timeout_secs=TOOL_TIMEOUT,
            settings=LLMSettings(
                model="scripted",
                system_instruction=persona.prompt or None,
                temperature=None,
                max_tokens=None,
                top_p=None,
                top_k=None,
                frequency_penalty=None,
                presence_penalty=None,
                seed=None,
                filter_incomplete_user_turns=False,
                user_turn_completion_config=None,
                use_provider_thinking_default=False,
            ),
        )
        self._persona = persona
        self._script = Script(persona.script)
        self._uses: Counter[int] = Counter()
        self._awaited: set[str] = set()  # our tool calls whose results we haven't answered
        self._answered = 0  # speeches in the conversation when we last answered

    def can_generate_metrics(self) -> bool:
        """Report times as other LLMs do, so that a turn's latency has its part for it."""
        return True

    async def process_frame(self, frame: Frame, direction: FrameDirection) -> None:
        """Answer a context, from whichever side it comes; hand everything else on."""
        await super().process_frame(frame, direction)
        if not isinstance(frame, LLMContextFrame):
            await self.push_frame(frame, direction)
            return
        try:
            await self.push_frame(LLMFullResponseStartFrame())
            await self.start_processing_metrics()
            await self._answer(frame.context)
        finally:  # an interruption ends the response too
            await self.stop_processing_metrics()
            await self.push_frame(LLMFullResponseEndFrame())

    async def run_inference(
        self,
        context: LLMContext,
        max_tokens: int | None = None,
        system_instruction: str | None = None,
        response_schema: dict[str, Any] | None = None,
    ) -> str | None:
        """Tell what it would say to a context, outside the call; nothing counts as said.

        Args:
            context: The conversation.
            max_tokens: Without meaning here.
            system_instruction: An instruction other than the worker's own, such as to sum
                up a conversation: a script has no answer to that.
            response_schema: Likewise.

        Returns:
            None if it would call a tool or stay silent, or is asked to be somebody else.
        """
        if system_instruction is not None or response_schema is not None:
            return None
        trigger = find_trigger(_standard_messages(context))
        answer = self._choose(trigger, context) if trigger else None
        return answer.text if isinstance(answer, Say) else None

    @traced_llm
    async def _answer(self, context: LLMContext) -> None:
        messages = _standard_messages(context)
        trigger = find_trigger(messages, awaited=self._awaited, answered=self._answered)
        self._awaited.difference_update(settled_calls(messages))
        self._answered = count_speeches(messages)
        answer = self._choose(trigger, context) if trigger else None
        if answer is None:
            return
        await self.start_ttfb_metrics()
        if answer.delay:
            await asyncio.sleep(answer.delay)
        if isinstance(answer, Say):
            await self._say(answer)
        else:
            await self._call(answer, context)

    def _choose(self, trigger: Trigger, context: LLMContext) -> Answer | None:
        tools = _tools(context)
        answer = self._script.choose(trigger, tools, self._uses)
        return answer or improvise(self._persona, trigger, tools)

    async def _say(self, answer: Say) -> None:
        if answer.rule is not None:
            self._uses[answer.rule] += 1
        await self._first_token()
        for word in WORD.findall(answer.text):
            await self.push_frame(LLMTextFrame(word))
            await asyncio.sleep(0)  # whoever speaks or interrupts gets a turn between words

    async def _call(self, answer: Call, context: LLMContext) -> None:
        await self._first_token()
        call_id = f"call_{uuid.uuid4().hex}"
        self._awaited.add(call_id)
        call = FunctionCallFromLLM(
            function_name=answer.tool,
            tool_call_id=call_id,
            arguments=answer.args,
            context=context,
        )
        await self.run_function_calls([call])

    async def _first_token(self) -> None:
        await self.stop_ttfb_metrics()
        await self.stop_ttfat_metrics()


def _standard_messages(context: LLMContext) -> list[Message]:
    """Leave out messages in another LLM's own format: they have no role to go by."""
    return [message for message in context.get_messages() if isinstance(message, Mapping)]


def _tools(context: LLMContext) -> Tools:
    offered = context.tools
    if not isinstance(offered, ToolsSchema):
        return {}
    return {
        schema.name: Tool(schema.name, schema.properties, tuple(schema.required))
        for schema in offered.standard_tools
    }
