"""A process that lives no longer than the one that started it, however that one ends.

The one that starts others holds one end of a pipe open and writes nothing to it. Nobody can
keep the kernel from closing it: not `kill -9` either.
"""

import os
import signal
import threading
import time
from collections.abc import Generator
from contextlib import contextmanager

LIFELINE = "PMW_LIFELINE_FD"
"""Names the other end in the environment of those that were started."""

END_WITHIN = 8.0  # seconds from SIGTERM; longer than a session or a host without a bus takes


@contextmanager
def open_lifeline() -> Generator[int]:
    """Hold a lifeline while the block lasts.

    Returns:
        The end that is handed to processes, by `pass_fds` and by `LIFELINE`.
    """
    end, held = os.pipe()
    try:
        yield end
    finally:
        os.close(held)
        os.close(end)


def follow_lifeline() -> None:
    """End this process as SIGTERM does once nobody holds its lifeline, if it has one."""
    number = os.environ.pop(LIFELINE, None)
    if number is not None:
        end = int(number)
        os.set_inheritable(end, False)
        threading.Thread(target=_follow, args=(end,), name="lifeline", daemon=True).start()


def _follow(end: int) -> None:
    os.read(end, 1)
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(END_WITHIN)
    os._exit(1)
