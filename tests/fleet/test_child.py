"""A process of ours: listened to, started again when it dies, ended."""

import asyncio
import os
import time
from contextlib import asynccontextmanager

import pytest

from pipecat_workers_cli.errors import PmwError
from pipecat_workers_cli.fleet import child as module
from pipecat_workers_cli.fleet.child import DEATHS, READ, Child, Listener, Program


class Heard:
    """All that a child said, and what became of it."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.notes: list[str] = []
        self.news = asyncio.Event()
        self.listener = Listener(self._line, self._note)

    def _line(self, name: str, line: str) -> None:
        assert name == "greeter"
        self.lines.append(line)
        self.news.set()

    def _note(self, text: str) -> None:
        self.notes.append(text)

    async def until(self, line: str) -> None:
        async with asyncio.timeout(10):
            while line not in self.lines:
                self.news.clear()
                await self.news.wait()


def program(*words: str, **how) -> Program:
    return Program("greeter", ("tests.fleet.programs", *words), dict(os.environ), **how)


@asynccontextmanager
async def kept(child: Child):
    """The task in which a child is kept; none of it is left behind."""
    keeping = asyncio.create_task(child.keep())
    try:
        yield keeping
    finally:
        await child.end(within=0)
        keeping.cancel()
        await asyncio.wait({keeping})


@pytest.fixture(autouse=True)
def hasty(monkeypatch):
    monkeypatch.setattr(module, "FIRST_PAUSE", 0.001)


async def test_one_that_dies_before_it_was_ready_is_not_started_again():
    heard = Heard()
    async with kept(Child(program("end", "3"), heard.listener)) as keeping:
        with pytest.raises(PmwError, match="greeter ended with exit code 3") as failure:
            await keeping
    assert failure.value.exit_code == 1
    assert heard.lines == ["ending"]
    assert heard.notes == []


async def test_what_was_typed_wrong_stays_wrong_typed():
    async with kept(Child(program("end", "2"), Heard().listener)) as keeping:
        with pytest.raises(PmwError) as failure:
            await keeping
    assert failure.value.exit_code == 2


async def test_one_that_was_ready_is_started_again_until_that_is_no_use():
    heard = Heard()
    child = Child(program("die"), heard.listener)
    child.settled = True
    async with kept(child) as keeping:
        with pytest.raises(PmwError, match=f"was killed by SIGKILL, {DEATHS + 1} times in a row"):
            await keeping
    assert len(heard.notes) == DEATHS
    assert heard.notes[0] == "greeter was killed by SIGKILL; it is started again in 0.001 s"


async def test_one_that_may_end_by_itself_returns_its_code():
    heard = Heard()
    async with kept(
        Child(program("end", "7", once=lambda code: code == 7), heard.listener)
    ) as keeping:
        assert await keeping == 7
    assert heard.notes == []


async def test_one_that_is_ended_is_not_started_again():
    heard = Heard()
    child = Child(program("wait"), heard.listener)
    child.settled = True
    async with kept(child) as keeping:
        await heard.until("waiting")
        await child.end(within=5)
        assert await keeping == -15
    assert heard.notes == []


async def test_one_that_does_not_heed_sigterm_is_killed():
    heard = Heard()
    child = Child(program("stubborn"), heard.listener)
    async with kept(child) as keeping:
        await heard.until("waiting")
        began = time.monotonic()
        await child.end(within=0.1)
        assert await keeping == -9
    assert time.monotonic() - began < 2


async def test_a_line_of_any_length_is_taken():
    heard = Heard()
    length = 3 * READ
    async with kept(
        Child(program("write", str(length), once=lambda _: True), heard.listener)
    ) as keeping:
        await keeping
    assert heard.lines[0] == "a"
    assert heard.lines[-1] == "last"
    assert "".join(heard.lines[1:-1]) == "b" + length * "x"
    assert all(len(line) <= 2 * READ for line in heard.lines)
