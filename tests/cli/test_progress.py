"""What is shown while somebody waits, on a real terminal."""

import os
import sys

import pytest

from pipecat_workers_cli.cli.progress import ERASE_LINE
from tests.program import PMW, run_here
from tests.terminal import Terminal

PROGRAM = """
import sys
from pipecat_workers_cli.cli.progress import Progress
from pipecat_workers_cli.cli.terminal import Terminal
with Progress(Terminal(quiet="-q" in sys.argv), lambda: "counting: 7 of 9") as progress:
    input()
    progress.clear()
    print("seven")
    input()
print("done")
"""


def test_a_line_says_what_and_how_far_and_is_gone_afterwards():
    terminal = Terminal([sys.executable, "-c", PROGRAM], env=dict(os.environ))
    line = f"\r{ERASE_LINE}… counting: 7 of 9".encode()
    terminal.wait_for(line)
    terminal.type(b"\n")
    terminal.wait_for(b"seven")
    terminal.wait_for(line)  # it is drawn once more
    terminal.type(b"\n")
    terminal.wait_for(f"\r{ERASE_LINE}\rdone".encode())
    assert terminal.leave() == 0


def test_with_quiet_nothing_is_drawn():
    terminal = Terminal([sys.executable, "-c", PROGRAM, "-q"], env=dict(os.environ))
    for _ in range(2):
        terminal.type(b"\n")
    terminal.wait_for(b"done")
    assert terminal.leave() == 0
    assert ERASE_LINE.encode() not in terminal.seen


@pytest.mark.parametrize("words", [("recipe", "check", "code"), ("doctor", "eval")])
def test_off_a_terminal_nothing_is_drawn(words, tmp_path, monkeypatch, capfd):
    monkeypatch.chdir(tmp_path)
    assert run_here(*words) == 0
    assert capfd.readouterr().err == ""


def test_a_command_that_takes_long_says_so_on_a_terminal(tmp_path):
    command = [*PMW, "recipe", "check", "code", "sensor"]
    terminal = Terminal(command, env=dict(os.environ), cwd=tmp_path)
    terminal.wait_for("… checking code (1 of 2)".encode())
    terminal.wait_for(b"sensor: ok")
    assert terminal.leave() == 0
