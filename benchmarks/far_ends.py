"""Far ends that `proxy.py` measures: ours is served by its recipe, the others by this program.

    python benchmarks/far_ends.py echo|stock

prints the port of a bare echo by `websockets`, or of Pipecat's own proxy worker.
"""

import asyncio
import socket
import sys
from contextlib import suppress
from typing import Any

import uvicorn
from fastapi import FastAPI, WebSocket, WebSocketDisconnect
from loguru import logger
from pipecat.bus import AsyncQueueBus, BusFrameMessage, BusJobRequestMessage, BusMessage
from pipecat.frames.frames import TTSAudioRawFrame
from pipecat.pipeline.job_context import JobParams
from pipecat.processors.frame_processor import FrameDirection
from pipecat.workers.base_worker import BaseWorker
from pipecat.workers.proxy.websocket import WebSocketProxyServer
from websockets.asyncio.server import ServerConnection, serve

from pipecat_workers_cli.call.run import running
from pipecat_workers_cli.workers.jobs import JobsEnd

ASKER, LISTENER = "asker", "listener"
PAYLOAD = {"topic": "Should we work from home, and if so, on how many days of the week?"}
ANSWER = {"answer": "It gives people hours back that they lost on the road. " * 4}
SOUND = bytes(640)  # 20 ms at 16 kHz
WITHIN = 120.0  # seconds for an answer


class Listener(JobsEnd, BaseWorker):
    """Answers jobs at once, after so many frames of sound as they ask for."""

    async def on_job_request(self, message: BusJobRequestMessage) -> None:
        """Send what is asked for, and answer."""
        for _ in range((message.payload or {}).get("frames", 0)):
            frame = TTSAudioRawFrame(audio=SOUND, sample_rate=16_000, num_channels=1)
            down = FrameDirection.DOWNSTREAM
            await self.send_bus_message(
                BusFrameMessage(source=self.name, frame=frame, direction=down)
            )
        await self.send_job_response(message.job_id, ANSWER)


class Asker(JobsEnd, BaseWorker):
    """Asks, and counts the frames that it hears."""

    heard = 0

    def accepts_bus_message(self, message: BusMessage) -> bool:
        """Hear frames, too."""
        return isinstance(message, BusFrameMessage) or super().accepts_bus_message(message)

    async def on_bus_message(self, message: BusMessage) -> None:
        """Count a frame."""
        if isinstance(message, BusFrameMessage):
            self.heard += message.source == LISTENER
        else:
            await super().on_bus_message(message)

    async def ask(self, payload: dict[str, Any] = PAYLOAD) -> None:
        """Ask the listener, and wait for its answer."""
        async with self.job(LISTENER, params=JobParams(payload=payload, timeout=WITHIN)):
            pass


async def echo() -> None:
    """Send back what comes."""

    async def answer(connection: ServerConnection) -> None:
        async for message in connection:
            await connection.send(message)

    async with serve(answer, "127.0.0.1", 0, compression=None) as server:
        print(next(iter(server.sockets)).getsockname()[1], flush=True)
        await asyncio.Event().wait()


async def stock() -> None:
    """Serve a listener to each connection, as Pipecat's examples do."""
    app = FastAPI()

    @app.websocket("/ws")
    async def _(websocket: WebSocket) -> None:
        await websocket.accept()
        proxy = WebSocketProxyServer(
            "gateway",
            websocket=websocket,
            worker_name=LISTENER,
            remote_worker_name=ASKER,
            forward_messages=(BusFrameMessage,),
        )
        gone = asyncio.Event()

        @proxy.event_handler("on_client_disconnected")
        async def _(_proxy: object, _websocket: object) -> None:
            gone.set()

        with suppress(WebSocketDisconnect, RuntimeError):
            async with running([Listener(LISTENER), proxy], AsyncQueueBus()):
                await gone.wait()

    with socket.create_server(("127.0.0.1", 0)) as listening:
        print(listening.getsockname()[1], flush=True)
        server = uvicorn.Server(uvicorn.Config(app, log_level="error"))
        await server.serve(sockets=[listening])


if __name__ == "__main__":
    logger.remove()
    asyncio.run({"echo": echo, "stock": stock}[sys.argv[1]]())
