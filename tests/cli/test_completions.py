"""Completions: the shipped scripts, what is offered, and real shells with a real Tab."""

import os
import pty
import re
import select
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from pipecat_workers_cli.cli import complete
from pipecat_workers_cli.cli.completions import FILES, Shell, generate_script
from pipecat_workers_cli.services.providers import PROVIDERS, Role
from pipecat_workers_cli.transports.params import TRANSPORTS

CHECKOUT = Path(__file__).parents[2]
PROGRAMS = Path(sys.executable).parent  # pmw lies beside the Python that has it
PATIENCE = 20.0  # seconds; a Tab takes a tenth of one on a machine with nothing else to do
INIT = {
    Shell.BASH: ("bash", "--norc", "--noprofile", "-i"),
    Shell.ZSH: ("zsh", "-f", "-i"),
    Shell.FISH: ("fish", "--no-config", "-i"),
}
CONTROL = re.compile(r"\x1b(?:\[[0-9;?>=]*[a-zA-Z]|[()].|[=>]|\][^\x07\x1b]*(?:\x07|\x1b\\))")


def run(home: Path, *words: str, **variables: str) -> subprocess.CompletedProcess[str]:
    environment = {"HOME": str(home), "PATH": f"{PROGRAMS}:/usr/bin:/bin", **variables}
    return subprocess.run(
        words, env=environment, capture_output=True, text=True, timeout=60, check=False
    )


def offered(home: Path, line: str) -> list[str]:
    """Return what bash would be offered for the last word of a line."""
    words = line.split(" ")
    answer = run(
        home,
        "pmw",
        COMP_WORDS=line,
        COMP_CWORD=str(len(words) - 1),
        _PMW_COMPLETE="complete_bash",
    )
    assert (answer.returncode, answer.stderr) == (0, "")
    return answer.stdout.split()


class Screen:
    """A shell behind a terminal of its own."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._seen = ""

    def type(self, text: str) -> None:
        os.write(self._descriptor, text.encode())

    def wait_for(self, text: str) -> None:
        """Read until a text has been written, then forget all up to it."""
        deadline = time.monotonic() + PATIENCE
        while text not in CONTROL.sub("", self._seen):
            left = deadline - time.monotonic()
            if left <= 0 or not select.select([self._descriptor], [], [], left)[0]:
                pytest.fail(f"{text!r} did not come; there is {CONTROL.sub('', self._seen)!r}")
            self._seen += os.read(self._descriptor, 4096).decode(errors="replace")
        self._seen = CONTROL.sub("", self._seen).split(text, 1)[1]


@contextmanager
def open_shell(shell: Shell, home: Path, *, rc: bool = False) -> Iterator[Screen]:
    """Run a shell until the block ends; with `rc`, it reads its user's files."""
    program, *flags = INIT[shell]
    pid, descriptor = pty.fork()
    if pid == 0:
        os.environ.clear()
        os.environ |= {
            "HOME": str(home),
            "PATH": f"{PROGRAMS}:/usr/bin:/bin",
            "TERM": "xterm",
            "PS1": "ready> ",
            "LC_ALL": "C.UTF-8",
        }
        os.execvp(program, [program, "-i"] if rc else [program, *flags])
    try:
        yield Screen(descriptor)
    finally:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        os.close(descriptor)


@pytest.fixture(params=list(Shell))
def shell(request: pytest.FixtureRequest) -> Shell:
    """Each shell that is installed here."""
    if shutil.which(request.param) is None:
        pytest.skip(f"{request.param} isn't installed: apt-get install {request.param}")
    return request.param
