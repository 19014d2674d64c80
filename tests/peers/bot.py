"""A bot on Pipecat's API alone: a pipeline, and a worker that answers its jobs.

It says `done` when it is, or `pmw was imported` if any of pmw's modules was.
"""

import asyncio
import sys

from loguru import logger
from pipecat.bus import BusFrameMessage, BusJobRequestMessage
from pipecat.frames.frames import (
    EndFrame,
    LLMFullResponseEndFrame,
    LLMFullResponseStartFrame,
    LLMMessagesAppendFrame,
    LLMTextFrame,
    OutputAudioRawFrame,
)
from pipecat.pipeline.job_context import JobParams
from pipecat.pipeline.job_decorator import job
from pipecat.pipeline.pipeline import Pipeline
from pipecat.pipeline.worker import PipelineWorker
from pipecat.processors.aggregators.llm_context import LLMContext
from pipecat.processors.aggregators.llm_response_universal import LLMContextAggregatorPair
from pipecat.processors.frame_processor import FrameDirection
from pipecat.workers.base_worker import BaseWorker
from pipecat.workers.runner import WorkerRunner

DOWN = FrameDirection.DOWNSTREAM


class Doubler(BaseWorker):
    """Doubles numbers."""

    @job(name="double")
    async def on_double(self, message: BusJobRequestMessage) -> None:
        await self.send_job_update(message.job_id, {"note": "doubling"})
        await self.send_job_response(message.job_id, {"doubled": 2 * message.payload["n"]})


async def main() -> None:
    runner = WorkerRunner(handle_sigint=False)
    context = LLMContext()
    pair = LLMContextAggregatorPair(context)
    talker = PipelineWorker(Pipeline([pair.user(), pair.assistant()]), name="talker")
    await runner.add_workers(talker, Doubler("doubler"))
    running = asyncio.create_task(runner.run())
    asked = {"n": 21, "url": "redis://me:rosebud@host"}
    async with talker.job("doubler", params=JobParams(name="double", payload=asked)) as one:
        pass
    assert one.response == {"doubled": 42}
    sound = OutputAudioRawFrame(bytes(640), sample_rate=16_000, num_channels=1)
    for _ in range(50):
        await runner.bus.send(BusFrameMessage(source="talker", frame=sound, direction=DOWN))
    for frame in (LLMFullResponseStartFrame(), LLMTextFrame("42."), LLMFullResponseEndFrame()):
        await talker.queue_frame(frame)
    await talker.queue_frame(LLMMessagesAppendFrame([{"role": "user", "content": "?"}]))
    await talker.queue_frame(EndFrame())
    await asyncio.wait_for(talker.wait(), 10)
    await runner.cancel("done")
    await asyncio.wait_for(running, 10)


if __name__ == "__main__":
    logger.remove()
    asyncio.run(main())
    imported = [name for name in sys.modules if name.startswith("pipecat_workers_cli")]
    print("pmw was imported" if imported else "done")
    sys.exit(7)
