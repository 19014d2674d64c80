"""A shop whose workers are in hosts of their own, and callers in this process.

The main workers run here, as in any main process: so a test sees each call's conversation,
and a host is a process that it may kill, freeze and stop.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from shutil import copy
from typing import Any

from pipecat_workers_cli.call.distribution import open_distribution
from pipecat_workers_cli.traffic.entry import Entry
from pipecat_workers_cli.traffic.tap import Tap
from tests.call.conftest import WordsCall, open_words_call
from tests.e2e.conftest import Process
from tests.e2e.fleet import Fleet, pid_of

FILES = Path(__file__).parent / "shop"
RECIPE = "shop.toml"


class Shop(Fleet):
    """A fleet that hosts `shop/shop.toml`."""

    def __init__(self, server: Any, *, env: dict[str, str], cwd: Path) -> None:
        self.folder = cwd
        self._ledger, self._crowds = cwd / "ledger", cwd / "crowds"
        self._ledger.mkdir()
        self._crowds.mkdir()
        for file in FILES.iterdir():
            if file.is_file():
                copy(file, cwd)
        told = {"SHOP_LEDGER": str(self._ledger), "SHOP_CROWDS": str(self._crowds)}
        super().__init__(server, env={**env, **told}, cwd=cwd)

    @property
    def ledger(self) -> list[str]:
        """What tools and jobs with a side effect have done, in no order."""
        return [page.read_text() for page in self._ledger.iterdir()]

    @property
    def crowds(self) -> list[int]:
        """How many clerks were at work at once, in each host, by the clerks' own count."""
        return [int(page.read_text()) for page in self._crowds.iterdir()]

    def open(self, *words: str) -> Process:
        """Start a host with names and options of `pmw worker`, and wait until it serves."""
        host = self.host(*words, recipe=f"./{RECIPE}")
        host.wait_for_line("Ctrl-C", timeout=60)
        return host

    async def opened(self, *words: str) -> Process:
        """The same, while calls in this process go on."""
        return await asyncio.to_thread(self.open, *words)

    @asynccontextmanager
    async def callers(self, count: int, **more: Any) -> AsyncIterator[list["Caller"]]:
        """Hold calls in this process while the block lasts; none waits to be welcomed."""
        async with open_distribution(self.bus, Tap()) as distribution, AsyncExitStack() as calls:
            recipe = str(self.folder / RECIPE)
            yield [
                Caller(
                    await calls.enter_async_context(
                        open_words_call(recipe, distribution=distribution, **more)
                    )
                )
                for _ in range(count)
            ]

    async def calls_at(self, worker: str) -> dict[int, int]:
        """For how many calls each host says it runs a worker, by the hosts' processes."""
        return {pid_of(row): row.calls for row in await self.rows() if row.worker == worker}

    async def held(self, worker: str, calls: dict[Process, int], *, within: float) -> None:
        """Wait until hosts say that they run a worker for so many calls, and no other host does."""
        expected = {host.popen.pid: number for host, number in calls.items()}
        async with asyncio.timeout(within):
            while await self.calls_at(worker) != expected:  # noqa: ASYNC110  # told by an engine
                await asyncio.sleep(0.1)

    async def told(self, state: str, *, within: float) -> None:
        """Wait until every host says that it is in a state, such as `draining`."""
        async with asyncio.timeout(within):
            while {row.state for row in await self.rows()} != {state}:  # noqa: ASYNC110  # as above
                await asyncio.sleep(0.1)


class Caller:
    """A caller in this process, who says turns without waiting."""

    def __init__(self, call: WordsCall) -> None:
        self.call = call
        self.began = 0.0
        self._from = 0

    async def say(self, text: str) -> None:
        self.began, self._from = time.monotonic(), len(self.call.entries)
        await self.call.transport.send_turn(text)

    def heard(self, text: str) -> list[Entry]:
        """What was said in these words since the latest turn."""
        said = self.call.entries[self._from :]
        return [entry for entry in said if entry.event == "bot" and entry.text == text]

    async def hears(self, text: str, *, within: float) -> float:
        """Wait for an answer; return the seconds that it took from now."""
        began = time.monotonic()
        await until(lambda: self.heard(text), self.call.entries, within=within)
        return time.monotonic() - began

    async def asks(self, text: str, answer: str, *, within: float = 5) -> None:
        await self.say(text)
        await self.hears(answer, within=within)

    def kept(self, text: str) -> int:
        """How often the conversation has words, as an answer or within one."""
        return sum(text in str(message.get("content")) for message in self.call.context())


async def until(seen: Callable[[], object], shown: object, *, within: float) -> None:
    """Look again until something holds, while calls in this process go on."""
    deadline = time.monotonic() + within
    while not seen():
        assert time.monotonic() < deadline, f"not within {within} s: {shown}"
        await asyncio.sleep(0.02)
