"""Calls in words, driven turn by turn against a recipe."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from pipecat_workers_cli.call.distribution import Distribution
from pipecat_workers_cli.call.links import Links
from pipecat_workers_cli.call.plan import plan_call
from pipecat_workers_cli.call.run import Call, open_call
from pipecat_workers_cli.options import Profile, ServiceOptions
from pipecat_workers_cli.recipe.load import load_recipe
from pipecat_workers_cli.traffic.entry import Entry
from pipecat_workers_cli.traffic.tap import Tap
from pipecat_workers_cli.transports.console import ConsoleTransport

OFFLINE = ServiceOptions(profile=Profile.OFFLINE)


class WordsCall:
    """A call in words, and what has happened in it so far."""

    def __init__(
        self, call: Call, transport: ConsoleTransport, entries: list[Entry], tap: Tap
    ) -> None:
        self.call = call
        self.tap = tap
        self.transport = transport
        self.entries = entries

    async def opened(self) -> None:
        self.call.log.expect_opening()
        await asyncio.wait_for(self.call.settled(), 10)

    async def say(self, text: str) -> list[Entry]:
        """Say a turn, wait until it is answered, and return what happened."""
        before = len(self.entries)
        self.call.log.expect_turn()
        await self.transport.send_turn(text)
        await asyncio.wait_for(self.call.settled(), 10)
        return self.entries[before:]

    async def until(self, event: str, **fields: object) -> Entry:
        """Wait for an entry, whether it has happened already or not."""
        async with asyncio.timeout(10):
            while True:
                for entry in self.entries:
                    if entry.event == event and all(
                        getattr(entry, name) == value for name, value in fields.items()
                    ):
                        return entry
                await asyncio.sleep(0.002)

    def context(self) -> list[dict]:
        """The conversation as the main worker keeps it."""
        return list(self.call.main.conversation.get_messages())


@asynccontextmanager
async def open_words_call(
    recipe: str,
    *,
    sets: tuple[str, ...] = (),
    everything: list[Entry] | None = None,
    idle_timeout: float = 30,
    distribution: Distribution | None = None,
) -> AsyncIterator[WordsCall]:
    """Open a call in words by a shipped recipe's name or a path.

    `everything` takes all entries, those of messages on the bus too. With a `distribution`
    the workers are elsewhere, or with `Links` those that have an `at`.
    """
    plan = plan_call(load_recipe(recipe, sets=sets), OFFLINE, speech=False)
    if distribution is not None:
        linked = isinstance(distribution, Links)
        plan = plan.linking() if linked else plan.main_alone(at="an engine")
    tap, entries, transport = Tap(), [], ConsoleTransport()
    tap.subscribe(entries.append)
    if everything is not None:
        tap.watch(everything.extend)
    opened = open_call(
        plan,
        transport,
        tap=tap,
        idle_timeout=idle_timeout,
        has_client=False,
        distribution=distribution,
    )
    async with tap.collecting(), opened as call:
        yield WordsCall(call, transport, entries, tap)


@pytest.fixture
def recipe_file(tmp_path: Path):
    """Write a recipe into a file of its own and return its path."""

    def write(text: str) -> str:
        path = tmp_path / "mine.toml"
        path.write_text(text)
        return str(path)

    return write
