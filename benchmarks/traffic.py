"""What it costs to watch, to record and to read traffic.

    python benchmarks/traffic.py [--check] [--megabytes 100] [--rate 5000]

Three figures, each beside its reference in the same run:

- remembering, recording, and recording with the live table drawn at 200 by 50, at `--rate`
  messages a second, as a share of one core's time, and how much later a message is delivered
  for it (p99);
- offering messages faster than they are collected: counts stay exact, memory flat;
- `pmw bus stats` over a recording of `--megabytes`, against msgspec alone decoding its lines.

`--check` exits with 1 where a figure is past its limit.
"""

import argparse
import asyncio
import os
import pty
import resource
import statistics
import sys
import tempfile
import termios
import threading
import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec
from loguru import logger
from pipecat.bus import BusFrameMessage, BusJobUpdateMessage, BusMessage, BusSubscriber
from pipecat.frames.frames import LLMTextFrame
from pipecat.processors.frame_processor import FrameDirection
from pipecat.utils.asyncio.task_manager import TaskManager
from rich.console import Console

from pipecat_workers_cli.buses.local import LocalBus
from pipecat_workers_cli.cli.sheet import Header
from pipecat_workers_cli.cli.table import run_table
from pipecat_workers_cli.traffic.entry import Entry
from pipecat_workers_cli.traffic.record import Recording, open_recording
from pipecat_workers_cli.traffic.stats import Line, sum_up
from pipecat_workers_cli.traffic.tap import Tap

SHARE, LATER_MS, SPEED = 0.08, 1.0, 0.5  # the limits of a core, of p99, of msgspec's speed
SECONDS = 4.0
TICK = 0.01  # seconds between bursts: a call's messages come in bursts, too


class Listener(BusSubscriber):
    """Notes how late each message is."""

    def __init__(self) -> None:
        self.late: list[float] = []
        self.sent: dict[int, float] = {}

    @property
    def name(self) -> str:
        """The subscriber's name."""
        return "listener"

    async def on_bus_message(self, message: BusMessage) -> None:
        """Note one."""
        self.late.append(time.perf_counter() - self.sent.pop(id(message)))


def messages(count: int) -> list[BusMessage]:
    """Make words and progress by turns, as a busy call has them."""
    down = FrameDirection.DOWNSTREAM
    return [
        BusFrameMessage(source="support", frame=LLMTextFrame(f" word{number}"), direction=down)
        if number % 2
        else BusJobUpdateMessage(
            source="coder",
            target="acme",
            job_id="j",
            update={"type": "progress", "text": "reading"},
        )
        for number in range(count)
    ]


@asynccontextmanager
async def drawn(tap: Tap) -> AsyncGenerator[None]:
    """Draw the table on a terminal of 200 by 50 that somebody reads, while the block lasts."""
    master, slave = pty.openpty()
    termios.tcsetwinsize(slave, (50, 200))

    def read() -> None:
        try:
            while os.read(master, 65_536):
                pass
        except OSError:  # the other end is closed
            pass

    reader = threading.Thread(target=read, name="terminal", daemon=True)
    reader.start()
    stop = asyncio.Event()
    header = Header("bench", "http://localhost:1/", "offline", "q ends", 4)
    with os.fdopen(slave, "w") as terminal:
        console = Console(file=terminal, force_terminal=True, width=200, height=50)
        table = asyncio.create_task(
            run_table(
                tap, header=lambda: header, console=console, stop=stop, event_loop_lag=lambda: 0.0
            ),
            name="table",
        )
        try:
            yield
        finally:
            stop.set()
            await table
    reader.join(1)
    os.close(master)


async def offer(
    rate: int, *, record: Path | None, collect: bool, table: bool = False
) -> tuple[float, float]:
    """Send messages at a rate; return processor seconds a second, and p99 of delivery in ms."""
    bus, tap, listener = LocalBus(), Tap(), Listener()
    await bus.setup(TaskManager(loop=asyncio.get_running_loop()))
    await bus.subscribe(listener)
    await bus.start()
    tap.open_call("c1", bus, recipe="bench", workers=["support"], main="acme")
    batch = messages(int(rate * TICK))

    async def send() -> None:
        due = time.perf_counter()
        for _ in range(int(SECONDS / TICK)):
            for message in batch:
                listener.sent[id(message)] = time.perf_counter()
                await bus.send(message)
            due += TICK
            await asyncio.sleep(max(0.0, due - time.perf_counter()))

    before = time.process_time()
    if record is not None:
        with open_recording(record) as recorder:
            unwatch = tap.watch(recorder.add)
            async with tap.collecting():
                if table:
                    async with drawn(tap):
                        await send()
                else:
                    await send()
            unwatch()
    elif collect:
        async with tap.collecting():
            await send()
    else:
        await send()
    spent = (time.process_time() - before) / SECONDS
    await bus.stop()
    return spent, statistics.quantiles(listener.late, n=100)[98] * 1000


async def watching(rate: int, folder: Path) -> list[str]:
    """Measure what remembering and recording add to the same traffic; return what is too much."""
    shares: dict[str, list[float]] = {}
    late: dict[str, list[float]] = {}
    for number in range(3):
        for name, record, collect, table in (
            ("counted alone", None, False, False),
            ("remembered", None, True, False),
            ("recorded", folder / f"{number}.jsonl", True, False),
            ("recorded and drawn", folder / f"{number}-drawn.jsonl", True, True),
        ):
            spent, p99 = await offer(rate, record=record, collect=collect, table=table)
            shares.setdefault(name, []).append(spent)
            late.setdefault(name, []).append(p99)
    base, base_late = statistics.median(shares["counted alone"]), min(late["counted alone"])
    failed: list[str] = []
    print(f"{rate} messages a second")
    for name, spent in shares.items():
        more, later = statistics.median(spent) - base, min(late[name]) - base_late
        print(f"  {name:18} {more:+7.1%} of a core, p99 {later:+6.2f} ms")
        if more > SHARE or later > LATER_MS:
            failed.append(name)
    return failed


async def flooding() -> list[str]:
    """Offer more than is collected: all is counted, and little is kept."""
    bus, tap = LocalBus(), Tap()
    tap.open_call("c1", bus, recipe="bench", workers=["support"], main="acme")
    told: list[int] = []
    tap.watch(lambda entries: told.extend(entry.count or 1 for entry in entries))
    batch = messages(20_000)
    sizes: list[int] = []
    for _ in range(10):
        for message in batch:
            await bus.send(message)
        tap.collect()
        sizes.append(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024)
    exact = sum(told) == 200_000
    print(f"200,000 offered at once in tens: counted {sum(told):,}, {sizes[2]} → {sizes[-1]} MiB")
    return [] if exact and sizes[-1] < 1.2 * sizes[2] else ["flooding"]


def reading(megabytes: int, folder: Path) -> list[str]:
    """Read a large recording by `sum_up`, and its lines by msgspec alone."""
    path = folder / "large.jsonl"
    encode = msgspec.json.Encoder().encode_lines
    batch = [
        Entry(event="message", call="c1", at_ms=number, worker="support", kind="frame.text",
              type="LLMTextFrame", size=40, payload={"text": f" word{number}", "direction": "down"})
        if number % 10
        else Entry(event="job", call="c1", at_ms=number, name="coder", id=f"j{number}",
                   state="completed", took_ms=float(number % 900), text="It is in app.py.")
        for number in range(10_000)
    ]  # fmt: skip
    lines = encode(batch)
    with path.open("wb") as file:
        file.write(b'{"pmw_recording":1}\n')
        for _ in range(max(1, megabytes * 1_000_000 // len(lines))):
            file.write(lines)
    ratios: list[float] = []
    count, ours = 0, 0.0
    decode = msgspec.json.Decoder(Entry).decode
    for _ in range(3):
        began = time.process_time()
        with path.open("rb") as file:
            next(file)
            for line in file:
                decode(line)
        alone = time.process_time() - began
        began = time.process_time()
        summed = sum_up(Recording(path, Line))
        ours = time.process_time() - began
        ratios.append(alone / ours)
        count = sum(row.count for row in summed.kinds.values())
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    size = path.stat().st_size / 1e6
    ratio = statistics.median(ratios)
    print(f"stats of {size:,.0f} MB, {count:,} entries: {ours:.1f} s, {ratio:.2f} × the speed of "
          f"msgspec alone; {peak} MiB at most")  # fmt: skip
    return [] if ratio >= SPEED else ["stats"]


def main() -> None:
    """Run all three."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--check", action="store_true")
    parser.add_argument("--megabytes", type=int, default=100)
    parser.add_argument("--rate", type=int, default=5_000)
    options = parser.parse_args()
    logger.remove()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        failed = asyncio.run(watching(options.rate, folder))
        failed += asyncio.run(flooding())
        failed += reading(options.megabytes, folder)
    if failed:
        print(f"past the limit: {', '.join(failed)}")
    if options.check:
        sys.exit(bool(failed))


if __name__ == "__main__":
    main()
