"""Fault 18 over real sockets: whatever is sent over an open link, the others hear nothing of it."""

import asyncio
import gc
from contextlib import asynccontextmanager, suppress

import psutil
import pytest
from loguru import logger
from pipecat.bus import BusEndMessage, BusJobRequestMessage
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from pipecat_workers_cli.buses.link import CALLERS_END, SUBPROTOCOL
from pipecat_workers_cli.options import Wire
from pipecat_workers_cli.wire import letter as letters
from pipecat_workers_cli.wire.format import Codec
from pipecat_workers_cli.wire.letter import Letter, Parcel
from pipecat_workers_cli.wire.notice import Offer, encode_notice
from pipecat_workers_cli.wire.shapes import FORMAT
from pipecat_workers_cli.wire.stock import StockCodec
from tests.fleet.proxies import proxying
from tests.waiting import until

TIMES = 7  # each of them, on each of four links
HUGE = 20_000_000
DEEP = b"[" * 10_000 + b"]" * 10_000
OFFER = Offer("c0ffee00", "assistant", "acme", CALLERS_END, 1, "", speech=False)
JOB = BusJobRequestMessage(source="acme", target="assistant", job_id="j", payload={"a": 1})
UNKNOWN = b'{"__type__":"os.system","__data__":{"id":1,"source":"acme","target":"assistant"}}'


def posted(body: bytes, *, seq: int, epoch: int = OFFER.epoch(1)) -> bytes:
    letter = Letter(OFFER.call, OFFER.worker, epoch, body)
    return letters.encode(Parcel(CALLERS_END, seq, [letter]))


def deep_job(encoded: bytes) -> bytes:
    assert encoded.count(b'{"a":1}') == 1
    return encoded.replace(b'{"a":1}', b'{"a":' + DEEP + b"}")


def abuse(wire: Wire, seq: int) -> dict[str, bytes | str]:
    """One of each kind, to be refused."""
    if wire is Wire.STOCK:
        end = StockCodec().encode(BusEndMessage(source="acme")) or b""
        return {
            "garbage": b"\x00\xff garbage",
            "deep": DEEP,
            "deep inside": deep_job(StockCodec().encode(JOB) or b""),
            "text": "text",
            "unknown": UNKNOWN,
            "not its business": end,  # the wire has no epochs
        }
    unknown = b"\x92" + bytes([FORMAT]) + b"\x93\xcd\x03\xe7\xa1a\xc0"
    return {
        "garbage": b"\x00\xff garbage",
        "deep": b"\x91" * 10_000,
        "deep inside": posted(b"\x91" * 10_000, seq=seq),
        "text": "text",
        "unknown": posted(unknown, seq=seq + 1),
        "past": posted(Codec().encode(JOB) or b"", seq=seq + 2, epoch=OFFER.epoch(1) - 1),
    }


@asynccontextmanager
async def caller(gateway, wire: Wire):
    """A caller's end by hand, past its beginning."""
    spoken = [SUBPROTOCOL] if wire is Wire.PMW else None
    link = await connect(
        gateway.doorstep.url, subprotocols=spoken, compression=None, max_queue=None
    )
    try:
        if wire is Wire.PMW:
            await link.send(encode_notice(OFFER))
        await asyncio.wait_for(link.recv(), 20)  # its worker is there
        yield link
    finally:
        with suppress(AttributeError):  # asyncio's, of a transport that was cut while it wrote
            await link.close()


async def harass(link: ClientConnection, wire: Wire) -> int:
    """Send what is to be refused, and close the link by a message that is too large."""
    sent = 0
    for number in range(TIMES):
        for data in abuse(wire, 3 * number + 1).values():
            await link.send(data)
            sent += 1
    return sent


def memory() -> int:
    gc.collect()
    return psutil.Process().memory_info().rss


@pytest.mark.parametrize("wire", Wire)
async def test_what_may_not_come_in_is_counted_and_told_once_and_memory_stays_flat(wire):
    told: list[str] = []
    sink = logger.add(lambda line: told.append(line.record["message"]), level="WARNING")
    try:
        async with proxying(wire=wire) as gateway, caller(gateway, wire) as good:
            sent, before = 0, 0
            for _ in range(4):
                async with caller(gateway, wire) as link:
                    sent += await harass(link, wire)
                    await until(lambda: gateway.letters.refused.total() == sent)  # noqa: B023
                    assert link.close_code is None
                    with suppress(ConnectionClosed):
                        await link.send(bytes(HUGE))
                    await asyncio.wait_for(link.wait_closed(), 10)
                    assert link.close_code == 1009
                await until(lambda: len(gateway.held) == 1)
                before = before or memory()
            assert memory() - before < 2 * HUGE  # of three, of which the sender is here, too
            assert good.close_code is None
    finally:
        logger.remove(sink)
    dropped = [line for line in told if "dropped" in line]
    assert len(dropped) == len(set(dropped)) == len(gateway.letters.refused) >= 3
