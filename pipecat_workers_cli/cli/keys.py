"""Keys pressed while something is drawn: read by the event loop, without a thread."""

import asyncio
import codecs
import os
import re
import sys
import termios
import time
import tty
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress

LEAVE_WITHIN = 0.2  # seconds that a slow terminal may take for it
LEAVE_SCREEN = b"\x1b[?1049l\x1b[?25h\x1b[0m"  # the other screen off, cursor on, plain text
SEVERAL = re.compile(
    r"\x1b(\[[0-?]*[ -/]*[@-~]|O.|[^\[O\x1b])"
)  # what arrows, or Alt and a key, send
UNFINISHED = re.compile(r"\x1b(\[[0-?]*[ -/]*|O)?$")  # the beginning of it, or Esc alone
REST_WITHIN = 0.05  # seconds; a slow line cuts a sequence in two, and Esc is a key of its own
NAMES = {
    "\x1b": "escape",
    "\r": "enter",
    "\n": "enter",
    "\x7f": "backspace",
    "\x08": "backspace",
    "\x15": "clear",
    "\x1b[A": "up",
    "\x1b[B": "down",
    "\x1bOA": "up",
    "\x1bOB": "down",
    "\x1b[5~": "page up",
    "\x1b[6~": "page down",
    "\x1b[H": "home",
    "\x1b[F": "end",
    "\x1bOH": "home",
    "\x1bOF": "end",
    "\x1b[1~": "home",
    "\x1b[4~": "end",
}
"""What a terminal sends, and what the key is called; other keys are the sign they type."""

_given_back: list[Callable[[], None]] = []
"""What gives the terminal back, the latest change last: a process has one terminal."""


def restore_terminal() -> None:
    """Give the terminal back at once; for a way out that runs no `finally`.

    Doing it when nothing was changed, or twice, does no harm.
    """
    while _given_back:
        _given_back.pop()()


def _write_within(fd: int, data: bytes, seconds: float) -> None:
    """Write as soon as a drawing that is being written lets us, or not at all."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            os.write(fd, data)
            return
        except BlockingIOError:
            if time.monotonic() >= deadline:
                return
            time.sleep(0.005)


@contextmanager
def lent_screen(fd: int) -> Generator[None]:
    """Have `restore_terminal` leave the alternate screen on `fd` while the block lasts."""

    def leave() -> None:
        with suppress(OSError):  # among them a terminal that takes nothing more
            if os.isatty(fd):
                os.set_blocking(fd, False)
                _write_within(fd, LEAVE_SCREEN, LEAVE_WITHIN)

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
        press: Told one key at a time: the sign that it types, or its name in `NAMES`. Keys
            that are neither are left out.
    """
    fd = terminal_fd()
    if fd is None:
        yield
        return
    before = termios.tcgetattr(fd)

    def give_back() -> None:
        termios.tcsetattr(fd, termios.TCSANOW, before)

    loop = asyncio.get_running_loop()
    keyboard = Keyboard(press)

    def read() -> None:
        typed = os.read(fd, 256)
        if not typed:  # the terminal is gone
            loop.remove_reader(fd)
        keyboard.take(typed)

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
        keyboard.close()
        if give_back in _given_back:
            _given_back.remove(give_back)
            give_back()


class Keyboard:
    """Makes keys of the bytes that a terminal sends, however they are cut."""

    def __init__(self, press: Callable[[str], None]) -> None:
        """Begin with nothing typed.

        Args:
            press: Told each key.
        """
        self._press = press
        self._decode = codecs.getincrementaldecoder("utf-8")("ignore").decode
        self._rest = ""
        self._timer: asyncio.TimerHandle | None = None

    def take(self, typed: bytes) -> None:
        """Take what was read; the beginning of a sequence waits for its end a moment."""
        self.close()
        text = self._rest + self._decode(typed)
        unfinished = UNFINISHED.search(text)
        self._rest = unfinished[0] if unfinished else ""
        self._tell(text[: len(text) - len(self._rest)])
        if self._rest:
            self._timer = asyncio.get_running_loop().call_later(REST_WITHIN, self._give_up)

    def close(self) -> None:
        """Wait for nothing more."""
        if self._timer is not None:
            self._timer.cancel()

    def _give_up(self) -> None:
        rest, self._rest = self._rest, ""
        if rest == "\x1b":
            self._press(NAMES[rest])

    def _tell(self, text: str) -> None:
        place = 0
        while place < len(text):
            sequence = SEVERAL.match(text, place)
            key = sequence[0] if sequence else text[place]
            place += len(key)
            if key in NAMES or (len(key) == 1 and key.isprintable()):
                self._press(NAMES.get(key, key))


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
