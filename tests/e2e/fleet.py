"""A call's processes on a shared engine: hosts, and main sessions driven turn by turn."""

import json
import os
import signal
import subprocess
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any
from uuid import uuid4

import msgspec

from pipecat_workers_cli.buses.urls import SharedBus
from pipecat_workers_cli.fleet.host import HostRow
from tests.e2e.conftest import Process

OFFLINE = ("--services", "offline")
Entry = dict[str, Any]


class Talk(Process):
    """A main session whose caller speaks when told; its entries as they come."""

    def __init__(self, words: list[str], **options: Any) -> None:
        self._read_to = 0
        super().__init__(words, stdin=subprocess.PIPE, **options)

    @property
    def entries(self) -> list[Entry]:
        return [json.loads(line) for line in list(self.out)]

    def say(self, text: str) -> float:
        """Say a turn; what was told until now is no answer to it. Returns the time."""
        self._read_to = len(self.out)
        self.popen.stdin.write(text + "\n")
        self.popen.stdin.flush()
        return time.monotonic()

    def since_turn(self) -> list[Entry]:
        """What was told since the latest turn."""
        return self.entries[self._read_to :]

    def told(self, event: str, *, within: float = 20, **fields: object) -> Entry:
        """Wait for an entry, one that came since the latest turn."""
        found: list[Entry] = []

        def seen() -> bool:
            found[:] = [
                entry
                for entry in self.since_turn()
                if entry["event"] == event and fields.items() <= entry.items()
            ]
            return bool(found)

        self.wait_for(seen, timeout=within)
        return found[0]

    def ask(self, text: str, *, within: float = 20) -> Entry:
        """Say a turn and return the first answer to it."""
        self.say(text)
        return self.told("bot", within=within)

    def hang_up(self, *, timeout: float = 10) -> int:
        """Say nothing more; return the exit code."""
        self.popen.stdin.close()
        return self.popen.wait(timeout)


class Fleet:
    """Starts the processes of calls on one channel; all that still run at the end are killed.

    Attributes:
        server: The engine, one of `tests/buses/servers.py`.
        channel: Where they meet.
        bus: Both of them.
        hosts: Worker hosts, in the order in which they were started.
        env: What names the bus and the channel to a process.
    """

    def __init__(
        self, server: Any, *, env: dict[str, str], cwd: Path, inside: Sequence[str] = ()
    ) -> None:
        """Prepare; with `inside`, the words of a command that runs each process."""
        self.server = server
        self.channel = f"test_{uuid4().hex[:8]}"
        self.bus = SharedBus(server.url, self.channel)
        self.hosts: list[Process] = []
        self._cwd = cwd
        self.env = {**env, "PMW_BUS": server.url, "PMW_CHANNEL": self.channel}
        self._inside = inside
        self._running: list[Process] = []

    def host(self, *words: str, recipe: str = "handoff") -> Process:
        """Start a worker host with names and options; `hosting` waits until it serves."""
        host = self._start(Process, "worker", *words, "--recipe", recipe, *OFFLINE)
        self.hosts.append(host)
        return host

    def hosting(self, *workers: str, recipe: str = "handoff") -> list[Process]:
        """Start a host for each worker, and wait until all serve."""
        hosts = [self.host(worker, recipe=recipe) for worker in workers]
        for host in hosts:
            host.wait_for_line("Ctrl-C", timeout=60)
        return hosts

    def talk(self, *words: str, recipe: str = "handoff") -> Talk:
        """Start a main session with a call in words, driven by `Talk.say`."""
        words = ("run", recipe, *OFFLINE, "-t", "console", "-o", "json", *words)
        return self._start(Talk, *words)

    def run(self, *words: str) -> Process:
        """Start any other `pmw`."""
        return self._start(Process, *words)

    def _start(self, kind: type, *words: str) -> Any:
        process = kind(list(words), env=self.env, cwd=self._cwd, inside=self._inside)
        self._running.append(process)
        return process

    async def rows(self) -> list[HostRow]:
        """What the hosts say of themselves now."""
        async with self.server.open_network(self.channel) as network:
            present = await network.present("host")
        return [msgspec.json.decode(one.body, type=HostRow) for one in present]

    def kill_all(self) -> None:
        for process in self._running:
            if process.popen.poll() is None:
                process.popen.send_signal(signal.SIGCONT)  # one may have been frozen
            process.popen.kill()
            process.popen.wait(5)


def pid_of(row: HostRow) -> int:
    """The process of a host, by what it says of itself."""
    return int(row.host.rpartition("-")[2])


def resident(pid: int) -> int:
    """How many bytes of memory a process has."""
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def until(happened: Callable[[], object], what: str, *, within: float) -> None:
    """Look again until something holds that no process prints."""
    deadline = time.monotonic() + within
    while not happened():
        assert time.monotonic() < deadline, f"not within {within} s: {what}"
        time.sleep(0.05)
