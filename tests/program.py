"""How tests start `pmw`: by the Python that they run in, or within it."""

import os
import signal
import sys

from loguru import logger

from pipecat_workers_cli.cli.app import main

PMW = [sys.executable, "-m", "pipecat_workers_cli"]


def run_here(*words: str) -> int:
    """Run a `pmw` in this process that is over sooner than a Python starts.

    Returns:
        Its exit code. What it did to the process is undone.
    """
    environment = dict(os.environ)
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        main(words)
    except SystemExit as left:
        return int(left.code or 0)
    finally:
        os.environ.clear()
        os.environ.update(environment)
        for number, handler in handlers.items():
            if signal.getsignal(number) is not handler:
                signal.signal(number, handler)
        logger.remove()
    raise AssertionError("pmw leaves its process")
