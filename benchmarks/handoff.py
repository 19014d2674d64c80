"""What a shared bus adds to a call of five turns, two of them handoffs, as its caller sees it.

    python benchmarks/handoff.py [--check] [--rounds 5] [--calls 5]

`pmw eval` holds a scripted call from its greeting to its goodbye: with all workers in its own
process, over a Valkey and over a Postgres with PGMQ, on which `pmw worker` hosts greeter and
support in a process each. They take turns, `--calls` at a time; a call's time goes from its
first moment to its last event, by Pipecat's eval client, and is the same work each time, so
that what is added is the bus's. `--check` exits with 1 if it adds more a turn than its limit.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
from collections.abc import Generator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from network import ENGINES

PMW = (sys.executable, "-m", "pipecat_workers_cli")
LIMITS = {"redis": 15.0, "pgmq": 50.0}  # ms a turn over the local one
TURNS = 5
CALL = """\
  - name: call {number}
    user: {{ modality: text }}
    judge: {{ modality: text }}
    turns:
      - expect: [{{ event: response, text_contains: "Welcome to Acme" }}]
      - user: "How much are the rocket boots?"
        expect: [{{ event: response, text_contains: "$299" }}]
      - user: "And the invisible paint?"
        expect: [{{ event: response, text_contains: "$49" }}]
      - user: "I would like to talk to the greeter again"
        expect: [{{ event: response, text_contains: "greeter" }}]
      - user: "Thank you, goodbye"
        expect: [{{ event: response, text_contains: "oodbye" }}]
"""


@contextmanager
def hosting(url: str) -> Generator[None]:
    """Run a host for each agent on a bus while the block lasts."""
    words = ("--services", "offline", "--bus", url)
    hosts = [
        subprocess.Popen([*PMW, "worker", name, *words], stderr=subprocess.PIPE, text=True)
        for name in ("greeter", "support")
    ]
    try:
        for host in hosts:
            if not any("Ctrl-C" in line for line in host.stderr or ()):
                raise RuntimeError("a host did not start")
        yield
    finally:
        for host in hosts:
            host.kill()
            host.wait()


def hold_calls(file: Path, bus: str) -> list[float]:
    """Hold all calls of a file, one after another; return the ms that each took."""
    words = ("eval", "handoff", str(file), "-q", "-o", "json", "--bus", bus)
    done = subprocess.run([*PMW, *words], stdout=subprocess.PIPE, text=True, check=True)
    return [1000 * json.loads(line)["seconds"] for line in done.stdout.splitlines()]


def main() -> None:
    """Measure, print, and check if asked to."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--check", action="store_true", help="exit 1 over a limit")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--calls", type=int, default=5, help="a round, on each bus")
    options = parser.parse_args()
    took: dict[str, list[float]] = {way: [] for way in ("local", *ENGINES)}
    with ExitStack() as stack:
        folder = Path(stack.enter_context(TemporaryDirectory()))
        file = folder / "five.yaml"
        calls = "".join(CALL.format(number=number) for number in range(options.calls))
        file.write_text(f"name: five\nscenarios:\n{calls}", encoding="utf-8")
        buses = {"local": "local"}
        for name, engine in ENGINES.items():
            buses[name] = stack.enter_context(engine.start())
            stack.enter_context(hosting(buses[name]))
        for _ in range(options.rounds):
            for way, bus in buses.items():
                took[way] += hold_calls(file, bus)[1:]  # the first call of a process loads things
    local = statistics.median(took["local"])
    print(
        f"load {os.getloadavg()[0]:.1f} on {os.cpu_count()} processors; {len(took['local'])} calls"
    )
    print(f"{'':8}{'ms a call':>11}{'p95':>9}{'ms a turn more':>16}{'limit':>7}")
    good = True
    for way, times in took.items():
        p95 = statistics.quantiles(times, n=20)[-1]
        more = (statistics.median(times) - local) / TURNS
        limit = LIMITS.get(way)
        good = good and (limit is None or more <= limit)
        cells = f"{more:>16.1f}{limit:>7.0f}" if limit else ""
        print(f"{way:8}{statistics.median(times):>11.0f}{p95:>9.0f}{cells}")
    if options.check and not good:
        sys.exit(1)


if __name__ == "__main__":
    main()
