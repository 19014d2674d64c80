"""Programs for `python -m` that a child may be: `python -m tests.fleet.programs NAME …`."""

import os
import signal
import sys
import time

from pipecat_workers_cli.fleet.engine import main as engine
from pipecat_workers_cli.fleet.lifeline import follow_lifeline


def wait() -> None:
    print("waiting", flush=True)
    time.sleep(60)


def stubborn() -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    wait()


def follow() -> None:
    """Hold no end of a lifeline but the one that was given."""
    follow_lifeline()
    wait()


def redis(folder: str, port: str) -> None:
    """Be a Valkey that has something to say before it serves."""
    print("redis: could not open a thing that is none of ours", flush=True)
    sys.exit(engine("redis", folder, port))


def end(code: str) -> None:
    print("ending", flush=True)
    sys.exit(int(code))


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def write(length: str) -> None:
    sys.stdout.write("a\nb" + "x" * int(length) + "\nlast")


globals()[sys.argv[1]](*sys.argv[2:])
