"""What only Postgres has to be held to; the rest is in `test_every_bus.py`."""

import asyncio
import re
import sys
import time
from asyncio.subprocess import PIPE
from contextlib import AsyncExitStack
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from loguru import logger

from pipecat_workers_cli.buses import pgmq
from pipecat_workers_cli.buses import pgmq_sql as sql
from pipecat_workers_cli.buses.network import BusDown
from pipecat_workers_cli.buses.pgmq import PgmqNetwork, open_network
from pipecat_workers_cli.buses.pgmq_install import install
from pipecat_workers_cli.buses.pgmq_sql import Names
from pipecat_workers_cli.errors import ConfigurationError, PmwError
from tests.buses.asking import received, until_it_gives, until_it_works
from tests.buses.relay import EXECUTE, QUERY, open_relay
from tests.waiting import until


@pytest.fixture(params=["pgmq"])
def server(request, servers):
    server = servers(request.param)
    yield server
    server.start()


@pytest.fixture
def database(server, channel):
    """An empty database beside the one with PGMQ: how it is asked, and its URL."""
    server.ask(f"CREATE DATABASE {channel}", database="postgres")
    yield lambda statement: server.ask(statement, database=channel)
    server.ask(f"DROP DATABASE {channel} WITH (FORCE)", database="postgres")


def url_of(server, *, database=None, user="postgres:s3cret"):
    return f"postgresql://{user}@/{database or server.database}?host={server.folder}"


async def everything(url, channel):
    """Use all there is; return how many parcels, claims and others present came of it."""
    async with open_network(url, channel=channel) as one, open_network(url, channel=channel) as two:
        assert not await one.send({two.address: b"note"})
        parcels = await received(two)
        await one.offer("work", b"")
        (claim,) = await two.claim(["work"], most=1)
        assert not await two.renew([claim])
        await two.give_back(claim)
        (again,) = await one.claim(["work"], most=1)
        await one.settle(again)
        await one.announce("host", "a", b"", ttl=5)
        there = await two.present("host")
        await one.take_leave("host", "a")
        return len(parcels), again.number, len(there)


# --- peers that are gone


async def test_the_inbox_is_kept_whatever_fails(server, channel, monkeypatch):
    monkeypatch.setattr(pgmq, "KEEP_EVERY", 0.05)
    failures = [ValueError("a bug"), KeyError("another")]
    shared = PgmqNetwork._shared

    async def failing(network, statement, *values):
        if statement == sql.ANNOUNCE and failures:
            raise failures.pop()
        return await shared(network, statement, *values)

    monkeypatch.setattr(PgmqNetwork, "_shared", failing)
    async with server.open_network(channel) as network:

        async def kept():
            return await network.present(sql.INBOXES)

        assert await until_it_gives(kept)
    assert not failures


async def crashed(url, channel):
    network = PgmqNetwork(url, channel=channel)
    await network.enter()
    for line in network._lines:
        line.drop()
    return network.address


async def killed(url, channel):
    program = (sys.executable, "-m", "tests.buses.peer", "pgmq", url, channel)
    peer = await asyncio.create_subprocess_exec(*program, stdout=PIPE)
    address = (await peer.stdout.readline()).decode().strip()
    peer.kill()
    await peer.wait()
    return address


async def test_the_queues_of_fifty_crashed_peers_are_gone(server, channel, hasten, join):
    hasten(INBOX_KEPT=3.0, KEEP_EVERY=0.1)
    one, other = await join(), await join()
    dead = {await crashed(server.url, channel): b"" for _ in range(49)}
    dead[await killed(server.url, channel)] = b""
    assert len(server.stored(channel)) == 54
    hasten(SETTLED=0.0)
    # What is left are two inboxes, offers and presence.
    await until(lambda: len(server.stored(channel)) == 4)
    assert set(await one.send({**dead, other.address: b"still here"})) == set(dead)
    assert await received(other) == [b"still here"]
    leases = f"SELECT count(*) FROM pgmq.q_{Names.of(channel).presence}"
    assert server.ask(leases) == [(2,)]


async def test_one_statement_sends_to_all_however_many_are_dead(server, channel, join):
    other = await join()
    dead = {await crashed(server.url, channel): b"" for _ in range(10)}
    gone = {f"gone{number}": b"" for number in range(40)}
    async with open_relay(server) as relay, open_network(relay.url, channel=channel) as network:
        await network.send({other.address: b"x", **dead})  # asyncpg learns the types
        before = relay.asked[EXECUTE] + relay.asked[QUERY]
        assert set(await network.send({other.address: b"x", **dead, **gone})) == set(gone)
        assert relay.asked[EXECUTE] + relay.asked[QUERY] == before + 1


async def test_an_outage_longer_than_inboxes_are_kept_takes_nobody_for_dead(server, hasten, join):
    hasten(INBOX_KEPT=0.6, KEEP_EVERY=0.1, SETTLED=0.3)
    one, other = await join(), await join()
    await one.send({other.address: b"before"})
    await asyncio.to_thread(server.stop)
    await asyncio.sleep(0.6)
    await asyncio.to_thread(server.start)
    assert not await until_it_works(one.send, {other.address: b"after"})
    assert await until_it_works(received, other, 2) == [b"before", b"after"]


async def test_a_crash_that_lets_numbers_begin_anew_loses_no_new_parcel(server, join):
    one, other = await join(), await join()
    await one.send({other.address: b"before"})
    assert await other.receive() == [b"before"]
    await asyncio.to_thread(server.kill)
    await asyncio.to_thread(server.start)
    await until_it_works(one.send, {other.address: b"after"})
    assert await until_it_works(received, other) == [b"after"]


# --- what is no message


async def asked(server, statement):
    """Ask beside the event loop, which may be about to end a transaction that this waits for."""
    return await asyncio.to_thread(server.ask, statement)


@pytest.mark.parametrize("junk", ['"no Base64!"', '"YWJjZ"', '{"a": 1}', "[]", "null", "7"])
async def test_what_is_no_message_of_ours_holds_up_no_other(server, channel, join, junk):
    one, other = await join(), await join()
    names = Names.of(channel)
    await one.offer("work", b"before")  # which makes the queues
    await one.announce("host", "somebody", b"here", ttl=5)
    await asked(server, f"SELECT pgmq.send('{names.inboxes}{other.address}', '{junk}'::jsonb)")
    for queue in (names.offers, names.presence):
        for keys in ("'queue', 'work'", "'kind', 'host', 'name', 'stranger'"):
            body = f"jsonb_build_object({keys}, 'token', 'x', 'body', '{junk}'::jsonb)"
            delay = ", 5" if queue == names.presence else ""
            await asked(server, f"SELECT pgmq.send('{queue}', {body}{delay})")
    await one.offer("work", b"after")
    await one.send({other.address: b"note"})
    assert (await received(other, 2))[-1] == b"note"
    assert [c.body for c in await other.claim(["work"], most=9)][::2] == [b"before", b"after"]
    assert [p.body for p in await one.present("host")][:1] == [b"here"]


# --- what stands in between


async def test_a_pooler_that_carries_no_notifications_is_noticed_and_worked_through(
    server, channel, join
):
    other = await join()
    said = []
    sink = logger.add(said.append, level="WARNING", format="{message}")
    async with (
        open_relay(server, notifications=False) as relay,
        open_network(relay.url, channel=channel) as network,
    ):
        logger.remove(sink)
        assert len(said) == 1
        assert "carries no LISTEN" in said[0]
        receiving = asyncio.create_task(network.receive())
        claiming = asyncio.create_task(network.claim(["work"], most=1))
        await asyncio.sleep(0.1)
        began = time.monotonic()
        await other.send({network.address: b"note"})
        await other.offer("work", b"")
        assert await receiving == [b"note"]
        assert await claiming
        assert time.monotonic() - began < 0.3
        assert relay.prepared == {b""}  # by a name another server wouldn't know


# --- versions and rights


def test_no_two_channels_share_a_queue_and_every_name_fits():
    channels = ["acme", "acme_2", "acme-2", "a:b", "a/b", "A/b", "ä" * 80, "x" * 80, "x" * 79, ""]
    prefixes = [Names.of(channel).prefix for channel in channels]
    for prefix in prefixes:
        assert sum(other.startswith(prefix) for other in prefixes) == 1
    for channel in channels:
        names = Names.of(channel)
        for name in (f"{names.inboxes}{'f' * 14}", names.offers, names.presence):
            assert len(name) < 47
            assert re.fullmatch("[a-z][a-z0-9_]+", name)


async def test_pgmq_is_installed_once_and_says_its_version(server, channel, database):
    url = url_of(server, database=channel)
    with pytest.raises(PmwError, match="PGMQ is not installed") as missing:
        await everything(url, "test")
    assert "pmw bus init" in missing.value.mend
    assert await asyncio.gather(install(url), install(url)) == ["1.13.0", "1.13.0"]
    assert await everything(url, "test") == (1, 2, 1)
    assert await install(url) == "1.13.0"


@pytest.fixture
def old_pgmq(server, database):
    """Lets the database have the extension as it was in version 1.5.1."""
    with TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)  # Postgres may run as another user
        server.offer_extension(Path(folder), Path(__file__).with_name("pgmq_1_5.sql").read_text())
        yield
        server.ask("ALTER SYSTEM RESET extension_control_path")
        server.ask("SELECT pg_reload_conf()")


async def test_pgmq_1_5_as_an_extension_is_enough(server, channel, database, old_pgmq, hasten):
    hasten(INBOX_KEPT=0.3, KEEP_EVERY=0.1, SETTLED=0.2)
    url = url_of(server, database=channel)
    assert await install(url) == "1.5.1"
    await crashed(url, "new")
    async with AsyncExitStack() as stack:  # all at once, on a channel that isn't there yet
        entering = [stack.enter_async_context(open_network(url, channel="new")) for _ in range(8)]
        networks = await asyncio.gather(*entering)
        await asyncio.gather(*(network.present("host") for network in networks))
        inboxes = "SELECT count(*) FROM pgmq.meta WHERE queue_name LIKE '%_in_%'"
        await until(lambda: database(inboxes) == [(8,)])
    assert await everything(url, "new") == (1, 2, 1)
    assert database(inboxes) == [(0,)]


@pytest.fixture
def role(server):
    """A user who may do nothing yet in the database with PGMQ."""
    server.ask("CREATE ROLE stranger LOGIN")
    yield "stranger"
    server.ask("DROP OWNED BY stranger")
    server.ask("DROP ROLE stranger")


async def test_the_least_rights_that_are_told_suffice(server, channel, role):
    url = url_of(server, user=f"{role}:s3cret")
    with pytest.raises(PmwError, match="does not let this user") as refused:
        await everything(url, channel)
    for rights in ("usage, create on schema pgmq", "select, insert, delete on pgmq.meta"):
        assert rights in refused.value.mend
        server.ask(f"GRANT {rights} TO {role}")
    assert await everything(url, channel) == (1, 2, 1)


# --- what is said when it can't be


@pytest.mark.parametrize(
    ("url", "what"),
    [
        ("postgresql://me:s3cret@127.0.0.1:1/bus", "no Postgres can be reached at 127.0.0.1:1/bus"),
        ("postgresql://me:s3cret@nowhere.invalid/bus", "no host is known"),
        ("postgresql://me:s3cret@/bus?host=/nowhere", "no Postgres can be reached"),
        ("postgresql://me:s3/cret@localhost/bus", "no URL of a Postgres"),
        ("postgresql://me:s3cret@localhost:port/bus", "no URL of a Postgres"),
        ("postgresql://me:s3cret@localhost/bus?sslmode=s3cret", "no URL of a Postgres"),
    ],
)
async def test_no_connection_is_said_in_two_lines_without_the_password(url, what):
    began = time.monotonic()
    with pytest.raises(PmwError, match=what) as failed:
        async with open_network(url, channel="test"):
            pass
    assert isinstance(failed.value, ConfigurationError if "URL" in what else BusDown)
    assert "s3" not in f"{failed.value.what} {failed.value.mend}"
    assert time.monotonic() - began < 3.5


async def test_an_unknown_database_is_said(server):
    with pytest.raises(PmwError, match="no such database") as failed:
        async with open_network(url_of(server, database="nothing"), channel="test"):
            pass
    assert "s3cret" not in failed.value.what


async def test_tls_that_was_asked_for_and_is_not_there_is_said(server):
    async with open_relay(server) as relay:
        with pytest.raises(PmwError, match="no connection with TLS"):
            async with open_network(f"{relay.url}?sslmode=require", channel="test"):
                pass


async def test_a_wrong_password_is_said(server, role):
    folder = server.folder
    rules = (folder / "pg_hba.conf").read_text()
    (folder / "pg_hba.conf").write_text(f"local all {role} scram-sha-256\n{rules}")
    try:
        server.ask("SELECT pg_reload_conf()")
        server.ask(f"ALTER ROLE {role} PASSWORD 'right'")
        with pytest.raises(PmwError, match="refused the user or the password") as failed:
            async with open_network(url_of(server, user=f"{role}:s3cret"), channel="test"):
                pass
        assert "s3cret" not in f"{failed.value.what} {failed.value.mend}"
    finally:
        (folder / "pg_hba.conf").write_text(rules)
        server.ask("SELECT pg_reload_conf()")
