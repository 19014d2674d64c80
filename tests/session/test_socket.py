"""A session's socket: who may attach, what is answered, and that nobody can hold it up."""

import asyncio
import json
import os
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

import pytest
import pytest_asyncio

from pipecat_workers_cli.errors import ConfigurationError, PmwError
from pipecat_workers_cli.session import outlet, socket
from pipecat_workers_cli.session.address import Address, sessions_folder
from pipecat_workers_cli.session.attached import attached, find_session, statuses
from pipecat_workers_cli.session.messages import AskStatus, Say
from pipecat_workers_cli.session.socket import CLIENTS, open_socket
from pipecat_workers_cli.traffic.entry import Entry
from pipecat_workers_cli.traffic.tap import Tap


class Host:
    """A session without callers."""

    recipe = "handoff"
    address = "http://localhost:7860/"
    providers = "llm: scripted (offline)"
    max_calls = 4
    lag = 0.0

    def __init__(self) -> None:
        self.stopped = 0

    def stop(self) -> None:
        self.stopped += 1

    async def call_for(self, call: str | None):
        raise PmwError("nobody calls here", mend="call")


@pytest.fixture
def host() -> Host:
    return Host()


@pytest.fixture
def tap() -> Tap:
    return Tap()


@pytest_asyncio.fixture
async def session(host: Host, tap: Tap) -> AsyncIterator[Address]:
    async with open_socket(host, tap) as name:
        yield Address(sessions_folder(), name)


async def send(address: Address, line: bytes) -> bytes:
    """Send bytes as they are, and return all that comes until the session closes."""
    reader, writer = await asyncio.open_unix_connection(str(address.path))
    try:
        writer.write(line)
        return await asyncio.wait_for(reader.read(), 10)
    finally:
        writer.close()


class Watcher:
    """Watches by hand: reads only when it is told to."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    async def next(self) -> dict:
        return json.loads(await asyncio.wait_for(self.reader.readline(), 10))

    async def rest(self) -> list[dict]:
        read = await asyncio.wait_for(self.reader.read(), 10)
        return [json.loads(line) for line in read.splitlines()]


@asynccontextmanager
async def watching(address: Address, **wanted: bool) -> AsyncIterator[Watcher]:
    """Attach, with a first entry read or a first snapshot, so that it is known to be attached."""
    reader, writer = await asyncio.open_unix_connection(str(address.path), limit=4_194_304)
    writer.write(json.dumps({"ask": "watch", "snapshots": True, **wanted}).encode() + b"\n")
    watcher = Watcher(reader, writer)
    assert (await watcher.next())["is"] == "snapshot"
    try:
        yield watcher
    finally:
        writer.close()


def entry(text: str) -> Entry:
    return Entry(event="bot", call="c1", at_ms=0, worker="greeter", text=text)


async def test_a_session_says_what_it_is(session: Address) -> None:
    (status,) = await asyncio.to_thread(statuses)
    assert (status.name, status.pid, status.recipe) == ("handoff", os.getpid(), "handoff")
    assert (status.address, status.max_calls, status.calls) == ("http://localhost:7860/", 4, ())
    assert status.answers
    assert status.uptime is not None


async def test_two_sessions_side_by_side_are_told_apart(session: Address) -> None:
    async with open_socket(Host(), Tap()):
        assert [one.name for one in await asyncio.to_thread(statuses)] == ["handoff", "handoff-2"]
        with pytest.raises(ConfigurationError, match="handoff, handoff-2"):
            await asyncio.to_thread(find_session, None)
    assert (await asyncio.to_thread(find_session, None)).name == "handoff"


async def test_stop_is_answered_and_reaches_the_session_once(session: Address, host: Host) -> None:
    assert json.loads(await send(session, b'{"ask":"stop"}\n')) == {"is": "done"}
    assert host.stopped == 1


async def test_what_the_session_refuses_is_an_error_in_two_lines(session: Address) -> None:
    def say() -> None:
        with attached(session) as attachment:
            list(attachment.ask(Say(text="hello")))

    with pytest.raises(PmwError, match="nobody calls here") as refused:
        await asyncio.to_thread(say)
    assert refused.value.mend == "call"


@pytest.mark.parametrize(
    "line",
    [
        b"hello\n",
        b"\xff\xfe\x00\n",
        b"{}\n",
        b'{"ask":"eval"}\n',
        b'{"ask":"status","more":1}\n',
        b'{"ask":"say"}\n',
        b'{"ask":"say","text":""}\n',
        b'{"ask":"say","text":"hi","timeout":1e9}\n',
        b'{"ask":"say","text":"' + b"x" * 20_000 + b'"}\n',
        b"[" * 60_000 + b"\n",
        b"x" * 4_000_000,
    ],
)
async def test_garbage_is_refused_and_the_session_goes_on(line: bytes, session: Address) -> None:
    with_answer = b""
    try:
        with_answer = await send(session, line)
    except ConnectionError:  # it closed while more was on its way
        assert len(line) > 1_000_000
    if with_answer:
        assert json.loads(with_answer)["is"] == "refused"
    assert len(await asyncio.to_thread(statuses)) == 1


async def test_a_client_that_asks_nothing_is_let_go(
    session: Address, monkeypatch: pytest.MonkeyPatch
) -> None:
    within = 0.5  # seconds
    monkeypatch.setattr(socket, "ASK_WITHIN", within)
    began = time.monotonic()
    assert await send(session, b'{"ask":') == b""
    assert within <= time.monotonic() - began < within + 3


async def test_more_clients_than_there_is_room_for_are_turned_away(session: Address) -> None:
    def ask() -> object:
        with attached(session) as attachment:
            return next(attachment.ask(AskStatus()))

    async with AsyncExitStack() as stack:
        watchers = [watching(session) for _ in range(CLIENTS)]
        await asyncio.gather(*map(stack.enter_async_context, watchers))
        with pytest.raises(PmwError, match=f"{CLIENTS} clients"):
            await asyncio.to_thread(ask)
    until = time.monotonic() + 5
    while not await asyncio.to_thread(statuses):
        assert time.monotonic() < until, "nobody is let in any more"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
async def test_another_user_cannot_attach(session: Address) -> None:
    connect = (
        "import socket, sys; s = socket.socket(socket.AF_UNIX); s.settimeout(5);"
        "import os; os.setgroups([]); os.setgid(65534); os.setuid(65534);"
        's.connect(sys.argv[1]); s.sendall(b\'{"ask":"status"}\\n\'); print(s.recv(99))'
    )
    words = [sys.executable, "-I", "-S", "-c", connect, str(session.path)]

    async def as_nobody() -> subprocess.CompletedProcess[str]:
        return await asyncio.to_thread(
            subprocess.run, words, capture_output=True, text=True, timeout=20
        )

    answer = await as_nobody()
    assert "PermissionError" in answer.stderr
    # Were the way open all the same, whoever comes is looked at.
    for folder in (session.folder, *session.folder.parents[:-2]):
        folder.chmod(folder.stat().st_mode | 0o055)
    session.path.chmod(0o666)
    answer = await as_nobody()
    refusals = ("ConnectionResetError", "BrokenPipeError")
    turned_away = answer.stdout.strip() == "b''" or any(r in answer.stderr for r in refusals)
    assert turned_away, answer.stdout + answer.stderr


async def test_every_watcher_hears_every_entry_in_order(session: Address, tap: Tap) -> None:
    async with watching(session) as one, watching(session, snapshots=True) as other:
        for number in range(500):
            tap.add(entry(str(number)))
        for watcher in (one, other):
            heard = []
            while len(heard) < 500:
                line = await watcher.next()
                if line["is"] == "entry":
                    heard.append(line["entry"]["text"])
            assert heard == [str(number) for number in range(500)]


async def test_nothing_is_kept_for_watchers_while_there_is_none(session: Address, tap: Tap) -> None:
    before = len(asyncio.all_tasks())
    async with watching(session):
        assert len(asyncio.all_tasks()) > before
    for _ in range(100):
        if len(asyncio.all_tasks()) == before and not tap._subscribers:
            break
        await asyncio.sleep(0.02)
    else:
        pytest.fail(f"left over: {asyncio.all_tasks()}, {tap._subscribers}")


async def test_a_watcher_that_stops_reading_is_dropped_and_told(session: Address, tap: Tap) -> None:
    async with watching(session) as frozen, watching(session) as awake:
        heard = 0
        for _ in range(400):  # 8 MB; kernel, reader and outlet keep less than half of it
            tap.add(entry("x" * 20_000))
        while heard < 400:
            heard += (await awake.next())["is"] == "entry"
        last = (await frozen.rest())[-1]
        assert last["is"] == "refused"
        assert "did not read" in last["what"]


async def test_an_entry_of_any_size_reaches_whoever_reads(session: Address, tap: Tap) -> None:
    async with watching(session) as watcher:
        tap.add(entry("x" * 3_000_000))
        while (line := await watcher.next())["is"] != "entry":
            pass
        assert len(line["entry"]["text"]) == 3_000_000


async def test_a_watcher_that_takes_nothing_for_long_is_dropped(
    session: Address, tap: Tap, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outlet, "STALLED", 0.3)
    async with watching(session, snapshots=True) as frozen:
        for _ in range(30):  # more than the kernel and a reader keep, less than the bound
            tap.add(entry("x" * 20_000))
        frozen.reader._transport.pause_reading()
        tap.add(entry("x" * 500_000))
        await asyncio.sleep(1)
        frozen.reader._transport.resume_reading()
        assert (await frozen.rest())[-1]["is"] == "refused"


async def test_what_json_has_no_sign_for_holds_up_nothing(session: Address, tap: Tap) -> None:
    async with watching(session) as watcher:
        for args in ({"half": "\ud800"}, {"endless": float("inf"), "whole": {1, 2}}):
            tap.add(Entry(event="tool", call="c1", at_ms=0, worker="greeter", name="t", args=args))
        tap.add(entry("after"))
        told: list[dict] = []
        while not any(line.get("entry", {}).get("text") == "after" for line in told):
            told.append(await asyncio.wait_for(watcher.next(), 10))
        assert any(line.get("entry", {}).get("args") == {"half": "?"} for line in told)


async def test_leaving_says_goodbye_and_waits_for_nobody(host: Host, tap: Tap) -> None:
    async with AsyncExitStack() as stack:
        async with open_socket(host, tap) as name:
            address = Address(sessions_folder(), name)
            one = await stack.enter_async_context(watching(address))
            frozen = await stack.enter_async_context(watching(address))
            frozen.reader._transport.pause_reading()
            for _ in range(40):
                tap.add(entry("x" * 20_000))
            tap.add(entry("the last word"))
            began = time.monotonic()
        assert time.monotonic() - began < 1
        rest = await one.rest()
        assert rest[-1] == {"is": "bye"}
        assert any(r["is"] == "entry" and r["entry"]["text"] == "the last word" for r in rest)
        assert await asyncio.to_thread(statuses) == []


async def test_a_session_without_a_folder_serves_all_the_same(host: Host, tap: Tap) -> None:
    sessions_folder().write_text("in the way")
    async with open_socket(host, tap) as name:
        assert name is None


async def test_a_session_that_does_not_answer_is_listed_all_the_same(session: Address) -> None:
    code = (
        "import signal, sys, os; from pipecat_workers_cli.session.address import claim;"
        "c = claim('stuck'); print('up', flush=True); sys.stdin.read()"
    )
    stuck = await asyncio.create_subprocess_exec(
        sys.executable, "-c", code, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    try:
        assert await stuck.stdout.readline() == b"up\n"
        found = {one.name: one for one in await asyncio.to_thread(statuses)}
        assert found["handoff"].answers
        assert not found["stuck"].answers
        assert found["stuck"].pid == stuck.pid
    finally:
        await stuck.communicate(b"")


async def test_what_is_no_session_of_ours_is_not_believed() -> None:
    """A socket that says more than it may, or what nobody understands."""
    folder = sessions_folder()
    folder.mkdir(mode=0o700)
    for says in (b"hello\n", b"x" * 5_000_000):
        (folder / "odd.sock").unlink(missing_ok=True)
        server = await asyncio.start_unix_server(
            lambda _, writer, says=says: writer.write(says), str(folder / "odd.sock")
        )
        try:

            def ask() -> None:
                with attached(Address(folder, "odd")) as attachment:
                    list(attachment.ask(AskStatus()))

            with pytest.raises(PmwError):
                await asyncio.to_thread(ask)
        finally:
            server.close()
