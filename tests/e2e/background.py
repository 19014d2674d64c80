"""Sessions in the background, and what their own files and processes tell of them."""

import json
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

from tests.ports import free_port

OFFLINE = ("--services", "offline")

Run = Callable[..., subprocess.CompletedProcess[str]]


def start(run: Run, *words: str) -> dict:
    """Start a session in the background, and return what is printed of it."""
    port = str(free_port())
    started = run("handoff", *OFFLINE, "--port", port, "--detach", "-o", "json", *words)
    assert (started.returncode, started.stderr) == (0, ""), started
    return json.loads(started.stdout)


def until(seen: Callable[[], bool], what: str, *, within: float = 10) -> None:
    deadline = time.monotonic() + within
    while not seen():
        assert time.monotonic() < deadline, what
        time.sleep(0.05)


def is_alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"
