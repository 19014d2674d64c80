"""A stock process that serves an assistant at a WebSocket: `python -m tests.peers.gateway PORT`.

Each connection has an assistant of its own. With a token as second word it closes on whoever
has none, before accepting. It says `ready`, `over` after each session, and how each ended.
"""

import asyncio
import sys

import uvicorn
from loguru import logger
from pipecat.bus import BusFrameMessage
from pipecat.services.llm_service import FunctionCallParams
from pipecat.workers.llm import tool
from pipecat.workers.proxy.websocket import WebSocketProxyServer
from pipecat.workers.runner import WorkerRunner
from starlette.applications import Starlette
from starlette.routing import WebSocketRoute
from starlette.websockets import WebSocket

from tests.peers.acme import BYE, Talker

RULES = {
    "Speak first": ("Welcome to the stock Acme Corp!", None),
    '"price"': ("The kit is $199.", None),
    "kit": ("Let me see. ", {"function_name": "find_price", "arguments": {"product": "kit"}}),
    "boots": ("Boots are $299.", None),
    "bye": BYE,
}


class Assistant(Talker):
    """Has the call."""

    def __init__(self) -> None:
        super().__init__("assistant", RULES)

    @tool
    async def find_price(self, params: FunctionCallParams, product: str) -> None:
        """Look a price up.

        Args:
            params: The function call.
            product: Of what.
        """
        await params.result_callback({"product": product, "price": 199})


def application(*, token: str | None = None, main: str = "acme") -> Starlette:
    """What serves assistants; a main worker elsewhere has to be called `main`."""

    async def serve(websocket: WebSocket) -> None:
        if token and websocket.headers.get("authorization") != f"Bearer {token}":
            await websocket.close()
            return
        await websocket.accept()
        runner = WorkerRunner(handle_sigint=False)
        proxy = WebSocketProxyServer(
            "gateway",
            websocket=websocket,
            worker_name="assistant",
            remote_worker_name=main,
            forward_messages=(BusFrameMessage,),
        )

        @proxy.event_handler("on_client_disconnected")
        async def on_client_disconnected(_proxy: WebSocketProxyServer, _ws: WebSocket) -> None:
            await runner.cancel("the client is gone")

        await runner.add_workers(proxy, Assistant())
        await runner.run()
        print("over", flush=True)

    return Starlette(routes=[WebSocketRoute("/ws", serve)])


class Server(uvicorn.Server):
    """Says when it serves."""

    async def startup(self, sockets: list | None = None) -> None:
        await super().startup(sockets)
        print("ready", flush=True)


if __name__ == "__main__":
    logger.remove()
    app = application(token=sys.argv[2] if len(sys.argv) > 2 else None)
    config = uvicorn.Config(app, port=int(sys.argv[1]), log_level="error")
    asyncio.run(Server(config).serve())
