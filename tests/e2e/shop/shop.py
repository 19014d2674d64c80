"""A shop's workers, slow enough to be caught in the middle of what they do.

Written for Pipecat, as a user's would be; hosts import it from beside the recipe.
"""

import asyncio
import os
from pathlib import Path
from uuid import uuid4

from pipecat.frames.frames import LLMTextFrame
from pipecat.pipeline.job_decorator import job
from pipecat.pipeline.pipeline import Pipeline
from pipecat.processors.frame_processor import FrameProcessor
from pipecat.workers.base_worker import BaseWorker
from pipecat.workers.llm import LLMWorker, tool

NUMBERS = {"one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten"}


async def note(what: str) -> None:
    """Write down that something was done, which takes long to be over."""
    (Path(os.environ["SHOP_LEDGER"]) / uuid4().hex).write_text(what)
    await asyncio.sleep(4)


class Counting(FrameProcessor):
    """Lets a fifth of a second pass before each number."""

    async def process_frame(self, frame, direction):
        await super().process_frame(frame, direction)
        if isinstance(frame, LLMTextFrame) and frame.text.strip() in NUMBERS:
            await asyncio.sleep(0.2)
        await self.push_frame(frame, direction)


class Clerk(LLMWorker):
    """Counts slowly, has a tool of its own, and knows how many clerks there are."""

    there = most = 0

    def __init__(self, name, *, llm):
        super().__init__(name, llm=llm, pipeline=Pipeline([llm, Counting()]), bridged=())

    async def start(self):
        Clerk.there += 1
        Clerk.most = max(Clerk.most, Clerk.there)
        (Path(os.environ["SHOP_CROWDS"]) / str(os.getpid())).write_text(str(Clerk.most))
        await super().start()

    async def stop(self):
        Clerk.there -= 1
        await super().stop()

    @tool
    async def wrap(self, params, text: str):
        """Wrap it."""
        await note(text)
        await params.result_callback({"wrapped": text})


class Stock(BaseWorker):
    """Answers jobs without an LLM."""

    @job(name="order")
    async def on_order(self, message):
        question = message.payload["question"]
        if "broken" in question:
            raise RuntimeError("the password is hunter2")
        if "slow" in question:
            await note(question)
        await self.send_job_response(message.job_id, {"answer": f"ordered: {question}"})


async def pay(params, text: str):
    """Pay."""
    await note(text)
    await params.result_callback({"paid": text})
