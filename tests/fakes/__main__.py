"""Try the cloud profile by hand without a key: `python -m tests.fakes`.

It prints the variables to export, and serves until Ctrl-C:

    python -m tests.fakes > /tmp/fakes.env &
    set -a; . /tmp/fakes.env; set +a
    pmw handoff --services cloud
"""

import asyncio
import itertools
import signal

from tests.fakes.cartesia import FakeCartesia
from tests.fakes.deepgram import FakeDeepgram
from tests.fakes.openai import FakeOpenAI

CALL = ("What do you sell?", "How much are the Rocket Boots?", "And the paint?", "Goodbye!")


async def main() -> None:
    """Serve all three; whatever is said is heard as the next line of one call, over and over."""
    stopped = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stopped.set)
    deepgram = FakeDeepgram(itertools.cycle(CALL))
    async with deepgram, FakeOpenAI() as openai, FakeCartesia(pace=0.02) as cartesia:
        for fake in (deepgram, openai, cartesia):
            for name, value in fake.environment.items():
                print(f"{name}={value}", flush=True)
        await stopped.wait()


asyncio.run(main())
