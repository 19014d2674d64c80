"""What a link suffers: silence on the way, readers that do not read, floods and strangers."""

import asyncio
import socket
import time

import pytest
from websockets.asyncio.client import connect
from websockets.asyncio.connection import Connection
from websockets.asyncio.server import serve

from pipecat_workers_cli.buses import link as links
from pipecat_workers_cli.buses.link import CALLERS_END, WORKER, WORKERS_END, Link
from pipecat_workers_cli.buses.post import Post, running_post
from pipecat_workers_cli.buses.way import Way, open_link, require_reachable
from pipecat_workers_cli.call.links import Links
from pipecat_workers_cli.options import LinkOptions
from pipecat_workers_cli.wire.letter import Letter
from tests.buses.tunnel import open_tunnel
from tests.call.conftest import open_words_call
from tests.fleet.proxies import SLOW, TOKEN, proxying, way_to
from tests.fleet.test_proxy import ANSWER, texts, upgrade
from tests.fleet.test_proxy_door import caller
from tests.waiting import until

SHED = 100  # letters of sound beyond what may wait
SOUND = bytes(65_536)
AT = 'workers.assistant.at="{}"'


def post_over(connection: Connection, address: str, peer: str) -> Post[Link]:
    """The post of one end of a link, made by hand."""
    return Link(connection, address=address, peer=peer, most_there=links.DEFAULT_BYTES).post()


async def test_a_way_that_falls_silent_is_left_and_the_answer_comes_once_by_another(tmp_path):
    path = tmp_path / "slow.toml"
    path.write_text(SLOW)
    async with proxying(str(path)) as gateway, open_tunnel(gateway.doorstep.url) as tunnel:
        at = AT.format(tunnel.url)
        async with open_words_call(
            str(path), sets=(at,), distribution=Links(LinkOptions())
        ) as call:
            await call.opened()
            await call.transport.send_turn("A slow question")
            await call.until("user", text="A slow question")
            tunnel.open.clear()
            await call.until("bot", worker="acme", text="One moment, please.")
            await until(lambda: not gateway.held)  # at the other end nothing is heard either
            tunnel.open.set()
            await call.until("bot", text=ANSWER)
            assert "You said Another" in (await call.say("Another"))[-1].text
    assert texts(call).count(ANSWER) == 1


PAY = """
name = "pay"
[main]
name = "acme"
opening = { message = "Welcome the caller." }
[[workers]]
name = "assistant"
tools = ["till:pay"]
script = [
  { on = "opening", say = "Hello." },
  { on = "user", match = "pay", delay = 1.5, call = "pay", args = { text = "{text}" } },
  { on = "tool", say = "It is done." },
]
"""
TILL = """
from pathlib import Path

async def pay(params, text: str):
    '''Pay.'''
    with (Path(__file__).parent / "ledger").open("a") as ledger:
        ledger.write(text + ".")
    await params.result_callback("paid")
"""


@pytest.mark.long
async def test_a_tool_that_is_called_while_the_way_is_silent_runs_once(tmp_path):
    path = tmp_path / "pay.toml"
    path.write_text(PAY)
    (tmp_path / "till.py").write_text(TILL)
    async with proxying(str(path)) as gateway, open_tunnel(gateway.doorstep.url) as tunnel:
        at = AT.format(tunnel.url)
        links = Links(LinkOptions())
        async with open_words_call(str(path), sets=(at,), distribution=links) as call:
            await call.opened()
            await call.transport.send_turn("pay a dollar")
            await call.until("user", text="pay a dollar")
            await asyncio.sleep(0.5)
            tunnel.open.clear()
            await call.until("bot", worker="acme", text="One moment, please.")
            await until(lambda: not gateway.held, within=15)
            tunnel.open.set()
            await call.until("bot", text="It is done.")
            await asyncio.sleep(5)
    assert (tmp_path / "ledger").read_text() == "pay a dollar."


async def test_a_reader_that_does_not_read_costs_sound_first_and_no_words():
    """The other end takes nothing for a while: what waits is bounded, and words come through."""
    reads, got = asyncio.Event(), []

    async def take(connection) -> None:
        await connection.recv()
        connection.transport.pause_reading()
        await reads.wait()
        connection.transport.resume_reading()
        async with running_post(post_over(connection, WORKERS_END, CALLERS_END)) as post:
            with post.taking("c0ffee00", ["assistant"], lambda _, letter: got.append(letter)):
                await connection.wait_closed()

    def name(_connection, _request, response) -> None:
        response.headers[WORKER] = "assistant"

    async with serve(
        take,
        "127.0.0.1",
        0,
        subprotocols=[links.SUBPROTOCOL],
        process_response=name,
        compression=None,
        ping_interval=None,
    ) as server:
        port = next(iter(server.sockets)).getsockname()[1]
        way = Way("assistant", f"ws://127.0.0.1:{port}/ws", None, LinkOptions())
        async with open_link(way) as link:
            await link._connection.send(b"greeting")
            async with running_post(link.post()) as post:
                words = Letter("c0ffee00", "assistant", 1, b"words")
                sent = 0
                async with asyncio.timeout(10):
                    while post.counts.shed < SHED:
                        post.send(
                            WORKERS_END, Letter("c0ffee00", "assistant", 1, SOUND), audio=True
                        )
                        post.send(WORKERS_END, words)
                        sent += 1
                        await asyncio.sleep(0)
                assert post.backlog(WORKERS_END) <= links.WAITING
                assert post.counts.lost == 0
                reads.set()
                await until(lambda: [one.body for one in got].count(b"words") == sent)
    assert len(got) == 2 * sent - post.counts.shed


async def test_a_link_takes_so_many_letters_a_second_and_no_more(monkeypatch):
    monkeypatch.setattr(links, "LETTERS_PER_SECOND", 50)
    got: list[float] = []

    async def take(connection) -> None:
        async with running_post(post_over(connection, WORKERS_END, CALLERS_END)) as post:
            with post.taking("c0ffee00", ["a"], lambda *_: got.append(time.monotonic())):
                await connection.wait_closed()

    async with (
        serve(take, "127.0.0.1", 0, compression=None) as server,
        connect(
            f"ws://127.0.0.1:{next(iter(server.sockets)).getsockname()[1]}", compression=None
        ) as connection,
        running_post(post_over(connection, CALLERS_END, WORKERS_END)) as post,
    ):
        for _ in range(100):
            post.send(WORKERS_END, Letter("c0ffee00", "a", 1, b"x"))
            await asyncio.sleep(0.001)  # one by one, and not all in a parcel
        await until(lambda: len(got) == 100)
    assert got[-1] - got[0] > 0.8  # the first fifty at once, the others in a second


async def test_a_page_of_an_allowed_origin_opens_a_link_and_another_does_not():
    async with proxying(origins=("https://demo.example",)) as gateway:
        asked = "Sec-WebSocket-Protocol: pmw.1\r\nOrigin: {}\r\n"
        port = gateway.doorstep.port
        for origin, status in (
            ("https://demo.example", 101),
            ("https://DEMO.example", 101),
            ("https://demo.example.evil.example", 403),
            ("null", 403),
        ):
            assert (await upgrade(port, asked.format(origin))).split()[1] == str(status)


async def test_figures_want_a_token_and_probes_want_none():
    right = f"Authorization: Bearer {TOKEN}\r\n"
    async with proxying(tokens=(TOKEN,)) as gateway:
        port = gateway.doorstep.port
        assert (await upgrade(port, "", "/metrics")).split()[1] == "401"
        assert (await upgrade(port, right, "/metrics")).split()[1] == "200"
        assert (await upgrade(port, "", "/healthz")).split()[1] == "200"
        assert (await upgrade(port, "", "/readyz")).split()[1] == "200"


@pytest.mark.parametrize("pieces", [1, 2, 40])
async def test_whoever_has_no_token_is_answered_in_however_many_pieces_he_asks(pieces):
    request = (
        b"GET /ws HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
    )
    size = -(-len(request) // pieces)
    async with proxying(tokens=(TOKEN,)) as gateway:
        reader, writer = await asyncio.open_connection("127.0.0.1", gateway.doorstep.port)
        for start in range(0, len(request), size):
            writer.write(request[start : start + size])
            await asyncio.sleep(0.005)
        answer = (await asyncio.wait_for(reader.read(), 5)).decode().lower()
        writer.close()
        assert gateway.gate.turned == {"no token": 1}
    head, _, body = answer.partition("\r\n\r\n")
    assert head.startswith("http/1.1 401 unauthorized\r\n")
    assert "www-authenticate: bearer" in head
    assert "connection: close" in head
    assert body == "a token is wanted\n"


async def test_a_hundred_strangers_at_once_are_told_401_and_others_get_in():
    async with proxying(tokens=(TOKEN,)) as gateway:
        port = gateway.doorstep.port
        asked = [upgrade(port, "") for _ in range(100)]
        answers, _ = await asyncio.gather(
            asyncio.gather(*asked), require_reachable(way_to(gateway, token=TOKEN))
        )
        assert {answer.split()[1] for answer in answers} == {"401"}
        assert gateway.gate.turned == {"no token": 100}


async def test_nothing_waits_for_a_fuller_packet():
    async with proxying() as gateway, caller(gateway.doorstep.port):
        await until(lambda: gateway.held)
        for connection in gateway.held:
            held = connection.transport.get_extra_info("socket")
            assert held.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
