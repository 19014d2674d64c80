import os
import select
import signal
import subprocess
import sys
import termios
import time
from pathlib import Path

import pytest

from pipecat_workers_cli.cli.table import quick_hand_over
from tests.terminal import Terminal

PROGRAM = Path(__file__).parent / "table_program.py"


@pytest.fixture
def start():
    started: list[Terminal] = []

    def begin(*args):
        program = [sys.executable, str(PROGRAM), *args]
        started.append(Terminal(program, env=dict(os.environ), stdout=subprocess.PIPE))
        return started[-1]

    yield begin
    for terminal in started:
        terminal.close()


def test_q_ends_the_table_and_gives_the_terminal_back(start):
    terminal = start()
    terminal.wait_for(b"activation")
    assert b"\x1b[?1049h" in terminal.seen
    assert not termios.tcgetattr(terminal.slave)[3] & termios.ICANON
    terminal.type(b"?")
    terminal.wait_for(b"open the page in a browser")
    terminal.type(b"\x1b[A?")  # an arrow's sequence is no key
    terminal.wait_for(b"traffic")
    terminal.type(b"/kind:job.request worker:critic\r")
    terminal.wait_for(b"main -> critic job.request")
    terminal.type(b"\x1b[A\r")
    terminal.wait_for(b'"type": "BusJobRequestMessage"')
    terminal.type(b"qq")
    assert terminal.end() == 0
    terminal.close()
    assert terminal.out == b""


@pytest.mark.parametrize("way", ["ctrl-c", "failure", "hard"])
def test_however_it_ends_the_terminal_is_given_back(start, way):
    terminal = start(way)
    terminal.wait_for(b"activation")
    if way == "ctrl-c":
        terminal.type(b"\x03")
        assert terminal.end() in (130, -signal.SIGINT)
    else:
        terminal.process.send_signal(signal.SIGUSR1)
        assert terminal.end() == {"failure": 1, "hard": 130}[way]


def test_it_is_drawn_at_most_ten_times_a_second_whatever_the_traffic(start):
    terminal = start("busy")
    terminal.wait_for(b"activation")
    terminal.seen = b""
    began = time.monotonic()
    while time.monotonic() - began < 2.0:
        if select.select([terminal.master], [], [], 0.05)[0]:
            terminal.seen += os.read(terminal.master, 65_536)
    drawings = terminal.seen.count(b"\x1b[H")
    assert 2 <= drawings <= 21
    terminal.type(b"q")
    assert terminal.end() == 0


def test_while_the_table_is_drawn_threads_hand_over_soon_and_after_it_as_before():
    before = sys.getswitchinterval()
    with quick_hand_over():
        assert sys.getswitchinterval() < before / 2
    assert sys.getswitchinterval() == before
