"""The other process of a bench: answers on both ways until its stdin ends."""

import asyncio
import sys

import msgspec
from loguru import logger

from pipecat_workers_cli.buses.bare import open_bare
from pipecat_workers_cli.buses.bench import answer, clear, open_on_post
from pipecat_workers_cli.buses.urls import SharedBus, open_network


async def serve(bus: SharedBus, stdin: asyncio.StreamReader) -> None:
    """Answer; whoever started this may be killed, so that it clears the channel, too."""
    try:
        async with (
            open_bare(bus) as bare,
            open_network(bus) as network,
            open_on_post(network) as posted,
        ):
            addresses = {"raw": bare.address, "pmw": posted.address}
            sys.stdout.write(msgspec.json.encode(addresses).decode() + "\n")
            sys.stdout.flush()
            answering = [asyncio.create_task(answer(place)) for place in (bare, posted)]
            over = asyncio.create_task(stdin.read())
            await asyncio.wait({*answering, over}, return_when=asyncio.FIRST_COMPLETED)
            for task in answering:
                task.cancel()
            await asyncio.wait(answering)
    finally:
        await clear(bus)


async def main() -> None:
    """Read from stdin which bus is meant."""
    logger.remove()
    stdin = asyncio.StreamReader()
    loop = asyncio.get_running_loop()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(stdin), sys.stdin)
    url, channel = msgspec.json.decode(await stdin.readline(), type=tuple[str, str])
    await serve(SharedBus(url, channel), stdin)


if __name__ == "__main__":
    asyncio.run(main())
