"""What a caller in a browser waits for, and what fifty such calls leave behind.

    python benchmarks/browser.py [--turns 20] [--calls 0] [--check]

A session of `pmw handoff --services offline` and Chromium with a microphone that speaks when
told; both ends of the wait are heard in the page itself. Inside the session an observer
notes how far each turn got (`moments.py`):

- vad: the silence that Pipecat's voice activity detection waits for, a setting of it;
- stt: from there to the words; smart turn judges meanwhile whether the caller has finished;
- turn: until the turn is taken to be over, where smart turn was later than the words;
- bus: to the agent and back; llm: the agent's first text; log: our log and whoever it tells;
- tts: the first sentence until its first sound; out: until the transport sends that;
- network: the rest, which is codecs, the jitter buffer and the blocks of the VAD.

`--calls` then holds that many spoken calls one after another and tells what the process holds
at each. `--check` exits with 1 if our own share (bus and log) is over a tenth, or if memory
still grows in the second half of the calls.
"""

import argparse
import asyncio
import json
import os
import shutil
import socket
import statistics
import sys
import tempfile
from pathlib import Path
from typing import Any

import psutil
from playwright.async_api import Browser

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))  # the caller is the tests' own

from tests.conftest import BROWSERS  # noqa: E402
from tests.e2e.browser import (  # noqa: E402
    RATE,
    BrowserCall,
    Recording,
    open_browser,
    open_page,
    stretches,
)
from tests.e2e.conftest import Server  # noqa: E402

QUESTIONS = (
    "How much is the invisible paint?",
    "How much are the rocket boots?",
    "How much is the tornado kit?",
    "How fast are the rocket boots?",
)
PARTS = ("vad", "stt", "turn", "bus", "llm", "log", "tts", "out", "network")
OURS = ("bus", "log")
SHARE = 0.10  # of the whole wait
LEVEL = 0.10  # by which the second half of the calls may be above the end of the first


class Session:
    """A running `pmw`, and the moments that it has written."""

    def __init__(self, folder: Path) -> None:
        self._moments = folder / "moments.jsonl"
        self._moments.touch()
        self._read = 0
        with socket.create_server(("localhost", 0)) as probe:
            port = probe.getsockname()[1]
        env = {
            **{name: value for name, value in os.environ.items() if not name.endswith("_API_KEY")},
            "PIPECAT_SETUP_FILES": str(Path(__file__).with_name("moments.py")),
            "PMW_MOMENTS": str(self._moments),
            "XDG_STATE_HOME": str(folder),
            "PYTHONUNBUFFERED": "1",
        }
        words = ["handoff", "--services", "offline", "-o", "json"]
        self.server = Server(words, port=port, env=env, cwd=folder)
        self.process = psutil.Process(self.server.popen.pid)

    def moments(self) -> list[dict[str, Any]]:
        """Return what was written since the last time."""
        lines = self._moments.read_text(encoding="utf-8").splitlines()
        new, self._read = lines[self._read :], len(lines)
        return [json.loads(line) for line in new]

    def ended(self) -> int:
        """Return how many calls have ended."""
        return sum('"event":"end"' in line for line in list(self.server.out))

    def resident(self) -> float:
        """Return resident memory in MiB."""
        return self.process.memory_info().rss / 2**20


def wait_in(recording: Recording) -> float:
    """Return the seconds from the caller's last sound to the bot's first after it."""
    _, ended = recording.turns()[-1]
    answer = next(first for first, _ in stretches(recording.bot, pause=0.2) if first > ended)
    return (answer - ended) / RATE


def parts_of(waited: float, moments: list[dict[str, Any]]) -> dict[str, float] | None:
    """Divide a turn's wait; None if the moments are not those of one plain turn."""
    turns = [moment for moment in moments if moment["what"] == "turn"]
    llms = [moment for moment in moments if moment["what"] == "llm"]
    if len(turns) != 1 or len(llms) != 1:
        return None
    turn, llm = turns[0], llms[0]["took"]
    heard = min(turn["transcript"], turn["context"])
    parts = {
        "vad": turn["vad"],
        "stt": heard,
        "turn": turn["context"] - heard,
        "bus": turn["text"] - turn["context"] - llm,
        "llm": llm,
        "log": turn["log"],
        "tts": turn["audio"] - turn["text"] - turn["log"],
        "out": turn["speaking"] - turn["audio"],
    }
    return {**parts, "network": waited - sum(parts.values()), "whole": waited}


async def time_turns(call: BrowserCall, session: Session, turns: int) -> list[dict[str, float]]:
    """Ask until that many turns are timed; the first, which is handed over, isn't."""
    await call.connect()
    await call.heard_out()
    await call.ask(QUESTIONS[1])
    timed: list[dict[str, float]] = []
    for number in range(turns * 2):
        if len(timed) == turns:
            break
        session.moments()
        await call.ask(QUESTIONS[number % len(QUESTIONS)])
        parts = parts_of(wait_in(await call.recording()), session.moments())
        if parts is None:
            print(f"turn {number + 1} left out: it wasn't answered in one go", file=sys.stderr)
            continue
        timed.append(parts)
    await call.hang_up()
    return timed


def print_turns(timed: list[dict[str, float]]) -> bool:
    """Print medians and 90th percentiles in ms; say whether our share is small enough."""
    print(f"end of speech to first sound, in the page: ms, n={len(timed)}")
    for part in (*PARTS, "whole"):
        values = [turn[part] * 1000 for turn in timed]
        p90 = statistics.quantiles(values, n=10)[-1]
        mark = "  (ours)" if part in OURS else ""
        print(f"{part:8}{statistics.median(values):9.1f}{p90:9.1f}{mark}")
    shares = [sum(turn[part] for part in OURS) / turn["whole"] for turn in timed]
    share = statistics.median(shares)
    print(f"our own share of the wait: {share:.1%}, at most {max(shares):.1%}")
    return share <= SHARE


async def hold_calls(browser: Browser, session: Session, calls: int) -> list[float]:
    """Hold calls one after another; return resident memory after each."""
    curve: list[float] = []
    print("call  resident MiB  threads  tasks  objects")
    for number in range(1, calls + 1):
        before = session.ended()
        session.moments()
        async with open_page(browser, session.server.url) as call:
            await call.connect()
            await call.say(QUESTIONS[number % 3])  # into the greeting
            await call.said("$")
            await call.silent()
            await call.hang_up()
        async with asyncio.timeout(20):
            while session.ended() == before:  # noqa: ASYNC110
                await asyncio.sleep(0.05)
        curve.append(session.resident())
        held = next(moment for moment in session.moments() if moment["what"] == "call")
        print(
            f"{number:4}{curve[-1]:14.0f}{session.process.num_threads():9}"
            f"{held['tasks']:7}{held['objects']:9}",
            flush=True,
        )
    return curve


def levelled(curve: list[float]) -> bool:
    """Say whether memory in the second half stayed about where the first half had left it."""
    half = len(curve) // 2
    grown = max(curve[half:]) - curve[half - 1]
    print(f"second half: {grown:+.0f} MiB, {grown / (len(curve) - half):.1f} a call")
    return grown <= LEVEL * curve[half - 1]


async def measure(turns: int, calls: int) -> bool:
    """Run both parts against one session."""
    good = True
    chromium = next(filter(None, map(shutil.which, BROWSERS)), None)
    if chromium is None:
        sys.exit("no Chromium here: apt-get install chromium")
    with tempfile.TemporaryDirectory() as folder:
        session = Session(Path(folder))
        try:
            async with open_browser(chromium) as browser:
                if turns:
                    async with open_page(browser, session.server.url) as call:
                        good = print_turns(await time_turns(call, session, turns))
                if calls:
                    good = levelled(await hold_calls(browser, session, calls)) and good
        finally:
            session.server.stop()
    return good


def main() -> None:
    """Measure, print, and check if asked to."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--turns", type=int, default=20, help="timed in one call")
    parser.add_argument("--calls", type=int, default=0, help="one after another")
    parser.add_argument("--check", action="store_true", help="exit 1 over a target")
    options = parser.parse_args()
    good = asyncio.run(measure(options.turns, options.calls))
    if options.check and not good:
        sys.exit(1)


if __name__ == "__main__":
    main()
