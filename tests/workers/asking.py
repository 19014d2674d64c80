"""A main worker whose tool asks others by a job, and those whom it asks."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from pipecat.bus import (
    BusJobRequestMessage,
)
from pipecat.frames.frames import InterruptionFrame, LLMMessagesAppendFrame, TTSSpeakFrame
from pipecat.pipeline.job_context import JobStatus
from pipecat.pipeline.job_decorator import job as job_handler
from pipecat.workers.base_worker import BaseWorker

from pipecat_workers_cli.buses.local import LocalBus
from pipecat_workers_cli.call.run import running
from pipecat_workers_cli.recipe.model import Filler, JobTool
from pipecat_workers_cli.transports.console import ConsoleTransport
from pipecat_workers_cli.workers.job_tool import job_tool
from pipecat_workers_cli.workers.jobs import (
    Answering,
    JobFailed,
    question_of,
)
from pipecat_workers_cli.workers.main import Line
from pipecat_workers_cli.workers.talking import TalkingMain
from tests.workers.conftest import Bench, Frames, RehearsedLLM, tool

FAST = Filler(say="One moment.", after=0.02)


class Member(Answering, BaseWorker):
    """Answers by what it was made for; notes what it was asked and what was cancelled."""

    def __init__(self, name: str, answers: Callable[[str], Any] = str.upper) -> None:
        super().__init__(name)
        self._answers = answers
        self.asked: list[str] = []
        self.cancelled: list[str] = []
        self.go = asyncio.Event()

    async def answer(self, job: BusJobRequestMessage) -> dict:
        question = question_of(job)
        self.asked.append(question)
        try:
            if "wait" in question:
                await self.go.wait()
            return {"answer": self._answers(question)}
        except asyncio.CancelledError:
            self.cancelled.append(question)
            raise


class Stranger(BaseWorker):
    """Answers whatever it was made for, as it likes."""

    def __init__(self, name: str, response: Any, status: JobStatus = JobStatus.COMPLETED) -> None:
        super().__init__(name)
        self._response = response
        self._status = status

    @job_handler(name="odd")
    async def on_odd(self, message: BusJobRequestMessage) -> None:
        await self.send_job_response(message.job_id, self._response, status=self._status)


def fails(_question: str) -> str:
    raise ValueError("the password is hunter2")


def refuses(_question: str) -> str:
    raise JobFailed("that is not known")


class Talk(Bench):
    """A talking main worker whose LLM has one job tool, `ask`."""

    async def say(self, text: str) -> None:
        message = {"role": "user", "content": text}
        await self.main.queue_frame(LLMMessagesAppendFrame([message], run_llm=True))

    async def interrupt(self) -> None:
        await self.main.queue_frame(InterruptionFrame())

    def results(self) -> list[Any]:
        """What the LLM was told by its tool, oldest first."""
        told = [m["content"] for m in self.main.conversation.get_messages() if m["role"] == "tool"]
        return [json.loads(text) for text in told if text.startswith(("{", "[", '"'))]

    def fillers(self) -> list[str]:
        return [frame.text for frame in self.output.of(TTSSpeakFrame)]

    def words(self) -> str:
        """What the main worker's LLM has said so far."""
        messages = self.main.conversation.get_messages()
        texts = [m.get("content") for m in messages if m["role"] == "assistant"]
        return " ".join(text for text in texts if isinstance(text, str))


@asynccontextmanager
async def talk(
    *members: BaseWorker, llm: RehearsedLLM, ask: JobTool, opening: str | None = None
) -> AsyncIterator[Talk]:
    bus, transport = LocalBus(), ConsoleTransport()
    tools = [job_tool(ask, summaries={})]
    main = TalkingMain("main", Line(transport=transport), llm=llm, opening=opening, tools=tools)
    output = Frames(transport.output())
    async with running([main, *members], bus):
        yield Talk(main, bus, output)


def asks(*workers: str, **more: Any) -> JobTool:
    return JobTool(tool="ask", workers=workers, **{"timeout": 5.0, **more})


def once(question: Any = "why?") -> RehearsedLLM:
    return RehearsedLLM([tool("ask", question=question)], ["Here you are."])


async def told(members: list[BaseWorker], ask: JobTool, question: Any = "why?") -> Any:
    """Return what the LLM is told by one call of the tool; it must go on to speak of it."""
    async with talk(*members, llm=once(question), ask=ask) as call:
        await call.say("Ask them.")
        await call.until(lambda: "Here you are." in call.words())
        [result] = call.results()
    return result
