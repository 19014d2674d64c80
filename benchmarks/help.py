"""How long `pmw --help` and a Tab take beside the same of a two-command Typer app.

    python benchmarks/help.py [--check] [--rounds 15]

The app is written to a temporary file, declares two commands and nothing else, and runs in
the same environment. All of them take turns, so that whatever else the machine does hits
all; `pipecat --help` and `python -c pass` stand beside them. `--check` exits with 1 if the
median of `pmw` is over 1.4 times that of the app.
"""

import argparse
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

CEILING = 1.4  # times the two-command app
TOO_LONG = 60.0  # seconds for one run
TWO_COMMANDS = '''
import typer

app = typer.Typer(rich_markup_mode="rich")


@app.command()
def hello(name: str, loud: bool = False) -> None:
    """Greet somebody."""


@app.command()
def leave(when: str = "now") -> None:
    """Say goodbye."""


if __name__ == "__main__":
    app(prog_name="two")
'''


TABS = {
    "pmw ha": "handoff",
    "pmw run ha": "handoff",
    "pmw handoff --services of": "offline",
    "pmw worker gre": "greeter",
}


@dataclass(frozen=True, slots=True)
class Program:
    """What is run, and how long each run took, in milliseconds."""

    name: str
    words: tuple[str, ...]
    variables: Mapping[str, str] = field(default_factory=dict)
    expected: str = "Usage"
    times: list[float] = field(default_factory=list)

    def run(self) -> None:
        """Run it once and note the time."""
        began = time.perf_counter()
        answer = subprocess.run(
            self.words,
            env={**os.environ, **self.variables},
            capture_output=True,
            text=True,
            timeout=TOO_LONG,
            check=False,
        )
        self.times.append((time.perf_counter() - began) * 1000)
        if answer.returncode or self.expected not in answer.stdout:
            sys.exit(f"{self.name} failed ({answer.returncode}): {answer.stderr[-500:]}")

    @property
    def median(self) -> float:
        """The median of all runs."""
        return statistics.median(self.times)


def bash_asks(program: str, line: str) -> dict[str, str]:
    """Return the variables by which bash asks an app of Typer's for a line's last word."""
    return {
        "COMP_WORDS": line,
        "COMP_CWORD": str(line.count(" ")),
        f"_{program.upper()}_COMPLETE": "complete_bash",
    }


def programs(two: Path) -> dict[str, list[Program]]:
    """Return what is compared: the app first, then pmw, then others for the reader."""
    # The entry point as an installed script calls it; `-m` would import it twice.
    pmw = (sys.executable, "-c", "from pipecat_workers_cli.__main__ import main; main()")
    app = (sys.executable, str(two))
    helps = [
        Program("two-command app --help", (*app, "--help")),
        Program("pmw --help", (*pmw, "--help")),
    ]
    of_commands = [
        Program("two-command app hello --help", (*app, "hello", "--help")),
        Program("pmw handoff --help", (*pmw, "handoff", "--help")),
    ]
    pipecat = shutil.which("pipecat", path=Path(sys.executable).parent)
    if pipecat:
        helps.append(Program("pipecat --help", (pipecat, "--help")))
    tabs = [
        Program("two-command app: two he<Tab>", app, bash_asks("two", "two he"), "hello"),
        Program("python -c pass", (sys.executable, "-c", "pass"), {}, ""),
        *(
            Program(f"{line}<Tab>", (*pmw, line), {"_PMW_COMPLETE": "bash"}, expected)
            for line, expected in TABS.items()
        ),
    ]
    return {
        "help": helps,
        "completion of a word": tabs,
        "help of a command (25 options here, 1 there)": of_commands,
    }


def measure(groups: Mapping[str, list[Program]], rounds: int) -> None:
    """Run all of them in turns."""
    everything = [program for group in groups.values() for program in group]
    for program in everything:  # what is compiled once isn't counted
        program.run()
        program.times.clear()
    for _ in range(rounds):
        for program in everything:
            program.run()


def report(title: str, group: list[Program]) -> list[str]:
    """Print a group beside its first, and return those of ours that are too slow."""
    print(title)
    slow: list[str] = []
    for program in group:
        ratio = program.median / group[0].median
        print(f"  {program.name:<32} {program.median:7.0f} ms  {ratio:6.2f}")
        if ratio > CEILING and program.name.startswith("pmw"):
            slow.append(f"{program.name}: {ratio:.2f}")
    return slow


def main() -> None:
    """Measure, print, and with `--check` judge."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--check", action="store_true")
    parser.add_argument("--rounds", type=int, default=15)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        two = Path(folder) / "two.py"
        two.write_text(TWO_COMMANDS, encoding="utf-8")
        groups = programs(two)
        measure(groups, asked.rounds)
    print(f"median of {asked.rounds} runs, and how often the first one's time that is\n")
    slow = [line for title, group in groups.items() for line in report(title, group)]
    if slow and asked.check:
        sys.exit(f"over {CEILING}: {', '.join(slow)}")


if __name__ == "__main__":
    main()
