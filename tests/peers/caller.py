"""A stock process with a main worker whose agent is behind a proxy: `python -m tests.peers.caller
URL [TOKEN]`. It reads and says what `tests.peers.desk` does.
"""

import asyncio
import sys

from loguru import logger
from pipecat.bus import BusFrameMessage
from pipecat.workers.proxy.websocket import WebSocketProxyClient
from pipecat.workers.runner import WorkerRunner

from tests.peers.desk import Desk, attend


def proxy(url: str, token: str | None = None, main: str = "acme") -> WebSocketProxyClient:
    """What connects to an assistant elsewhere."""
    return WebSocketProxyClient(
        "proxy",
        url=url,
        remote_worker_name="assistant",
        local_worker_name=main,
        forward_messages=(BusFrameMessage,),
        headers={"Authorization": f"Bearer {token}"} if token else None,
        active=True,
    )


async def main() -> None:
    runner = WorkerRunner(handle_sigint=False)
    desk = Desk(runner.bus, opener="assistant")
    await runner.add_workers(desk, proxy(*sys.argv[1:]))
    await attend(runner, desk)


if __name__ == "__main__":
    logger.remove()
    asyncio.run(main())
