"""A worker's own conversation with its LLM: a question goes in, the completed turn comes out."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Any

from loguru import logger
from pipecat.adapters.llm.schemas.tools_schema import ToolsSchema
from pipecat.bus import BusJobRequestMessage
from pipecat.frames.frames import (
    ErrorFrame,
    Frame,
    FunctionCallCancelFrame,
    FunctionCallInProgressFrame,
    FunctionCallResultFrame,
    FunctionCallsStartedFrame,
    InterruptionFrame,
    LLMFullResponseEndFrame,
    LLMFullResponseStartFrame,
    LLMMessagesAppendFrame,
    LLMTextFrame,
)
from pipecat.pipeline.pipeline import Pipeline
from pipecat.pipeline.worker import PipelineWorker
from pipecat.processors.aggregators.llm_context import LLMContext
from pipecat.processors.aggregators.llm_response_universal import LLMContextAggregatorPair
from pipecat.processors.frame_processor import FrameProcessor
from pipecat.services.llm_service import LLMService
from pipecat.utils.errors import ErrorCategory

from pipecat_workers_cli.logs import redact
from pipecat_workers_cli.workers.jobs import (
    ANSWER,
    TOOL_CALL,
    Answering,
    JobFailed,
    question_of,
)
from pipecat_workers_cli.workers.tools import Tool, register
from pipecat_workers_cli.workers.turns import text_turns, trim

KEPT_MESSAGES = 60  # of a worker's own context: some fifteen questions with a tool each
ANSWER_WITHIN = 3_600.0  # seconds; whoever asked gives up sooner, this ends a wait for nobody
STOP_WITHIN = 1.5  # seconds in which an interruption goes once through three processors

Tell = Callable[[dict[str, Any]], Awaitable[None]]
"""Told each tool call, as a job's update of type `TOOL_CALL`; must not block."""


class OwnConversation:
    """An LLM with a context of its own, asked one question at a time.

    The completed turn is the answer: tools that the LLM calls on the way are waited for,
    and so is the response to their results. A question that is given up leaves no trace.

    Attributes:
        context: All that was asked and answered, cut at `KEPT_MESSAGES`.
        processors: To be put into the worker's pipeline, one after the other.
    """

    def __init__(self, llm: LLMService, *, tools: Sequence[Tool] = ()) -> None:
        """Begin a conversation.

        Args:
            llm: What it thinks with; the system instruction is the service's.
            tools: What the LLM may call.
        """
        register(tools, llm)
        schema = ToolsSchema(standard_tools=[tool.schema for tool in tools]) if tools else None
        self.context = LLMContext(tools=schema) if schema else LLMContext()
        aggregators = LLMContextAggregatorPair(self.context, user_params=text_turns())
        self._entrance: FrameProcessor = aggregators.user()
        self._exit: FrameProcessor = aggregators.assistant()
        self.processors: tuple[FrameProcessor, ...] = (self._entrance, llm, self._exit)
        self._llm = llm
        self._turn: _Turn | None = None
        self._interrupted = asyncio.Event()
        self._entrance.add_event_handler("on_before_process_frame", self._see_failure)
        self._exit.add_event_handler("on_after_process_frame", self._see)

    async def ask(self, question: str, *, tell: Tell | None = None) -> str:
        """Ask, and wait until the turn is complete. One question at a time.

        Cancelling it interrupts the LLM and its tools, and takes the question back out of
        the context.

        Args:
            question: What is asked, in words.
            tell: Told of each tool call and each result.

        Raises:
            JobFailed: The LLM failed, or had nothing to say.
        """
        trim(self.context, KEPT_MESSAGES)
        before = list(self.context.get_messages())
        self._turn = turn = _Turn(tell)
        append = LLMMessagesAppendFrame([{"role": "user", "content": question}], run_llm=True)
        try:
            async with asyncio.timeout(ANSWER_WITHIN):
                await self._entrance.queue_frame(append)
                return await turn.answer
        except TimeoutError:
            await self._take_back(before)
            raise JobFailed("no answer came") from None
        except (JobFailed, asyncio.CancelledError):
            await self._take_back(before)
            raise
        finally:
            self._turn = None

    async def _take_back(self, before: list[Any]) -> None:
        """Stop what runs, and make the context what it was."""
        self._turn = None
        self._interrupted.clear()
        await self._entrance.queue_frame(InterruptionFrame())
        try:
            async with asyncio.timeout(STOP_WITHIN):
                await self._interrupted.wait()
        except TimeoutError:  # the next answer may yet be good; an error here would be of no use
            logger.warning(f"{self._llm.name} went on for {STOP_WITHIN} s after an interruption")
        finally:
            self.context.set_messages(before)

    async def _see(self, _exit: FrameProcessor, frame: Frame) -> None:
        if isinstance(frame, InterruptionFrame):
            self._interrupted.set()
        elif self._turn is not None:
            await self._turn.see(frame)

    async def _see_failure(self, _entrance: FrameProcessor, frame: Frame) -> None:
        # A tool that raised is a result for the LLM, which has an answer to it yet.
        if self._turn is None or not isinstance(frame, ErrorFrame):
            return
        if frame.category is not ErrorCategory.APPLICATION:
            self._turn.fail(redact(str(frame.error)))


class Conversing(Answering, PipelineWorker):
    """A worker that answers each job by a conversation of its own.

    Jobs: any name; the payload's words are the question. Answers `{"answer": words}`.
    """

    def __init__(
        self, name: str, conversation: OwnConversation, *, before: Sequence[FrameProcessor] = ()
    ) -> None:
        """Assemble the worker's pipeline.

        Args:
            name: The worker's name on the bus.
            conversation: Who is asked.
            before: What stands in the pipeline before the conversation's own processors.
        """
        self._conversation = conversation
        super().__init__(
            Pipeline([*before, *conversation.processors]),
            name=name,
            enable_rtvi=False,
            enable_turn_tracking=False,
            idle_timeout_secs=None,
        )

    async def answer(self, job: BusJobRequestMessage) -> dict[str, Any]:
        """Ask the LLM."""
        words = await self._conversation.ask(question_of(job), tell=partial(self.tell, job))
        return {ANSWER: words}


class _Turn:
    """One question's turn: what has been said, and what is still to come."""

    def __init__(self, tell: Tell | None) -> None:
        self.answer: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self._tell = tell
        self._words: list[str] = []
        self._responses = 0
        self._tools: set[str] = set()
        self._run_owed = False

    def fail(self, why: str) -> None:
        if not self.answer.done():
            self.answer.set_exception(JobFailed(why))

    async def see(self, frame: Frame) -> None:
        """Take note of a frame that has come to the end of the conversation's pipeline."""
        match frame:
            case LLMTextFrame():
                self._words.append(frame.text)
                return
            case LLMFullResponseStartFrame():
                self._responses += 1
                self._run_owed = False
                self._words.clear()
                return
            case LLMFullResponseEndFrame():
                self._responses = max(0, self._responses - 1)
            case FunctionCallsStartedFrame():
                self._tools.update(call.tool_call_id for call in frame.function_calls)
                return
            case FunctionCallInProgressFrame():
                await self._tell_call(frame)
                return
            case FunctionCallResultFrame():
                await self._finish_tool(frame)
            case FunctionCallCancelFrame():
                self._tools.discard(frame.tool_call_id)
                self._run_owed = self._run_owed or frame.run_llm
            case _:
                return
        self._settle()

    async def _finish_tool(self, frame: FunctionCallResultFrame) -> None:
        self._tools.discard(frame.tool_call_id)
        runs = frame.properties is None or frame.properties.run_llm is not False
        self._run_owed = self._run_owed or bool(frame.result and runs)
        await self._tell_call(frame, result=frame.result)

    async def _tell_call(
        self, frame: FunctionCallInProgressFrame | FunctionCallResultFrame, **more: Any
    ) -> None:
        if self._tell is not None:
            call = {"name": frame.function_name, "args": dict(frame.arguments)}
            id = {"tool_call_id": frame.tool_call_id}
            await self._tell({"type": TOOL_CALL, **call, **id, **more})

    def _settle(self) -> None:
        if self._responses or self._tools or self._run_owed or self.answer.done():
            return
        words = "".join(self._words).strip()
        if words:
            self.answer.set_result(words)
        else:
            self.fail("it had nothing to say")
