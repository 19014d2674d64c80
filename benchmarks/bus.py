"""What counting costs: LocalBus beside Pipecat's AsyncQueueBus in the same run.

    python benchmarks/bus.py [--check] [--messages 20000] [--rounds 9]

Both buses deliver the same messages to the same number of subscribers, in turns, so that
whatever else the machine does hits both, and by processor time: nothing here ever waits,
and what other processes take is no cost of a bus. Pipecat's bus formats a trace line for each
message, shown or not, and LocalBus doesn't; so that this doesn't hide the counting, a
third bus stands beside them that neither formats nor counts. `--check` exits with 1 if
LocalBus has less than 0.95 of AsyncQueueBus' throughput anywhere.
"""

import argparse
import asyncio
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass

from loguru import logger
from pipecat.bus import (
    AsyncQueueBus,
    BusFrameMessage,
    BusJobUpdateMessage,
    BusMessage,
    BusSubscriber,
)
from pipecat.frames.frames import OutputAudioRawFrame
from pipecat.processors.frame_processor import FrameDirection
from pipecat.utils.asyncio.task_manager import TaskManager

from pipecat_workers_cli.buses.local import LocalBus

FLOOR = 0.95  # of AsyncQueueBus' throughput


class SilentBus(AsyncQueueBus):
    """Pipecat's bus without its trace line: what is left is delivery alone."""

    async def publish(self, message: BusMessage) -> None:
        """Deliver a message."""
        self.on_message_received(message)


class Listener(BusSubscriber):
    """Counts what arrives and says when all of it has."""

    def __init__(self, name: str, expected: int) -> None:
        self._name = name
        self._left = expected
        self.all_came = asyncio.Event()

    @property
    def name(self) -> str:
        """The subscriber's name."""
        return self._name

    async def on_bus_message(self, message: BusMessage) -> None:
        """Count a message down."""
        self._left -= 1
        if not self._left:
            self.all_came.set()


def small_message() -> BusMessage:
    """Make what a job sends most often."""
    return BusJobUpdateMessage(source="a", target="b", job_id="1", update={"done": 0.5})


def audio_message() -> BusMessage:
    """Make what a speaking agent sends most often: 20 ms at 24 kHz."""
    frame = OutputAudioRawFrame(audio=bytes(960), sample_rate=24_000, num_channels=1)
    return BusFrameMessage(source="a", frame=frame, direction=FrameDirection.DOWNSTREAM)


MESSAGES = {"job update": small_message, "20 ms of audio": audio_message}
BUSES: tuple[type[AsyncQueueBus], ...] = (AsyncQueueBus, SilentBus, LocalBus)
BURST = 50  # messages sent before the subscribers get their turn, as in a busy pipeline


async def throughput(
    bus: AsyncQueueBus, make: Callable[[], BusMessage], *, subscribers: int, messages: int
) -> float:
    """Return messages a second of processor time, from the first sent to the last received."""
    listeners = [Listener(f"listener {i}", messages) for i in range(subscribers)]
    await bus.setup(TaskManager(loop=asyncio.get_running_loop()))
    for listener in listeners:
        await bus.subscribe(listener)
    await bus.start()
    made = [make() for _ in range(messages)]
    began = time.process_time()
    for number, message in enumerate(made):
        await bus.send(message)
        if number % BURST == 0:
            await asyncio.sleep(0)
    async with asyncio.timeout(60):
        for listener in listeners:
            await listener.all_came.wait()
    took = time.process_time() - began
    await bus.stop()
    return messages / took


@dataclass(frozen=True)
class Row:
    """One line of the table: messages a second, and the medians of the rounds' ratios."""

    what: str
    subscribers: int
    speeds: tuple[float, ...]
    to_stock: float
    to_silent: float


async def measure(what: str, subscribers: int, *, messages: int, rounds: int) -> Row:
    """Run the buses in turns, and compare them round by round."""
    speeds: dict[type[AsyncQueueBus], list[float]] = {bus: [] for bus in BUSES}
    for number in range(rounds + 1):
        turn = number % len(BUSES)
        for bus in BUSES[turn:] + BUSES[:turn]:
            speed = await throughput(
                bus(), MESSAGES[what], subscribers=subscribers, messages=messages
            )
            if number:  # the first round warms up
                speeds[bus].append(speed)
    stock, silent, ours = (speeds[bus] for bus in BUSES)
    return Row(
        what,
        subscribers,
        tuple(statistics.median(speeds[bus]) for bus in BUSES),
        statistics.median(a / b for a, b in zip(ours, stock, strict=True)),
        statistics.median(a / b for a, b in zip(ours, silent, strict=True)),
    )


def main() -> None:
    """Measure, print, and check if asked to."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--check", action="store_true", help=f"exit 1 below {FLOOR}")
    parser.add_argument("--messages", type=int, default=20_000, help="a round")
    parser.add_argument("--rounds", type=int, default=9)
    options = parser.parse_args()
    logger.remove()
    logger.add(sys.stderr, level="ERROR")

    print("messages a second of processor time; ratio of LocalBus to each, median of the rounds")
    print(
        f"{'':16}{'subscribers':>12}{'AsyncQueueBus':>15}{'no trace':>10}{'LocalBus':>10}", end=""
    )
    print(f"{'to stock':>10}{'to no trace':>13}")
    worst = 99.0
    for what in MESSAGES:
        for subscribers in (2, 3, 4):
            row = asyncio.run(
                measure(what, subscribers, messages=options.messages, rounds=options.rounds)
            )
            stock, silent, ours = row.speeds
            print(
                f"{what:16}{subscribers:>12}{stock:>15,.0f}{silent:>10,.0f}{ours:>10,.0f}", end=""
            )
            print(f"{row.to_stock:>10.3f}{row.to_silent:>13.3f}", flush=True)
            worst = min(worst, row.to_stock)
    print(f"lowest ratio to AsyncQueueBus: {worst:.3f} (floor {FLOOR})")
    if options.check and worst < FLOOR:
        sys.exit(1)


if __name__ == "__main__":
    main()
