"""A tool of an LLM that is answered by other workers."""

import asyncio
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

from pipecat.adapters.llm.schemas.function_schema import FunctionSchema
from pipecat.frames.frames import TTSSpeakFrame
from pipecat.pipeline.job_context import JobError, JobGroupError, JobGroupParams, JobParams
from pipecat.pipeline.worker import PipelineWorker
from pipecat.services.llm_service import FunctionCallParams

from pipecat_workers_cli.recipe.model import Filler, JobTool
from pipecat_workers_cli.workers.jobs import ANSWER, ERROR, JobsEnd
from pipecat_workers_cli.workers.tools import Tool

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

    async def ask(params: FunctionCallParams) -> None:
        asker = params.pipeline_worker
        if not isinstance(asker, JobsEnd):
            raise TypeError(f"{asker} can't give jobs that end")
        given = {name: str(params.arguments.get(name, ""))[:LONGEST] for name in recipe.takes}
        async with _filled(asker, recipe.filler):
            if len(recipe.workers) == 1:
                answer = await _ask_one(asker, recipe.workers[0], recipe, given)
            else:
                answer = await _ask_all(asker, recipe.workers, recipe, given)
        await params.result_callback(answer)

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
    return _answer(job.response) or {ERROR: f"{worker} had no answer"}


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
            response = group.responses.get(name) or {}
            if not _reason(response) and (answer := _answer(response)):
                answers[name] = answer
    missing = [name for name in workers if name not in answers]
    return {**answers, "missing": missing} if missing else answers


def _answer(response: Mapping[str, Any]) -> object:
    """Return what the LLM is told of a response: its words, or all of it."""
    return response.get(ANSWER, dict(response))


def _reason(response: Mapping[str, Any]) -> str | None:
    error = response.get(ERROR)
    return str(error) if error else None


def _timed_out(error: JobError, worker: str, recipe: JobTool) -> str:
    if str(error) == "timeout":
        return f"{worker} had no answer within {recipe.timeout:g} seconds"
    return f"{worker} gave no answer"


@asynccontextmanager
async def _filled(speaker: PipelineWorker, filler: Filler | None) -> AsyncGenerator[None]:
    """Have the filler spoken once, if the block takes longer than it waits.

    Whoever starts to speak interrupts the tool, and the filler with it.
    """
    if filler is None:
        yield
        return

    async def speak() -> None:
        await asyncio.sleep(filler.after)
        await speaker.queue_frame(TTSSpeakFrame(filler.say, append_to_context=False))

    speaking = asyncio.create_task(speak(), name="filler")
    try:
        yield
    finally:
        speaking.cancel()
        await asyncio.wait({speaking}, timeout=1)
