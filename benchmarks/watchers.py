"""What twenty watchers, half of them frozen, cost a call: its turns with them and without.

    uv run python benchmarks/watchers.py [--turns 60] [--watchers 20]

A session runs in the background; turns are said through its socket, and timed from the request
to the bot's words. Rounds without and with watchers alternate, for the machine has moods.
"""

import argparse
import json
import math
import signal
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Generator
from contextlib import contextmanager

from pipecat_workers_cli.session.attached import attached, find_session, stop
from pipecat_workers_cli.session.messages import Say, Told

PMW = [sys.executable, "-m", "pipecat_workers_cli"]
ROUNDS = 3
ATTACHED_WITHIN = 60.0  # seconds for all watchers' processes to start
WATCHER = """
import sys
from pipecat_workers_cli.session.attached import attached, find_session
from pipecat_workers_cli.session.messages import Watch
with attached(find_session(sys.argv[1])) as session:
    for number, _ in enumerate(session.ask(Watch(snapshots=True), timeout=None)):
        if not number:
            print("attached", flush=True)
"""


def start() -> str:
    """Start a session in the background and return its name."""
    with socket.socket() as probe:
        probe.bind(("localhost", 0))
        port = str(probe.getsockname()[1])
    words = ["handoff", "--services", "offline", "--port", port, "--idle-timeout", "3600"]
    answer = subprocess.run(
        [*PMW, *words, "--detach", "-o", "json"], capture_output=True, text=True, check=True
    )
    return json.loads(answer.stdout)["session"]


def turn(name: str) -> float:
    """Say a turn, and return the ms until the bot's words are here."""
    began = time.perf_counter()
    took = math.nan
    with attached(find_session(name)) as session:
        for reply in session.ask(Say(text="How much is the paint?"), timeout=30):
            if isinstance(reply, Told) and reply.entry.event == "bot":
                took = (time.perf_counter() - began) * 1000
    return took


@contextmanager
def watchers(name: str, count: int) -> Generator[None]:
    """Have a session watched, by half of the watchers in name only: they are frozen."""
    running = [
        subprocess.Popen([sys.executable, "-c", WATCHER, name], stdout=subprocess.PIPE)
        for _ in range(count)
    ]
    try:
        for one in running:
            assert one.stdout is not None
            one.stdout.readline()
        for one in running[::2]:
            one.send_signal(signal.SIGSTOP)
        yield
    finally:
        for one in running:
            one.kill()
            one.wait(5)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--turns", type=int, default=60)
    parser.add_argument("--watchers", type=int, default=20)
    wanted = parser.parse_args()
    name = start()
    alone: list[float] = []
    watched: list[float] = []
    try:
        for _ in range(10):
            turn(name)
        for _ in range(ROUNDS):
            alone += [turn(name) for _ in range(wanted.turns // ROUNDS)]
            with watchers(name, wanted.watchers):
                watched += [turn(name) for _ in range(wanted.turns // ROUNDS)]
    finally:
        stop([find_session(name)], within=10, on_end=lambda _: None)
    for title, taken in (("alone", alone), ("watched", watched)):
        p95 = statistics.quantiles(taken, n=20)[-1]
        print(f"{title:8} median {statistics.median(taken):6.1f} ms   p95 {p95:6.1f} ms")
    ratio = statistics.median(watched) / statistics.median(alone)
    print(f"ratio of the medians, {wanted.watchers} watchers, half of them frozen: {ratio:.2f}")


if __name__ == "__main__":
    main()
