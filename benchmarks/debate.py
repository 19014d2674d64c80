"""How long a job group takes beside its slowest worker asked alone, in one call in words.

    python benchmarks/debate.py [--check] [--rounds 7]

A main worker has two tools: one asks all its specialists at once, the other asks one of them
alone. Their scripted LLMs take `THINKS` each and then stream thirty words: at the same moment,
so none of that work can hide behind another's wait. A time is from the first job's start to the
last one's end, as the call itself tells them. Both are asked in turns. `--check` exits with 1
if a group takes more than 1.15 times as long as one worker alone, with 3 or with 30 workers.
"""

import argparse
import asyncio
import statistics
import sys
import tempfile
from pathlib import Path

from loguru import logger

from pipecat_workers_cli.call.plan import Plan, plan_call
from pipecat_workers_cli.call.run import open_call
from pipecat_workers_cli.options import Profile, ServiceOptions
from pipecat_workers_cli.recipe.load import load_recipe
from pipecat_workers_cli.traffic.entry import Entry
from pipecat_workers_cli.traffic.tap import Tap
from pipecat_workers_cli.transports.console import ConsoleTransport

CEILING = 1.15  # times the slowest worker's time
SIZES = (3, 30)
THINKS = 1.0  # seconds; what a provider's LLM takes for two sentences
WORDS = 30
ANSWER_WITHIN = 20.0  # seconds

MAIN = """
name = "many"
[main]
prompt = "Ask."
script = [
  { on = "tool", say = "Told." },
  { match = "everybody", call = "ask_all", args = { question = "{text}" } },
  { call = "ask_one", args = { question = "{text}" } },
]
"""
TOOL = """
[[main.jobs]]
tool = "%s"
workers = [%s]
"""
WORKER = """
[[workers]]
name = "w%d"
kind = "specialist"
prompt = "Answer."
script = [{ say = "%s", delay = %.3f }]
"""


def recipe(size: int) -> str:
    """Word a recipe with so many specialists, one as slow as the other."""
    names = ", ".join(f'"w{number}"' for number in range(size))
    tools = TOOL % ("ask_all", names) + TOOL % ("ask_one", '"w0"')
    words = " ".join(["word"] * WORDS)
    workers = (WORKER % (number, words, THINKS) for number in range(size))
    return MAIN + tools + "".join(workers)


def span(entries: list[Entry]) -> float:
    """Return the seconds from the first job's start to the last one's end."""
    jobs = [entry for entry in entries if entry.event == "job"]
    assert all(job.state in ("started", "completed") for job in jobs), jobs
    return (jobs[-1].at_ms - jobs[0].at_ms) / 1000


def planned(size: int) -> Plan:
    """Plan a call of so many specialists."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "many.toml")
        path.write_text(recipe(size), encoding="utf-8")
        loaded = load_recipe(str(path))
    return plan_call(loaded, ServiceOptions(profile=Profile.OFFLINE), speech=False)


async def measure(plan: Plan, rounds: int) -> tuple[list[float], list[float]]:
    """Hold a call; return the seconds of the groups and of the one alone."""
    tap, transport, entries = Tap(), ConsoleTransport(), list[Entry]()
    tap.subscribe(entries.append)
    group, alone = list[float](), list[float]()
    async with open_call(plan, transport, tap=tap, idle_timeout=60, has_client=False) as call:
        for number in range(rounds + 1):
            for text, times in (("Ask everybody.", group), ("Ask one.", alone)):
                entries.clear()
                call.log.expect_turn()
                await transport.send_turn(text)
                await asyncio.wait_for(call.settled(), ANSWER_WITHIN)
                if number:  # the first round warms up
                    times.append(span(entries))
    return group, alone


def main() -> None:
    """Measure, print, and check if asked to."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--check", action="store_true", help=f"exit 1 above {CEILING}")
    parser.add_argument("--rounds", type=int, default=7)
    options = parser.parse_args()
    logger.remove()
    logger.add(sys.stderr, level="ERROR")

    print("ms, median of the rounds; ratio of the group to one worker")
    print(f"{'workers':>8}{'group':>9}{'alone':>9}{'ratio':>8}")
    worst = 0.0
    for size in SIZES:
        group, alone = map(statistics.median, asyncio.run(measure(planned(size), options.rounds)))
        print(f"{size:>8}{group * 1000:>9.0f}{alone * 1000:>9.0f}{group / alone:>8.3f}", flush=True)
        worst = max(worst, group / alone)
    print(f"highest ratio: {worst:.3f} (ceiling {CEILING})")
    if options.check and worst > CEILING:
        sys.exit(1)


if __name__ == "__main__":
    main()
