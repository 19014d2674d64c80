"""How tests wait for an engine."""

import asyncio
import time

from pipecat_workers_cli.buses.network import BusDown


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


async def until_true(condition):
    """Look again for ten seconds."""
    async with asyncio.timeout(10):
        while True:
            if condition():
                return
            await asyncio.sleep(0.05)
