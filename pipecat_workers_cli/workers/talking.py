"""A main worker that talks to the caller itself, through an LLM of its own."""

from collections.abc import Sequence
from typing import Any

from pipecat.adapters.llm.schemas.tools_schema import ToolsSchema
from pipecat.frames.frames import LLMMessagesAppendFrame
from pipecat.processors.aggregators.llm_context import LLMContext
from pipecat.services.llm_service import FunctionCallParams, LLMService

from pipecat_workers_cli.workers.cues import opening_cue
from pipecat_workers_cli.workers.main import Line, MainWorker
from pipecat_workers_cli.workers.tools import END_SCHEMA, Spoken, Tool, answer_goodbye, register


class TalkingMain(MainWorker):
    """Answers the caller, asks other workers by its tools, and ends the call."""

    def __init__(
        self,
        name: str,
        line: Line,
        *,
        llm: LLMService,
        opening: str | None,
        tools: Sequence[Tool] = (),
    ) -> None:
        """Assemble the main pipeline round an LLM.

        Args:
            name: The worker's name on the bus.
            line: The caller's end.
            llm: What it thinks with; the system instruction is the service's.
            opening: What it is told to begin with; None lets the caller speak first.
            tools: What the LLM may call besides `end_conversation`.
        """
        tools = [Tool(END_SCHEMA, self._end_conversation), *tools]
        self._calls = register(tools, llm)
        self._opening = opening
        self._spoken = Spoken(llm)
        schema = ToolsSchema(standard_tools=[tool.schema for tool in tools])
        super().__init__(name, line, middle=[llm], conversation=LLMContext(tools=schema))

    @property
    def agent(self) -> str | None:
        """Its own name: nobody else talks to the caller."""
        return self.name

    async def open(self) -> None:
        """Speak first, if there is something to begin with."""
        if self._opening:
            self.trace_opening()
            cues: list[Any] = [opening_cue(self._opening)]
            await self.queue_frame(LLMMessagesAppendFrame(cues, run_llm=True))

    async def _end_conversation(self, params: FunctionCallParams) -> None:
        await self._calls.give_up()
        await answer_goodbye(params, spoke=bool(self._spoken))
        await self.end(reason=str(params.arguments.get("reason") or "goodbye"))
