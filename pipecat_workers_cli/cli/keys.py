"""Keys pressed while something is drawn: read by the event loop, without a thread."""

import asyncio
import os
import re
import sys
import termios
import tty
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress

LEAVE_SCREEN = b"\x1b[?1049l\x1b[?25h\x1b[0m"  # the other screen off, cursor on, plain text
SEVERAL = re.compile(r"\x1b(\[[0-?]*[ -/]*[@-~]|O.|.)?")  # what an arrow or Alt and a key send

_given_back: list[Callable[[], None]] = []
"""What gives the terminal back, the latest change last: a process has one terminal."""


def restore_terminal() -> None:
    """Give the terminal back at once; for a way out that runs no `finally`.

    Doing it when nothing was changed, or twice, does no harm.
    """
    while _given_back:
        _given_back.pop()()


@contextmanager
def lent_screen(fd: int) -> Generator[None]:
    """Have `restore_terminal` leave the alternate screen on `fd` while the block lasts."""

    def leave() -> None:
        with suppress(OSError):  # among them a terminal that takes nothing more
            if os.isatty(fd):
                os.set_blocking(fd, False)
                os.write(fd, LEAVE_SCREEN)

    _given_back.append(leave)
    try:
        yield
    finally:
        if leave in _given_back:
            _given_back.remove(leave)


@contextmanager
def open_keys(press: Callable[[str], None]) -> Generator[None]:
    """Have `press` told each key typed at the terminal while the block lasts.

    Keys come one by one and aren't echoed; Ctrl-C stays a signal, and Ctrl-S no longer
    stops the output, which would stop the calls with it. Leaving puts the terminal back
    as it was. Without a terminal of our own to read from, nothing is changed.

    Args:
        press: Told one character at a time; arrows and other keys that send several are
            left out.
    """
    fd = terminal_fd()
    if fd is None:
        yield
        return
    before = termios.tcgetattr(fd)

    def give_back() -> None:
        termios.tcsetattr(fd, termios.TCSANOW, before)

    loop = asyncio.get_running_loop()

    def read() -> None:
        typed = os.read(fd, 256)
        if not typed:  # the terminal is gone
            loop.remove_reader(fd)
        for key in SEVERAL.sub("", typed.decode(errors="ignore")):
            press(key)

    _given_back.append(give_back)
    try:
        tty.setcbreak(fd, termios.TCSANOW)
        mode = termios.tcgetattr(fd)
        mode[tty.IFLAG] &= ~termios.IXON
        termios.tcsetattr(fd, termios.TCSANOW, mode)
        loop.add_reader(fd, read)
        yield
    finally:
        loop.remove_reader(fd)
        if give_back in _given_back:
            _given_back.remove(give_back)
            give_back()


def terminal_fd() -> int | None:
    """Return stdin's descriptor if it is a terminal and this process is in front of it.

    A process in the background that changes the terminal is stopped by it.
    """
    try:
        fd = sys.stdin.fileno()
        in_front = os.isatty(fd) and os.tcgetpgrp(fd) == os.getpgrp()
    except (AttributeError, OSError, ValueError):  # no stdin, closed, or not a file
        return None
    return fd if in_front else None
