"""What traces cost a call in words while they are on.

    python benchmarks/tracing.py [--calls 20] [--rounds 5]

Two processes hold the same calls of the recipe `handoff` in turns: one untraced, one that sends
its spans by OTLP to a collector in this process, which reads and forgets them. Processor time is
all that a process spends on a call from its opening to its last answer, its threads included.
"""

import argparse
import asyncio
import json
import os
import resource
import statistics
import subprocess
import sys
import threading
from collections.abc import Generator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

ENDPOINT = "OTEL_EXPORTER_OTLP_ENDPOINT"


class Collector(BaseHTTPRequestHandler):
    """Takes what is posted, and counts its bytes."""

    received = 0

    def do_POST(self) -> None:  # the library's name
        """Take a batch of spans."""
        body = self.rfile.read(int(self.headers["Content-Length"]))
        Collector.received += len(body)
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing of each request."""


@contextmanager
def collecting() -> Generator[str]:
    """Run a collector; gives its URL."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), Collector)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()


async def hold_calls(calls: int) -> dict[str, list[float]]:
    """Hold calls; return ms from a turn sent to its first text, and ms of processor a turn."""
    from arrangements import TURNS, handoff_plan, ours  # once tracing is set up

    from pipecat_workers_cli.traffic.tap import Tap

    opened = ours(handoff_plan(), Tap())
    first: list[float] = []
    spent: list[float] = []
    for _ in range(calls):
        before = resource.getrusage(resource.RUSAGE_SELF)
        async with opened() as caller:
            for turn in TURNS:
                took = await caller.say(turn)
                first.append(1000 * took.first)
        after = resource.getrusage(resource.RUSAGE_SELF)
        used = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        spent.append(1000 * used / len(TURNS))
    return {"first": first, "spent": spent}


def be_process() -> None:
    """Hold as many calls as each line of stdin says, and print what they took."""
    from loguru import logger

    from pipecat_workers_cli.tracing.setup import set_up_tracing

    logger.remove()
    set_up_tracing()

    async def answer() -> None:
        while line := await asyncio.to_thread(sys.stdin.readline):
            print(json.dumps(await hold_calls(int(line))), flush=True)

    asyncio.run(answer())


def ask(process: "subprocess.Popen[str]", calls: int) -> dict[str, list[float]]:
    """Have a process hold calls."""
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(f"{calls}\n")
    process.stdin.flush()
    return json.loads(process.stdout.readline())


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--calls", type=int, default=20, help="a round, of each process")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--process", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.process:
        be_process()
        return
    untraced = {name: value for name, value in os.environ.items() if not name.startswith("OTEL_")}
    with collecting() as url:
        envs = {"untraced": untraced, "traced": {**untraced, ENDPOINT: url}}
        processes = {
            name: subprocess.Popen(
                [sys.executable, __file__, "--process"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
                env=env,
            )
            for name, env in envs.items()
        }
        took: dict[str, dict[str, list[float]]] = {
            name: {"first": [], "spent": []} for name in processes
        }
        for number in range(options.rounds + 1):
            for name, process in processes.items():
                measured = ask(process, options.calls)
                if number:  # the first round loads and warms up
                    for what, values in measured.items():
                        took[name][what] += values
        for process in processes.values():
            process.communicate(timeout=30)
    print(f"{'':10}{'ms to first text':>18}{'p95':>8}{'ms of processor a turn':>24}")
    for name, figures in took.items():
        first, p95 = (
            statistics.median(figures["first"]),
            statistics.quantiles(figures["first"], n=20)[-1],
        )
        print(f"{name:10}{first:>18.1f}{p95:>8.1f}{statistics.median(figures['spent']):>24.1f}")
    for what, told in (("first", "first text"), ("spent", "processor")):
        ratio = statistics.median(took["traced"][what]) / statistics.median(took["untraced"][what])
        print(f"{told}: traced / untraced: {ratio:.2f}")
    print(f"spans' bytes a call: {Collector.received / options.calls / (options.rounds + 1):,.0f}")


if __name__ == "__main__":
    main()
