"""Sessions that are watched over a shared bus."""

import asyncio
from contextlib import AsyncExitStack, asynccontextmanager
from uuid import uuid4

import msgspec
import pytest

from pipecat_workers_cli.buses.local import LocalBus
from pipecat_workers_cli.buses.post import Post, open_post
from pipecat_workers_cli.buses.urls import SharedBus
from pipecat_workers_cli.errors import ConfigurationError
from pipecat_workers_cli.session import bus_watchers
from pipecat_workers_cli.session.bus_attached import WATCHED, WATCHER, watching
from pipecat_workers_cli.session.bus_watchers import BACKLOG, BusOutlet, connected
from pipecat_workers_cli.session.messages import Seen, Told, Watch
from pipecat_workers_cli.traffic.entry import Entry
from pipecat_workers_cli.traffic.tap import Tap
from tests.buses import conftest as buses
from tests.buses.servers import SERVERS
from tests.waiting import until

servers = buses.servers


@pytest.fixture(params=SERVERS)
def bus(request, servers):
    return SharedBus(servers(request.param).url, f"test_{uuid4().hex[:8]}")


@pytest.fixture(autouse=True)
def hasty(monkeypatch):
    monkeypatch.setattr(bus_watchers, "LOOK_EVERY", 0.05)


class Heard:
    """What a watcher was told."""

    def __init__(self) -> None:
        self.entries: list[Entry] = []
        self.snapshots = 0
        self.sessions: set[str] = set()

    def __call__(self, session, reply) -> None:
        self.sessions.add(session)
        if isinstance(reply, Told):
            self.entries.append(reply.entry)
        self.snapshots += isinstance(reply, Seen)

    def texts(self) -> list[str]:
        return [entry.text for entry in self.entries if entry.event == "bot"]


@asynccontextmanager
async def session(bus: SharedBus, call: str):
    """A session with a call, as far as its tap sees one."""
    tap = Tap()
    tap.open_call(call, LocalBus(), recipe="handoff", workers=["greeter"], main="acme")
    async with tap.collecting(), connected(bus, tap, lambda: 0.0):
        yield tap


def says(tap: Tap, call: str, text: str) -> None:
    tap.add(Entry(event="bot", call=call, worker="greeter", at_ms=1, text=text))


async def test_a_watcher_is_told_of_all_sessions_while_it_is_there(bus):
    heard = Heard()
    async with session(bus, "aaaaaaaa") as one, session(bus, "bbbbbbbb") as other:
        async with watching(bus, Watch(snapshots=True), heard):
            await until(lambda: one._watchers and other._watchers)
            says(one, "aaaaaaaa", "Hello")
            says(other, "bbbbbbbb", "Good day")
            await until(lambda: sorted(heard.texts()) == ["Good day", "Hello"])
            await until(lambda: heard.snapshots >= 2)
            assert len(heard.sessions) == 2
        await until(lambda: not one._watchers and not other._watchers)  # and costs nothing


async def test_a_look_for_watchers_that_fails_is_not_the_last(bus, monkeypatch):
    failures = [ValueError("a bug"), KeyError("another")]

    decode = msgspec.json.decode

    def failing(*args, **options):
        if failures:
            raise failures.pop()
        return decode(*args, **options)

    monkeypatch.setattr(msgspec.json, "decode", failing)
    heard = Heard()
    async with watching(bus, Watch(), heard), session(bus, "aaaaaaaa") as tap:
        await until(lambda: tap._watchers)
    assert not failures


async def test_what_a_session_says_last_is_told(bus):
    heard = Heard()
    async with watching(bus, Watch(), heard):
        async with session(bus, "aaaaaaaa") as tap:
            await until(lambda: tap._watchers)
            says(tap, "aaaaaaaa", "Goodbye")
        await until(lambda: heard.texts() == ["Goodbye"])
    assert heard.snapshots == 0


async def test_secrets_are_struck_before_they_leave_the_session(bus, monkeypatch):
    monkeypatch.setenv("SHOP_API_KEY", "secret-word")
    heard = Heard()
    async with watching(bus, Watch(), heard), session(bus, "aaaaaaaa") as tap:
        await until(lambda: tap._watchers)
        says(tap, "aaaaaaaa", "The key is secret-word.")
        await until(lambda: heard.texts() == ["The key is ***."])


async def test_who_wants_nothing_that_is_known_is_told_nothing(bus, servers):
    async with session(bus, "aaaaaaaa") as tap, AsyncExitStack() as stack:
        kind = "redis" if bus.url.startswith("redis") else "pgmq"
        network = await stack.enter_async_context(servers(kind).open_network(bus.channel))
        for name, body in (("one", b"\xff"), ("two", b'{"ask":"stop"}'), ("three", b"{}")):
            await network.announce(WATCHER, name, body, ttl=30)
        await asyncio.sleep(0.2)
        assert not tap._watchers


async def test_of_many_watchers_some_are_told(bus, monkeypatch):
    monkeypatch.setattr(bus_watchers, "MOST", 1)
    one, other = Heard(), Heard()
    async with (
        session(bus, "aaaaaaaa") as tap,
        watching(bus, Watch(), one),
        watching(bus, Watch(), other),
    ):
        await until(lambda: tap._watchers)
        await asyncio.sleep(0.2)
        says(tap, "aaaaaaaa", "Hello")
        await until(lambda: one.texts() + other.texts() == ["Hello"])


async def test_what_a_watcher_can_not_take_is_left_out_and_counted(servers):
    server = servers("redis")
    line = b'{"is":"entry","entry":{"event":"end","call":"a","at_ms":1}}\n'
    taken = []
    async with AsyncExitStack() as stack:
        networks = [
            await stack.enter_async_context(server.open_network("left_out")) for _ in range(2)
        ]
        post, watcher = Post(networks[0]), await stack.enter_async_context(open_post(networks[1]))
        outlet = BusOutlet(post, watcher.address)
        for _ in range(3):  # nothing is sent yet
            outlet.write(line * (BACKLOG // len(line) + 1))
        assert outlet.is_behind
        stack.enter_context(watcher.taking(WATCHED, [""], lambda _, letter: taken.append(letter)))
        sending = asyncio.create_task(post.run())
        await until(lambda: not outlet.is_behind)
        outlet.write(line)
        await until(lambda: len(taken) == 3)
        sending.cancel()
        await asyncio.wait({sending})
    lost = 2 * (BACKLOG // len(line) + 1)
    assert f'"event":"left_out","call":"","at_ms":0,"count":{lost}'.encode() in taken[1].body
    assert taken[2].body == line


async def test_stock_peers_are_not_watched():
    with pytest.raises(ConfigurationError):
        async with watching(SharedBus("redis+pubsub://localhost", "acme"), Watch(), Heard()):
            pass
