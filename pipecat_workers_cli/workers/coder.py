"""The code worker: answers other workers' questions about the code in one folder."""

import asyncio
import uuid
from functools import partial
from typing import Any

from loguru import logger
from pipecat.bus import BusJobRequestMessage
from pipecat.workers.base_worker import BaseWorker
from pydantic import BaseModel, Field

from pipecat_workers_cli.errors import PmwError
from pipecat_workers_cli.options import EngineName, Profile, Trust
from pipecat_workers_cli.workers.code.engines import (
    Engine,
    Step,
    choose_engine,
    open_engine,
    require_engine,
)
from pipecat_workers_cli.workers.code.fence import Fence
from pipecat_workers_cli.workers.jobs import (
    ANSWER,
    COST,
    TOOL_CALL,
    Answering,
    JobFailed,
    question_of,
)

GRANTS_NOTHING = Trust()
DONE = {"status": "done"}  # what is told of a step's end; what it found is in the answer


class CoderOptions(BaseModel, extra="forbid", frozen=True):
    """What a recipe may say of a code worker. A shell is no key of it, on purpose.

    Attributes:
        path: The folder.
        engine: Who answers; left out, `claude` where its key is.
        model: Of `claude`, a model's name or alias.
        max_turns: Of `claude`, the steps that one answer may take.
    """

    path: str = Field(default=".", min_length=1, max_length=4_096, description="a folder")
    engine: EngineName | None = Field(default=None, description="claude or search")
    model: str = Field(default="sonnet", pattern=r"^[\w.:@/\[\]-]{1,100}$", description="sonnet")
    max_turns: int = Field(default=10, ge=1, le=1_000, strict=True, description="from 1 to 1000")


class Coder(Answering, BaseWorker):
    """Answers each question by an engine that can read one folder and nothing else.

    Jobs: any name; the payload's words are the question. Answers `{"answer": words, "engine":
    "claude" | "search"}`, from `claude` with `cost_usd` too. What is done on the way is told
    as updates, in words and as tool calls. Questions share one conversation and one folder.
    """

    Options = CoderOptions

    def __init__(
        self,
        name: str,
        *,
        path: str = ".",
        engine: EngineName | None = None,
        model: str = "sonnet",
        max_turns: int = 10,
        trust: Trust = GRANTS_NOTHING,
        profile: Profile | None = None,
    ) -> None:
        """Put the fence up; nothing starts before the first question.

        Args:
            name: The worker's name on the bus.
            path: The folder.
            engine: Who answers; None chooses by key and profile.
            model: Of `claude`, a model's name or alias.
            max_turns: Of `claude`, steps that one answer may take.
            trust: What the command line granted; a shell for `claude` is one of it.
            profile: What `--services` said.

        Raises:
            ConfigurationError: The path is no folder.
            PmwError: The engine lacks its key or its package.
        """
        fence = Fence(path)
        self._chosen = choose_engine(engine, profile)
        require_engine(self._chosen)
        self._open = partial(
            open_engine,
            self._chosen,
            fence,
            model=model,
            max_turns=max_turns,
            allow_bash=trust.bash,
        )
        self._engine: Engine | None = None
        self._closing: asyncio.Task[None] | None = None
        super().__init__(name)

    async def answer(self, job: BusJobRequestMessage) -> dict[str, Any]:
        """Ask the engine."""
        question = question_of(job).strip()
        if not question:
            raise JobFailed("there was no question")
        steps = _Steps(self, job)
        try:
            if self._engine is None:
                engine = await self._open()
                self._engine = await engine.__aenter__()
            found = await self._engine.ask(question, steps.begin)
        except PmwError as error:
            logger.warning(f"{self.name} has no answer: {error.what}; try: {error.mend}")
            raise JobFailed(error.what) from error
        finally:
            await steps.end()
        cost = {} if found.cost_usd is None else {COST: found.cost_usd}
        return {ANSWER: found.text, "engine": self._chosen.value, **cost}

    async def stop(self) -> None:
        """Stop, and end the engine with all its processes.

        Pipecat stops a worker twice, once by message and once when it has run; whichever comes
        second waits for the same end, or the call would be over before the processes are.
        """
        await super().stop()  # cancels the question that is being answered
        if self._closing is None:
            self._closing = asyncio.create_task(self._close(), name=f"close {self.name}")
        await asyncio.shield(self._closing)

    async def _close(self) -> None:
        engine, self._engine = self._engine, None
        if engine is not None:
            await engine.__aexit__(None, None, None)


class _Steps:
    """Tells whoever asked of an engine's steps: each begins, and ends with the next."""

    def __init__(self, coder: Coder, job: BusJobRequestMessage) -> None:
        self._coder = coder
        self._job = job
        self._open: dict[str, Any] | None = None

    async def begin(self, step: Step) -> None:
        await self.end()
        call = {
            "name": step.tool,
            "args": dict(step.args),
            "tool_call_id": f"step_{uuid.uuid4().hex}",
        }
        self._open = {"type": TOOL_CALL, **call}
        await self._coder.report(self._job, step.text)
        await self._coder.tell(self._job, self._open)

    async def end(self) -> None:
        if self._open is not None:
            over, self._open = self._open, None
            await self._coder.tell(self._job, {**over, "result": DONE})
