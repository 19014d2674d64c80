"""Programs on a terminal of their own."""

import os
import pty
import select
import subprocess
import termios
import time
from pathlib import Path


class Terminal:
    """A program on a pseudo-terminal of 80 by 24, unless `stdout` leads elsewhere."""

    def __init__(
        self,
        command: list[str],
        *,
        env: dict[str, str],
        cwd: Path | None = None,
        stdout: int | None = None,
    ) -> None:
        self.master, self.slave = pty.openpty()
        termios.tcsetwinsize(self.slave, (24, 80))
        self.before = termios.tcgetattr(self.slave)
        self.seen = b""
        self.closed = False
        self.process = subprocess.Popen(
            ["setsid", "--ctty", *command],  # so that Ctrl-C comes from it
            stdin=self.slave,
            stderr=self.slave,
            stdout=self.slave if stdout is None else stdout,
            env={**env, "TERM": "xterm-256color"},
            cwd=cwd,
        )

    def wait_for(self, text: bytes, *, within: float = 30.0) -> None:
        """Wait until a text has been shown since the last key."""
        deadline = time.monotonic() + within
        while text not in self.seen:
            left = deadline - time.monotonic()
            assert left > 0, f"{text!r} not in {self.seen[-3000:]!r}"
            if select.select([self.master], [], [], left)[0]:
                self.seen += os.read(self.master, 65_536)

    def type(self, keys: bytes) -> None:
        """Press keys, and forget what was shown before."""
        self.seen = b""
        os.write(self.master, keys)

    def end(self) -> int:
        """Wait for a program that took the screen; as `leave`, when it has given it back."""
        code = self.leave()
        assert b"\x1b[?1049l" in self.seen
        assert b"\x1b[?25h" in self.seen
        return code

    def leave(self) -> int:
        """Wait for the program; return its exit code, when its terminal is as it was."""
        deadline = time.monotonic() + 20
        while self.process.poll() is None:
            assert time.monotonic() < deadline, self.seen[-3000:]
            if select.select([self.master], [], [], 0.02)[0]:
                self.seen += os.read(self.master, 65_536)
        while select.select([self.master], [], [], 0)[0]:
            self.seen += os.read(self.master, 65_536)
        assert termios.tcgetattr(self.slave) == self.before
        return self.process.returncode

    def close(self) -> None:
        if self.closed:
            return
        self.closed = True
        if self.process.poll() is None:
            self.process.kill()
        self.out, _ = self.process.communicate()
        os.close(self.master)
        os.close(self.slave)
