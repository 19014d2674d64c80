"""Many traced calls at once in one process, each with a word of its own.

python -m tests.tracing.calls RECIPE BUS CHANNEL COUNT
"""

import asyncio
import sys

from pipecat_workers_cli.tracing.setup import flush_tracing, set_up_tracing

set_up_tracing()  # as the commands do: before Pipecat's services are imported

from pipecat_workers_cli.buses.urls import SharedBus  # noqa: E402
from pipecat_workers_cli.call.distribution import open_distribution  # noqa: E402
from pipecat_workers_cli.traffic.tap import Tap  # noqa: E402
from tests.call.conftest import open_words_call  # noqa: E402


async def hold(recipe: str, bus: str, channel: str, count: int) -> None:
    """Hold calls that all say the same things at the same moments, but for their word."""
    everybody = asyncio.Barrier(count)

    async def one(number: int) -> None:
        async with open_words_call(recipe, distribution=distribution) as call:
            await call.opened()
            secret = f"secret{number:02}"
            for text in (f"a price of {secret}", f"ask the expert of {secret}", secret):
                await everybody.wait()
                await call.say(text)
            print(call.call.id, secret, flush=True)

    async with (
        open_distribution(SharedBus(bus, channel), Tap()) as distribution,
        asyncio.TaskGroup() as calls,
    ):
        for number in range(count):
            calls.create_task(one(number))


if __name__ == "__main__":
    recipe, bus, channel, count = sys.argv[1:]
    asyncio.run(hold(recipe, bus, channel, int(count)))
    flush_tracing(within=10)
