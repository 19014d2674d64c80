"""A stock process with a main worker: `python -m tests.peers.desk URL CHANNEL`.

Each line on stdin is a caller's turn, `/noise` is 20 ms of sound, and `/leave` hangs up the way
the eval client does. It says what the caller is told, a line each, and `over` in the end.
"""

import asyncio
import sys

from loguru import logger
from pipecat.bus import BusBridgeProcessor, WorkerBus
from pipecat.frames.frames import (
    CancelWorkerFrame,
    Frame,
    InputAudioRawFrame,
    LLMFullResponseEndFrame,
    LLMMessagesAppendFrame,
    LLMTextFrame,
)
from pipecat.pipeline.pipeline import Pipeline
from pipecat.pipeline.worker import PipelineWorker
from pipecat.processors.aggregators.llm_context import LLMContext
from pipecat.processors.aggregators.llm_response_universal import LLMContextAggregatorPair
from pipecat.processors.frame_processor import FrameDirection, FrameProcessor
from pipecat.registry.types import WorkerReadyData
from pipecat.workers.llm import LLMWorkerActivationArgs
from pipecat.workers.runner import WorkerRunner

from tests.peers.acme import open_bus


class Teller(FrameProcessor):
    """Stands where a voice would, and prints."""

    def __init__(self) -> None:
        super().__init__()
        self._said = ""

    async def process_frame(self, frame: Frame, direction: FrameDirection) -> None:
        await super().process_frame(frame, direction)
        if isinstance(frame, LLMTextFrame):
            self._said += frame.text
        elif isinstance(frame, LLMFullResponseEndFrame) and self._said:
            print(f"bot: {self._said}", flush=True)
            self._said = ""
        elif isinstance(frame, InputAudioRawFrame):
            print("a sound", flush=True)
        await self.push_frame(frame, direction)


class Desk(PipelineWorker):
    """Gives the call to its opener, wherever that is."""

    def __init__(self, bus: WorkerBus, opener: str = "greeter") -> None:
        self._opener = opener
        pair = LLMContextAggregatorPair(LLMContext())
        bridge = BusBridgeProcessor(bus=bus, worker_name="acme")
        pipeline = Pipeline([pair.user(), bridge, Teller(), pair.assistant()])
        super().__init__(pipeline, name="acme", idle_timeout_secs=None)

    async def start(self) -> None:
        await super().start()
        await self.watch_workers(self._opener)

    async def on_worker_ready(self, data: WorkerReadyData) -> None:
        await super().on_worker_ready(data)
        hello = {"role": "user", "content": "hello"}
        await self.activate_worker(self._opener, args=LLMWorkerActivationArgs(messages=[hello]))

    async def say(self, line: str) -> None:
        if line == "/leave":
            frame: Frame = CancelWorkerFrame()
        elif line == "/noise":
            frame = InputAudioRawFrame(bytes(640), sample_rate=16_000, num_channels=1)
        else:
            frame = LLMMessagesAppendFrame([{"role": "user", "content": line}], run_llm=True)
        await self.queue_frame(frame)


async def main() -> None:
    bus = open_bus()
    runner, desk = WorkerRunner(bus=bus, handle_sigint=False), Desk(bus)
    await runner.add_workers(desk)
    await attend(runner, desk)


async def attend(runner: WorkerRunner, desk: Desk) -> None:
    """Run it all, and tell the desk what comes on stdin, until the session is over."""
    lines = asyncio.StreamReader()
    loop = asyncio.get_running_loop()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(lines), sys.stdin)

    async def read() -> None:
        while line := await lines.readline():
            await desk.say(line.decode().strip())

    reading = asyncio.create_task(read())
    await runner.run()
    reading.cancel()
    print("over", flush=True)


if __name__ == "__main__":
    logger.remove()
    asyncio.run(main())
