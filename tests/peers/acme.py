"""What two programs on Pipecat's API alone share: a stock bus, and an LLM that goes by rules."""

import re
import sys
from collections.abc import Mapping
from typing import Any

from pipecat.bus.network import RedisBus
from pipecat.frames.frames import (
    Frame,
    FunctionCallFromLLM,
    FunctionCallResultProperties,
    LLMContextFrame,
    LLMFullResponseEndFrame,
    LLMFullResponseStartFrame,
    LLMTextFrame,
)
from pipecat.processors.aggregators.llm_context import LLMContext, standard_message_text
from pipecat.processors.frame_processor import FrameDirection
from pipecat.services.llm_service import FunctionCallParams, LLMService
from pipecat.services.settings import LLMSettings
from pipecat.workers.llm import LLMWorker, tool
from redis.asyncio import Redis

UNSET = (
    "model system_instruction temperature max_tokens top_p top_k frequency_penalty"
    " presence_penalty seed user_turn_completion_config"
)
SETTINGS = LLMSettings(
    **dict.fromkeys(UNSET.split()),
    filter_incomplete_user_turns=False,
    use_provider_thinking_default=False,
)

FLUSH = 0.3  # seconds; a stock agent waits for nothing here, five of them twice by default
QUIETLY = FunctionCallResultProperties(run_llm=False)
BYE = (
    "Thank you, goodbye!",
    {"function_name": "end_conversation", "arguments": {"reason": "goodbye"}},
)


def open_bus() -> RedisBus:
    """The bus that this program's command line names: a URL and a channel."""
    url, channel = sys.argv[1:3]
    return RedisBus(redis=Redis.from_url(url), channel=channel)


class RuledLLM(LLMService):
    """Answers the last message by the first rule that fits it: words, then perhaps a tool."""

    def __init__(self, rules: Mapping[str, tuple[str, dict[str, Any] | None]]) -> None:
        super().__init__(settings=SETTINGS)
        self._rules = rules
        self._calls = 0

    async def process_frame(self, frame: Frame, direction: FrameDirection) -> None:
        await super().process_frame(frame, direction)
        if not isinstance(frame, LLMContextFrame):
            await self.push_frame(frame, direction)
            return
        await self.push_frame(LLMFullResponseStartFrame())
        words, call = self._choose(frame.context)
        for word in re.findall(r"\S+\s*", words):
            await self.push_frame(LLMTextFrame(word))
        if call is not None:
            self._calls += 1
            id = f"{self.name}-{self._calls}"
            made = FunctionCallFromLLM(context=frame.context, tool_call_id=id, **call)
            await self.run_function_calls([made])
        await self.push_frame(LLMFullResponseEndFrame())

    def _choose(self, context: LLMContext) -> tuple[str, dict[str, Any] | None]:
        text = standard_message_text(context.messages[-1])
        return next(
            (answer for rule, answer in self._rules.items() if re.search(rule, text)),
            (f"What is '{text}'?", None),
        )


class Talker(LLMWorker):
    """Has the call while it is active, and ends it when the caller says so."""

    def __init__(self, name: str, rules: Mapping[str, tuple[str, dict[str, Any] | None]]) -> None:
        super().__init__(name, llm=RuledLLM(rules), bridged=())

    async def flush_pipeline(self, timeout: float = FLUSH) -> bool:  # noqa: ASYNC109
        return await super().flush_pipeline(FLUSH)

    @tool
    async def end_conversation(self, params: FunctionCallParams, reason: str) -> None:
        """End the call.

        Args:
            params: The function call.
            reason: Why.
        """
        await params.result_callback({"ended": True}, properties=QUIETLY)
        await self.end(reason=reason)
