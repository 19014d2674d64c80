"""Recordings of real calls in words."""

from pathlib import Path

import pytest

from pipecat_workers_cli.traffic.entry import Entry
from pipecat_workers_cli.traffic.record import open_recording
from tests.call.conftest import open_words_call

HANDOFF = (
    "How much are the rocket boots?",
    "And the invisible paint?",
    "Let me talk to the greeter",
    "goodbye",
)


async def hold_call(recipe: str, *turns: str, sets: tuple[str, ...] = ()) -> list[Entry]:
    """Hold a call and return all entries of it, as a recording would have them."""
    everything: list[Entry] = []
    async with open_words_call(recipe, sets=sets, everything=everything) as call:
        await call.opened()
        for turn in turns:
            await call.say(turn)
        if "bye" in turns[-1]:
            await call.call.ended.wait()
    return everything


def write(path: Path, entries: list[Entry]) -> Path:
    """Write a recording, as a session does."""
    with open_recording(path) as recorder:
        recorder.add(entries)
    return path


@pytest.fixture(scope="session")
def handoff_entries() -> list[Entry]:
    """A handoff there and back."""
    import asyncio

    return asyncio.run(hold_call("handoff", *HANDOFF))


@pytest.fixture(scope="session")
def debate_entries() -> list[Entry]:
    """One round of a debate."""
    import asyncio

    return asyncio.run(hold_call("debate", "Should we work from home?", "goodbye"))
