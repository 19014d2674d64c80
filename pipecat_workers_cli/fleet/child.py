"""A process of ours that this one starts, listens to, starts again when it dies, and ends."""

import asyncio
import os
import signal
import sys
from asyncio.subprocess import DEVNULL, PIPE, STDOUT, Process
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field

from pipecat_workers_cli.errors import PmwError

READ = 65_536  # bytes at once, and the longest line that is handed on whole
OUTPUT_WITHIN = 1.0  # seconds for what is left of a dead child's output
STEADY = 30.0  # seconds; whoever lived longer begins anew in being counted
DEATHS = 5  # in a row, until it is given up
FIRST_PAUSE, LONGEST_PAUSE = 0.5, 8.0  # seconds until it is started again; doubled in between
EXIT_TWICE_WRONG = 2


@dataclass(frozen=True, slots=True)
class Program:
    """What a child runs, and how it is tied to this process.

    Attributes:
        name: What it is called.
        words: After `python -m`.
        env: Its environment.
        pass_fds: Open files that it gets.
        own_stdout: Whether it writes to this process's stdout.
        foreground: Whether it has the terminal: keys, Ctrl-C, stderr.
        once: Tells of an exit code whether it has ended by itself, and for good.
    """

    name: str
    words: Sequence[str]
    env: Mapping[str, str]
    pass_fds: Sequence[int] = ()
    own_stdout: bool = False
    foreground: bool = False
    once: Callable[[int], bool] = field(default=lambda _code: False)


@dataclass(frozen=True, slots=True)
class Listener:
    """Who is told of children.

    Attributes:
        line: Given a child's name and a line that it wrote.
        note: Given what happened to one.
    """

    line: Callable[[str, str], None]
    note: Callable[[str], None]


class Child:
    """One process, and those that follow it.

    Attributes:
        pid: Of the one that runs now; 0 before the first.
        settled: Whether it once was ready: before, its first death is its last.
    """

    def __init__(self, program: Program, listener: Listener) -> None:
        """Prepare; nothing runs yet.

        Args:
            program: What to run.
            listener: Is told what it says, and how it fares.
        """
        self.pid = 0
        self.settled = False
        self._program = program
        self._listener = listener
        self._process: Process | None = None
        self._ending = False

    async def keep(self) -> int:
        """Run it again and again until it has ended for good.

        Returns:
            Its exit code.

        Raises:
            PmwError: It died before it was ready, or too often.
        """
        loop = asyncio.get_running_loop()
        deaths = 0
        while True:
            began = loop.time()
            code = await self._run()
            if self._ending or self._program.once(code):
                return code
            deaths = 1 if loop.time() - began > STEADY else deaths + 1
            if not self.settled or deaths > DEATHS:
                raise self._gone(code, deaths)
            pause = min(FIRST_PAUSE * 2 ** (deaths - 1), LONGEST_PAUSE)
            told = f"{self._program.name} {how_ended(code)}; it is started again in {pause:g} s"
            self._listener.note(told)
            await asyncio.sleep(pause)
            if self._ending:
                return code

    def _gone(self, code: int, deaths: int) -> PmwError:
        often = f", {deaths} times in a row" if deaths > 1 else ""
        what = f"{self._program.name} {how_ended(code)}{often}"
        error = PmwError(what, mend="see above what it said, or see more with -v")
        if code == EXIT_TWICE_WRONG:
            error.exit_code = code
        return error

    async def _run(self) -> int:
        program = self._program
        self._process = process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            *program.words,
            stdin=None if program.foreground else DEVNULL,
            stdout=None if program.own_stdout else PIPE,
            stderr=None if program.foreground else PIPE if program.own_stdout else STDOUT,
            env=program.env,
            pass_fds=program.pass_fds,
            start_new_session=not program.foreground,  # a terminal's Ctrl-C is ours to pass on
        )
        self.pid = process.pid
        output = process.stderr if program.own_stdout else process.stdout
        reading = asyncio.create_task(self._read(output), name=f"output of {program.name}")
        try:
            code = await process.wait()
            await asyncio.wait({reading}, timeout=OUTPUT_WITHIN)
            return code
        finally:
            reading.cancel()

    async def _read(self, output: asyncio.StreamReader | None) -> None:
        left = b""
        while output is not None and (read := await output.read(READ)):
            *lines, left = (left + read).split(b"\n")
            if len(left) > READ:
                lines, left = [*lines, left], b""
            for line in lines:
                self._listener.line(self._program.name, line.decode(errors="replace"))
        if left:
            self._listener.line(self._program.name, left.decode(errors="replace"))

    def retire(self) -> None:
        """Start it no more."""
        self._ending = True

    async def end(self, *, within: float, patience: float = 0.0, kill: bool = True) -> None:
        """End the process as SIGTERM does, and see that it is gone.

        Args:
            within: Seconds from SIGTERM until it is killed.
            patience: Seconds before that, for one which is ending by itself.
            kill: Whether it may be killed; if not, it is left to its lifeline.
        """
        self.retire()
        process = self._process
        if process is None or await _is_over(process, patience):
            return
        self._signal(signal.SIGTERM)
        if not await _is_over(process, within) and kill:
            self._signal(signal.SIGKILL)
            await process.wait()

    def kill(self) -> None:
        """Kill the process."""
        self.retire()
        self._signal(signal.SIGKILL)

    def _signal(self, number: signal.Signals) -> None:
        if self._process is not None and self._process.returncode is None:
            with suppress(ProcessLookupError):
                os.kill(self._process.pid, number)


async def _is_over(process: Process, within: float) -> bool:
    try:
        await asyncio.wait_for(process.wait(), within)
    except TimeoutError:
        return False
    return True


def how_ended(code: int) -> str:
    """Say how a process ended, in words that follow its name.

    Args:
        code: Its exit code; a negative one is the signal that killed it.
    """
    if code < 0:
        with suppress(ValueError):
            return f"was killed by {signal.Signals(-code).name}"
    return f"ended with exit code {code}"
