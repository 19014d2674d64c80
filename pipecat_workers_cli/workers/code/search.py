"""The engine `search`: real search over the files, without an LLM and without a network.

Each question is a process of its own, so that the event loop, and the sound of a call with it,
is never held up; what was spoken about last is remembered here.
"""

import asyncio
import json
import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from dataclasses import asdict
from types import TracebackType
from typing import Any, Self

from loguru import logger

from pipecat_workers_cli.errors import PmwError
from pipecat_workers_cli.workers.code.engines import LONGEST_QUESTION, Answer, Report, Step
from pipecat_workers_cli.workers.code.fence import Fence
from pipecat_workers_cli.workers.code.lookup import Subject

PROCESS = "pipecat_workers_cli.workers.code.search_process"
LOOK_WITHIN = 8.0  # seconds in which files are read; half a million lines take one
ANSWER_WITHIN = 15.0  # seconds for all of it; an expression that runs away ends here
LEAVE_WITHIN = 2.0  # seconds for a killed process to be gone
LONGEST_MESSAGE = 1_000_000  # bytes of one line from the process


class SearchEngine:
    """Answers by looking through the files; remembers what "it" is from question to question."""

    def __init__(self, fence: Fence, *, answer_within: float = ANSWER_WITHIN) -> None:
        """Take the folder.

        Args:
            fence: The folder.
            answer_within: Seconds for one answer.
        """
        self._fence = fence
        self._answer_within = answer_within
        self._turn = asyncio.Lock()
        self._subject = Subject()

    async def __aenter__(self) -> Self:
        """Start nothing: each question starts a process of its own."""
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Wait until the question that was cancelled last has left."""
        async with self._turn:
            pass

    async def ask(self, question: str, report: Report) -> Answer:
        """Search for an answer. See `Engine.ask`."""
        asked = {
            "root": str(self._fence.root),
            "question": question[:LONGEST_QUESTION],
            "subject": asdict(self._subject),
            "within": min(LOOK_WITHIN, self._answer_within),
        }
        async with self._turn:
            try:
                async with asyncio.timeout(self._answer_within), _searching() as process:
                    return await self._converse(process, asked, report)
            except TimeoutError:
                what = f"no answer within {self._answer_within:g} seconds"
                raise PmwError(what, mend="ask for less at a time") from None

    async def _converse(
        self, process: asyncio.subprocess.Process, asked: dict[str, Any], report: Report
    ) -> Answer:
        assert process.stdin is not None
        assert process.stdout is not None
        with suppress(ConnectionError):  # it died at once; that is told below
            process.stdin.write(json.dumps(asked).encode())
            await process.stdin.drain()
            process.stdin.close()
        async for line in process.stdout:
            told = json.loads(line)
            if step := told.get("step"):
                await report(Step(step["text"], step["tool"], step["args"]))
                continue
            self._subject = Subject(**told["subject"])
            return Answer(told["answer"])
        _, trouble = await process.communicate()
        last = trouble.decode("utf-8", errors="replace").strip().rpartition("\n")[2]
        logger.debug(f"a search process ended: {last[:300]}")
        raise PmwError("the search broke off", mend="ask in other words, or see --log-level debug")


@asynccontextmanager
async def _searching() -> AsyncGenerator[asyncio.subprocess.Process]:
    """Run the process that searches; it is gone when the block is left, by whatever way."""
    process = await asyncio.create_subprocess_exec(
        # -P: the working directory may be the project, and its `json.py` is not to be imported.
        *(sys.executable, "-P", "-m", PROCESS),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        limit=LONGEST_MESSAGE,
    )
    try:
        yield process
    finally:
        if process.stdin is not None:
            process.stdin.close()
        with suppress(ProcessLookupError):
            process.kill()
        with suppress(TimeoutError, ConnectionError):
            async with asyncio.timeout(LEAVE_WITHIN):
                await process.communicate()  # to the end of its pipes, so that they are closed
