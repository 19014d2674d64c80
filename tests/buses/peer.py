"""A process that sends back what it gets: `python -m tests.buses.peer KIND URL CHANNEL`.

It prints its address; a parcel is a sender's address, a line's end and what is sent back.
"""

import asyncio
import sys
from importlib import import_module


async def main(kind: str, url: str, channel: str) -> None:
    bus = import_module(f"pipecat_workers_cli.buses.{kind}")
    async with bus.open_network(url, channel=channel) as network:
        print(network.address, flush=True)
        while True:
            for parcel in await network.receive():
                sender, _, words = parcel.partition(b"\n")
                await network.send({sender.decode(): words})


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
