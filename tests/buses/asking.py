"""How tests ask an engine: by every method, until it works, until it gives."""

import asyncio
import time

from pipecat_workers_cli.buses.network import BusDown, Claim

NOBODYS = Claim("work", "1-1", b"", 1)


def every_method(network):
    """A call of each."""
    return {
        "send": lambda: network.send({network.address: b"note"}),
        "receive": network.receive,
        "offer": lambda: network.offer("elsewhere", b""),
        "withdraw": lambda: network.withdraw("elsewhere", "1-1"),
        "claim": lambda: network.claim(["work"], most=1),
        "renew": lambda: network.renew([NOBODYS]),
        "settle": lambda: network.settle(NOBODYS),
        "give_back": lambda: network.give_back(NOBODYS),
        "announce": lambda: network.announce("host", "a", b"", ttl=1),
        "take_leave": lambda: network.take_leave("host", "a"),
        "present": lambda: network.present("host"),
    }


async def received(network, expected=1):
    """Receive until so many parcels have come."""
    parcels = []
    async with asyncio.timeout(5):
        while len(parcels) < expected:
            parcels += await network.receive()
    return parcels


async def until_it_gives(method, *args, **options):
    """Ask again until there is something."""
    async with asyncio.timeout(5):
        while not (given := await method(*args, **options)):
            pass
    return given


async def until_it_works(method, *args):
    """Ask again for five seconds as long as the engine is down."""
    deadline = time.monotonic() + 5
    while True:
        try:
            return await method(*args)
        except BusDown:
            if time.monotonic() > deadline:
                raise
            await asyncio.sleep(0.02)
