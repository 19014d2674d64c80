"""A session of two real workers under the live table, for a test on a pseudo-terminal."""

import asyncio
import os
import signal
import sys

from loguru import logger
from pipecat.bus import BusFrameMessage, BusJobRequestMessage
from pipecat.frames.frames import LLMTextFrame
from pipecat.pipeline.job_context import JobParams
from pipecat.pipeline.job_decorator import job
from pipecat.processors.frame_processor import FrameDirection
from pipecat.workers.base_worker import BaseWorker
from pipecat.workers.runner import WorkerRunner
from rich.console import Console

from pipecat_workers_cli.buses.local import open_bus
from pipecat_workers_cli.cli.keys import restore_terminal
from pipecat_workers_cli.cli.sheet import Header
from pipecat_workers_cli.cli.table import run_table
from pipecat_workers_cli.traffic.entry import Entry
from pipecat_workers_cli.traffic.tap import Tap


class Critic(BaseWorker):
    @job(name="think")
    async def on_think(self, message: BusJobRequestMessage) -> None:
        await self.send_job_response(message.job_id, {"fine": True})


class Broken(Tap):
    broken = False

    def snapshot(self):
        if self.broken:
            raise RuntimeError("the tap broke")
        return super().snapshot()


def hard_exit():
    restore_terminal()
    os._exit(130)


async def talk(main, critic, tap, pause):
    while True:
        async with main.job("critic", params=JobParams(name="think", timeout=5)):
            pass
        frame = LLMTextFrame("words")
        await critic.send_bus_message(
            BusFrameMessage(source="critic", frame=frame, direction=FrameDirection.DOWNSTREAM)
        )
        tap.add(Entry(event="bot", call="c1", at_ms=0, worker="critic", text="words"))
        await asyncio.sleep(pause)


async def session(way):
    tap, stop = Broken(), asyncio.Event()
    loop = asyncio.get_running_loop()
    breaks = hard_exit if way == "hard" else lambda: setattr(tap, "broken", True)
    loop.add_signal_handler(signal.SIGUSR1, breaks)

    def header():
        return Header("test", "http://localhost:1/", "offline", "q ends")

    main, critic = BaseWorker("main"), Critic("critic")
    async with open_bus() as bus:
        tap.open_call("c1", bus, recipe="test", workers=["critic"], main="main")
        runner = WorkerRunner(bus=bus, handle_sigint=False)
        await runner.add_workers(main, critic)
        ready = asyncio.Event()
        runner.add_event_handler("on_ready", lambda _: ready.set())
        run = asyncio.create_task(runner.run(auto_end=False))
        await ready.wait()
        await main.activate_worker("critic")
        talking = asyncio.create_task(talk(main, critic, tap, 0 if way == "busy" else 0.1))
        console = Console(stderr=True)
        try:
            await run_table(
                tap, header=header, console=console, stop=stop, event_loop_lag=lambda: 0.001
            )
        finally:
            talking.cancel()
            await runner.cancel("over")
            await run


logger.remove()
asyncio.run(session(sys.argv[1] if len(sys.argv) > 1 else ""))
