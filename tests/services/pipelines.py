"""A service in a real pipeline, and what comes out of it at both ends."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from pipecat.frames.frames import ErrorFrame, Frame
from pipecat.pipeline.pipeline import Pipeline
from pipecat.pipeline.worker import PipelineParams, PipelineWorker
from pipecat.processors.frame_processor import FrameProcessor
from pipecat.workers.runner import WorkerRunner

HEARD_AT, SPOKEN_AT = 16_000, 24_000  # Hz


class Sink(FrameProcessor):
    """Keeps what arrives at the pipeline's end, and the errors that leave at its head."""

    def __init__(self):
        super().__init__()
        self.frames: list[Frame] = []
        self.changed = asyncio.Event()

    async def process_frame(self, frame, direction):
        await super().process_frame(frame, direction)
        self.note(frame)
        await self.push_frame(frame, direction)

    def note(self, frame: Frame) -> None:
        self.frames.append(frame)
        self.changed.set()

    def of(self, kind):
        return [frame for frame in self.frames if isinstance(frame, kind)]

    async def until(self, kind, within=20.0):
        """Wait for a frame of that kind; returns all there are."""
        async with asyncio.timeout(within):
            while not self.of(kind):
                self.changed.clear()
                await self.changed.wait()
        return self.of(kind)


@asynccontextmanager
async def running(service) -> AsyncGenerator[tuple[PipelineWorker, Sink]]:
    """Run a service in a pipeline; gives the worker to send to and the sink."""
    sink = Sink()
    rates = PipelineParams(audio_in_sample_rate=HEARD_AT, audio_out_sample_rate=SPOKEN_AT)
    worker = PipelineWorker(Pipeline([service, sink]), params=rates, idle_timeout_secs=None)

    @worker.event_handler("on_pipeline_error")
    async def on_pipeline_error(_worker: PipelineWorker, frame: ErrorFrame) -> None:
        sink.note(frame)

    runner = WorkerRunner(handle_sigint=False)
    await runner.add_workers(worker)
    run = asyncio.create_task(runner.run())
    try:
        yield worker, sink
    finally:
        await worker.cancel()
        await asyncio.wait({run}, timeout=10)
