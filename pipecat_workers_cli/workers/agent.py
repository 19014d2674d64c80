"""An agent: a worker that talks to the caller through an LLM while it has the call."""

import functools
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from typing import Any

from pipecat.adapters.llm.schemas.function_schema import FunctionSchema
from pipecat.bus import BusActivateWorkerMessage, BusFrameMessage, BusMessage
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

from pipecat_workers_cli.recipe.names import END, TRANSFER
from pipecat_workers_cli.workers.cues import count_handovers, parse_cue, transfer_cue
from pipecat_workers_cli.workers.jobs import JobsEnd, staying
from pipecat_workers_cli.workers.tools import (
    DONE,
    END_SCHEMA,
    REASON,
    Spoken,
    Tool,
    ToolCalls,
    answer_goodbye,
    is_announced,
    register,
    traced,
)

HANDOVERS = 8  # in a row: enough to go once round a ring of five; two LLMs could go on for ever


class TakesCall(JobsEnd, LLMWorker):
    """What an LLM worker needs to have the call: ways to hand it on and to end it.

    To be named before Pipecat's class. If it is bridged, its LLM has the tool
    `end_conversation(reason)`, and with transfers also `transfer_to_agent(agent, reason)`;
    a class that has tools of these names keeps its own.
    """

    _transfers: Mapping[str, str] = {}
    _more_tools: Sequence[Tool] = ()
    _spoken: Spoken | None = None
    _calls: ToolCalls | None = None
    _user_turn_came = False
    _activating = False

    def equip(self, *, transfers: Mapping[str, str], tools: Sequence[Tool]) -> None:
        """Take what a recipe gives the worker, once it is built.

        Args:
            transfers: Agents it may hand the call to, name to summary; the LLM chooses
                among them by their summaries.
            tools: What the LLM may call besides.
        """
        self._transfers = dict(transfers)
        self._more_tools = tuple(tools)
        self._spoken = Spoken(self.llm)
        self._calls = register(tools, self.llm)

    def build_tools(self) -> list[Any]:
        """Return what the LLM is told of; the handlers of our two are the `@tool` methods."""
        ours = {schema.name: schema for schema in self._call_tools()}
        replaced = {name for name in (END, TRANSFER) if self._is_ours(name)}
        others = [known for known in super().build_tools() if _tool_name(known) not in replaced]
        told = [ours[name] for name in ours if name in replaced]
        return [*told, *others, *(tool.schema for tool in self._more_tools)]

    def _track_tool_call(self, method: Callable[..., Awaitable[Any]]) -> Callable[..., Any]:
        """Let a `@tool` method of somebody else's run once its main worker knows of it.

        A private name of Pipecat's, by which it wraps such methods;
        `tests/e2e/test_hosts_die.py` notices its loss.
        """
        tracked = super()._track_tool_call(method)
        if method.__name__ in (END, TRANSFER):  # carried out where the caller is
            return tracked

        @functools.wraps(method)
        async def announced(params: FunctionCallParams, *args: Any, **arguments: Any) -> Any:
            if await is_announced(params):
                with traced(params), staying():
                    return await tracked(params, *args, **arguments)
            return None

        return announced

    def _is_ours(self, name: str) -> bool:
        return getattr(type(self), name) is getattr(TakesCall, name)

    def _call_tools(self) -> Iterator[FunctionSchema]:
        if not self.bridged:  # it answers jobs, and never has the caller
            return
        yield END_SCHEMA
        if self._transfers:
            who = "; ".join(f"{name}: {summary}" for name, summary in self._transfers.items())
            agent = {"type": "string", "enum": list(self._transfers), "description": who}
            yield FunctionSchema(
                name=TRANSFER,
                description="Hand the call to another agent, who then speaks at once.",
                properties={"agent": agent, "reason": REASON},
                required=["agent", "reason"],
            )

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
        if count_handovers(params.context.get_messages()) >= HANDOVERS:
            error = "the call was handed on too often in a row, so it stays here"
            await params.result_callback({"error": error})
            return
        if await self.absent([agent]):
            await params.result_callback({"error": f"{agent} is not there now; go on yourself"})
            return
        if self._calls is not None:
            await self._calls.give_up()
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
        if self._calls is not None:
            await self._calls.give_up()
        await answer_goodbye(params, spoke=bool(self._spoken))
        await self.end(reason=reason)

    async def on_activated(self, args: dict[str, Any] | None) -> None:
        """Take the call: the activation's message makes the LLM speak first."""
        self._user_turn_came = self._activating = False
        await super().on_activated(args)

    def accepts_bus_message(self, message: BusMessage) -> bool:
        """Take what an active worker takes, and always whether words are to be spoken.

        A client says once, at the start of its call, that it wants text alone; an agent
        that gets the call later must have heard it. What comes right behind an activation
        is looked at before the activation is carried out, and is for an active worker too.
        """
        if isinstance(message, BusActivateWorkerMessage) and message.target == self.name:
            self._activating = True
        if self._activating and isinstance(message, BusFrameMessage):
            return True
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


class Agent(TakesCall):
    """Answers the caller while active, and hands the call to another agent or ends it.

    It is bridged and holds no conversation of its own: each turn arrives with the whole
    context, so a fresh agent can take over in mid-call.
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
        pipeline = Pipeline([llm, _OutputStaysHere(), *([tts] if tts else [])])
        super().__init__(name, llm=llm, pipeline=pipeline, bridged=())
        self.equip(transfers=transfers, tools=tools)


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


def _tool_name(known: Any) -> str:
    """Return the name of what `build_tools` lists: a schema or a function."""
    return str(getattr(known, "name", None) or getattr(known, "__name__", ""))
