"""A tool of an LLM that is answered by other workers."""

import asyncio
import json
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

from pipecat.adapters.llm.schemas.function_schema import FunctionSchema
from pipecat.frames.frames import TTSSpeakFrame
from pipecat.pipeline.job_context import JobError, JobGroupError, JobGroupParams, JobParams
from pipecat.services.llm_service import FunctionCallParams, LLMService

from pipecat_workers_cli.recipe.model import Filler, JobTool
from pipecat_workers_cli.workers.jobs import ANSWER, ERROR, JobsEnd, as_json
from pipecat_workers_cli.workers.tools import Tool

MISSING = "missing"
"""The key of a job group's answers that names who gave none."""

GRACE = 5.0  # seconds past a job's timeout; Pipecat's own limit is only there in case ours fails
LONGEST = 16_384  # characters of one argument: more than anybody says in a turn


def job_tool(recipe: JobTool, *, summaries: Mapping[str, str]) -> Tool:
    """Make the tool that a recipe's `jobs` describes.

    Its answer is the worker's, in words or whatever it gave. Of several workers it is
    `{name: answer}`, with `missing`, the names that gave none, if there are any. An
    interruption cancels the jobs.

    Args:
        recipe: What the tool takes, and whom it asks.
        summaries: What each worker is for: the LLM is told unless the recipe says better.
    """
    asked = [
        f"{name}: {about}" if (about := summaries.get(name)) else name for name in recipe.workers
    ]
    schema = FunctionSchema(
        name=recipe.tool,
        description=recipe.description or f"Ask {'; '.join(asked)}",
        properties={
            name: {"type": "string", "description": told} for name, told in recipe.takes.items()
        },
        required=list(recipe.takes),
    )

    filler = _Filler(recipe.filler)

    async def ask(params: FunctionCallParams) -> None:
        asker = params.pipeline_worker
        if not isinstance(asker, JobsEnd):
            raise TypeError(f"{asker} can't give jobs that end")
        given = {name: _words(params.arguments.get(name)) for name in recipe.takes}
        async with filler.meanwhile(params.llm):
            if len(recipe.workers) == 1:
                answer = await _ask_one(asker, recipe.workers[0], recipe, given)
            else:
                answer = await _ask_all(asker, recipe.workers, recipe, given)
        await params.result_callback(as_json(answer))

    return Tool(schema, ask, timeout=recipe.timeout + GRACE)


async def _ask_one(asker: JobsEnd, worker: str, recipe: JobTool, payload: dict[str, str]) -> object:
    params = JobParams(name=recipe.job, payload=payload, timeout=recipe.timeout)
    job = asker.job(worker, params=params)
    try:
        async with job:
            pass
    except JobGroupError as error:  # it could not even be asked
        return {ERROR: str(error)}
    except JobError as error:
        return {ERROR: _reason(job.response) or _timed_out(error, worker, recipe)}
    answer = _answer(job.response)
    if answer is None:
        return {ERROR: f"{worker} had no answer"}
    return answer or {ANSWER: answer}  # Pipecat doesn't run the LLM on a bare 0 or False


async def _ask_all(
    asker: JobsEnd, workers: Sequence[str], recipe: JobTool, payload: dict[str, str]
) -> dict[str, Any]:
    absent = await asker.absent(workers)
    there = [name for name in workers if name not in absent]
    answers: dict[str, Any] = {}
    if there:
        # One that fails must not cost the others' answers; a late one costs its own.
        params = JobGroupParams(
            name=recipe.job, payload=payload, timeout=recipe.timeout, cancel_on_error=False
        )
        group = asker.job_group(*there, params=params)
        try:
            async with group:
                pass
        except JobGroupError:
            pass
        for name in there:
            response = group.responses.get(name)
            if not _reason(response) and (answer := _answer(response)) is not None:
                answers[name] = answer
    missing = [name for name in workers if name not in answers]
    return {**answers, MISSING: missing} if missing else answers


def _answer(response: object) -> object:
    """Return what the LLM is told of a response, its words or all of it; None if that is empty."""
    answer = response.get(ANSWER, response) if isinstance(response, Mapping) else response
    return None if answer in ("", {}) else answer


def _reason(response: object) -> str | None:
    error = response.get(ERROR) if isinstance(response, Mapping) else None
    return str(error) if error else None


def _timed_out(error: JobError, worker: str, recipe: JobTool) -> str:
    if str(error) == "timeout":
        return f"{worker} had no answer within {recipe.timeout:g} seconds"
    return f"{worker} gave no answer"


def _words(argument: object) -> str:
    """Return an argument as the text it should have been; LLMs don't keep to a schema."""
    if argument is None:
        return ""
    words = argument if isinstance(argument, str) else json.dumps(argument, default=str)
    return words[:LONGEST]


class _Filler:
    """Words for a caller who waits: said once, however many calls of the tool run at once."""

    def __init__(self, recipe: Filler | None) -> None:
        self._recipe = recipe
        self._waiting = 0
        self._speaking: asyncio.Task[None] | None = None

    @asynccontextmanager
    async def meanwhile(self, llm: LLMService) -> AsyncGenerator[None]:
        """Speak if the block takes longer than the filler waits.

        Whoever starts to speak interrupts the tool, and the filler with it.
        """
        if self._speaking is None and self._recipe is not None:
            self._speaking = asyncio.create_task(_speak(self._recipe, llm), name="filler")
        self._waiting += 1
        try:
            yield
        finally:
            self._waiting -= 1
            speaking = self._speaking
            if speaking is not None and not self._waiting:
                self._speaking = None
                speaking.cancel()
                await asyncio.wait({speaking}, timeout=1)


async def _speak(filler: Filler, llm: LLMService) -> None:
    await asyncio.sleep(filler.after)
    # From the LLM's place, where nothing that was said before an interruption can wait.
    await llm.push_frame(TTSSpeakFrame(filler.say, append_to_context=False))
