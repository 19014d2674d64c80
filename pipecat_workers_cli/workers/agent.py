"""An agent: a worker that talks to the caller through an LLM while it has the call."""

from collections.abc import Mapping, Sequence
from typing import Any

from pipecat.adapters.llm.schemas.function_schema import FunctionSchema
from pipecat.bus import BusFrameMessage, BusMessage
from pipecat.frames.frames import (
    Frame,
    LLMConfigureOutputFrame,
    LLMContextFrame,
)
from pipecat.pipeline.pipeline import Pipeline
from pipecat.processors.frame_processor import FrameDirection, FrameProcessor
from pipecat.services.llm_service import FunctionCallParams, LLMService
from pipecat.services.tts_service import TTSService
from pipecat.workers.llm import LLMWorker, LLMWorkerActivationArgs, tool

from pipecat_workers_cli.recipe.names import TRANSFER
from pipecat_workers_cli.workers.cues import parse_cue, transfer_cue
from pipecat_workers_cli.workers.jobs import JobsEnd
from pipecat_workers_cli.workers.tools import (
    DONE,
    END_SCHEMA,
    REASON,
    Spoken,
    Tool,
    answer_goodbye,
    register,
)


class Agent(JobsEnd, LLMWorker):
    """Answers the caller while active, and hands the call to another agent or ends it.

    It is bridged and holds no conversation of its own: each turn arrives with the whole
    context, so a fresh agent can take over in mid-call. The LLM has the tool
    `end_conversation(reason)`, and with `transfers` also `transfer_to_agent(agent, reason)`.
    """

    def __init__(
        self,
        name: str,
        *,
        llm: LLMService,
        transfers: Mapping[str, str],
        tools: Sequence[Tool] = (),
        tts: TTSService | None = None,
    ) -> None:
        """Assemble the agent's pipeline.

        Args:
            name: The worker's name on the bus.
            llm: What it thinks with; the system instruction is the service's.
            transfers: Agents it may hand the call to, name to summary; the LLM chooses
                among them by their summaries.
            tools: What the LLM may call besides.
            tts: A voice of its own; None leaves speaking to the main worker.
        """
        self._transfers = dict(transfers)
        self._tools = tuple(tools)
        self._spoken = Spoken(llm)
        register(tools, llm)
        pipeline = Pipeline([llm, _OutputStaysHere(), *([tts] if tts else [])])
        super().__init__(name, llm=llm, pipeline=pipeline, bridged=())
        self._user_turn_came = False

    def build_tools(self) -> list[Any]:
        """Return the schemas that the LLM is told; the handlers are the `@tool` methods."""
        tools = [END_SCHEMA, *(tool.schema for tool in self._tools)]
        if self._transfers:
            who = "; ".join(f"{name}: {summary}" for name, summary in self._transfers.items())
            agent = {"type": "string", "enum": list(self._transfers), "description": who}
            tools.append(
                FunctionSchema(
                    name=TRANSFER,
                    description="Hand the call to another agent, who then speaks at once.",
                    properties={"agent": agent, "reason": REASON},
                    required=["agent", "reason"],
                )
            )
        return tools

    @tool
    async def transfer_to_agent(self, params: FunctionCallParams, agent: str, reason: str) -> None:
        """Hand the call to another agent.

        Args:
            params: The function call.
            agent: Who takes over; one of this agent's transfers.
            reason: Why, in a few words; the next agent is told.
        """
        if agent not in self._transfers:
            known = ", ".join(self._transfers) or "nobody"
            await params.result_callback({"error": f"no agent '{agent}'; there is {known}"})
            return
        if await self.absent([agent]):
            await params.result_callback({"error": f"{agent} is not there now; go on yourself"})
            return
        # The next agent answers, so this one's LLM must not run on the result too.
        await params.result_callback({"transferred_to": agent}, properties=DONE)
        cue = transfer_cue(source=self.name, reason=reason)
        await self.activate_worker(
            agent,
            args=LLMWorkerActivationArgs(messages=[cue], metadata={"reason": reason}),
            deactivate_self=True,
        )

    @tool
    async def end_conversation(self, params: FunctionCallParams, reason: str) -> None:
        """End the call, after a goodbye.

        Args:
            params: The function call.
            reason: Why, in a few words.
        """
        await answer_goodbye(params, spoke=bool(self._spoken))
        await self.end(reason=reason)

    async def on_activated(self, args: dict[str, Any] | None) -> None:
        """Take the call: the activation's message makes the LLM speak first."""
        self._user_turn_came = False
        await super().on_activated(args)

    def accepts_bus_message(self, message: BusMessage) -> bool:
        """Take what an active worker takes, and always whether words are to be spoken.

        A client says once, at the start of its call, that it wants text alone; an agent
        that gets the call later must have heard it.
        """
        return super().accepts_bus_message(message) or (
            isinstance(message, BusFrameMessage)
            and isinstance(message.frame, LLMConfigureOutputFrame)
        )

    async def on_bus_message(self, message: BusMessage) -> None:
        """Queue what arrives, but answer one thing once.

        The activation's message travels through the main worker's context before it
        comes back as a run of the LLM. A user's turn that ends meanwhile gets here first
        and is answered with the whole context, so the run that comes after it is dropped.
        """
        if isinstance(message, BusFrameMessage) and isinstance(message.frame, LLMContextFrame):
            if message.direction is FrameDirection.DOWNSTREAM:
                self._user_turn_came = True
            elif self._user_turn_came and _ends_with_cue(message.frame):
                return
        await super().on_bus_message(message)


class _OutputStaysHere(FrameProcessor):
    """Keeps what the LLM was told about its output from leaving.

    Every agent takes that in, and two would pass it to each other for ever.
    """

    def __init__(self) -> None:
        super().__init__(enable_direct_mode=True)  # it never waits: no queue, no task switch

    async def process_frame(self, frame: Frame, direction: FrameDirection) -> None:
        await super().process_frame(frame, direction)
        if not isinstance(frame, LLMConfigureOutputFrame):
            await self.push_frame(frame, direction)


def _ends_with_cue(frame: LLMContextFrame) -> bool:
    messages = frame.context.get_messages()
    return bool(messages) and isinstance(messages[-1], dict) and parse_cue(messages[-1]) is not None
