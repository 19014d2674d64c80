"""What is sent over a link and may not cross it: from whoever holds a token, and from a far end."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import pytest
from pipecat import bus as messages
from pipecat.frames import frames
from pipecat.processors.frame_processor import FrameDirection
from pipecat.registry.types import WorkerRegistryEntry
from websockets.asyncio.client import ClientConnection, connect
from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed

from pipecat_workers_cli.buses.link import (
    CALLERS_END,
    SUBPROTOCOL,
    WORKER,
    WORKERS_END,
    Code,
)
from pipecat_workers_cli.call.links import Links
from pipecat_workers_cli.options import LinkOptions
from pipecat_workers_cli.wire import letter as letters
from pipecat_workers_cli.wire.format import Codec
from pipecat_workers_cli.wire.letter import Letter, Parcel
from pipecat_workers_cli.wire.notice import Joined, Offer, decode_offer, encode_notice
from tests.call.conftest import open_words_call
from tests.fleet.proxies import proxying, sets_for
from tests.ports import free_port
from tests.waiting import until

CALL, MAIN, HERE = "c0ffee00", "acme", "assistant"
OFFER = Offer(
    call=CALL, worker=HERE, main=MAIN, address=CALLERS_END, number=1, hash="x", speech=False
)
EPOCH = OFFER.epoch(1)
DOWN = FrameDirection.DOWNSTREAM


class Rogue:
    """One end of a link that says whatever it is told to."""

    def __init__(self, connection: ClientConnection | ServerConnection, sender: str) -> None:
        self.connection = connection
        self._sender = sender
        self._seq = 0

    async def send(
        self,
        body: bytes,
        *,
        call: str = CALL,
        worker: str = HERE,
        epoch: int = EPOCH,
        notice: bool = False,
        sender: str | None = None,
    ) -> None:
        self._seq += 1
        letter = Letter(call, worker, epoch, body, notice)
        parcel = Parcel(sender=sender or self._sender, seq=self._seq, letters=[letter])
        await self.connection.send(letters.encode(parcel))

    async def say(self, message: messages.BusMessage, **more: object) -> None:
        body = Codec().encode(message)
        assert body is not None
        await self.send(body, **more)


@asynccontextmanager
async def caller(port: int) -> AsyncIterator[Rogue]:
    """A caller's end that has opened a link to a gateway."""
    url = f"ws://127.0.0.1:{port}/ws"
    async with connect(url, subprotocols=[SUBPROTOCOL], compression=None) as connection:
        await connection.send(encode_notice(OFFER))
        yield Rogue(connection, CALLERS_END)


def frame(inner: frames.Frame, source: str = MAIN, **more: object) -> messages.BusFrameMessage:
    return messages.BusFrameMessage(source=source, frame=inner, direction=DOWN, **more)


FROM_CALLER = {
    "a cancel for all": messages.BusCancelMessage(source=MAIN),
    "an end for all": messages.BusEndMessage(source=MAIN),
    "an end of the worker": messages.BusEndWorkerMessage(source=MAIN, target=HERE),
    "a cancel of the worker": messages.BusCancelWorkerMessage(source=MAIN, target=HERE),
    "a registry": messages.BusWorkerRegistryMessage(
        source=MAIN, runner="r", workers=[WorkerRegistryEntry(name="other")]
    ),
    "somebody who is ready": messages.BusWorkerReadyMessage(source="other", runner="r"),
    "a forged source": messages.BusActivateWorkerMessage(source=HERE, target=HERE),
    "a broadcast": messages.BusTTSSpeakMessage(source=MAIN, text="hello"),
    "a job for another": messages.BusJobRequestMessage(source=MAIN, target="other", job_id="j"),
    "a frame of another": frame(frames.LLMRunFrame(), source="other"),
    "a frame that only workers send": frame(frames.TTSSpeakFrame("hello")),
}


async def test_a_caller_s_end_can_say_nothing_that_is_not_its_own():
    async with (
        proxying() as gateway,
        open_words_call(
            "assistant", sets=sets_for(gateway), distribution=Links(LinkOptions())
        ) as call,
        caller(gateway.doorstep.port) as rogue,
    ):
        await call.opened()
        await until(lambda: len(gateway.held) == 2)
        for message in FROM_CALLER.values():
            await rogue.say(message)
        await rogue.send(b"\x00garbage")
        await rogue.send(Codec().encode(frame(frames.LLMRunFrame())) or b"", call="another")
        await rogue.send(b"", epoch=EPOCH - 1)
        await rogue.send(b"", sender="somebody")
        await rogue.connection.send("text")
        await rogue.connection.send(b"\x93\x01")
        wanted = len(FROM_CALLER) + 6
        await until(lambda: gateway.letters.refused.total() == wanted)
        assert len(gateway.held) == 2  # one bad message ends nobody
        assert "$49" in (await call.say("And the paint?"))[-1].text


async def test_whoever_keeps_sending_what_is_refused_is_closed_and_told_why():
    async with proxying() as gateway, caller(gateway.doorstep.port) as rogue:
        with suppress(ConnectionClosed):
            async with asyncio.timeout(10):
                while True:
                    await rogue.say(FROM_CALLER["a cancel for all"])
                    await asyncio.sleep(0.001)
        assert rogue.connection.close_code == Code.GARBAGE
        assert "had to be refused" in (rogue.connection.close_reason or "")
        await until(lambda: not gateway.held)


@pytest.mark.parametrize(
    ("first", "code"),
    [
        (b"no offer", Code.GARBAGE),
        ("text", Code.GARBAGE),
        (b"\x00" * 1_100_000, 1009),
        (encode_notice(Offer(CALL, "other", MAIN, CALLERS_END, 1, "x", False)), 4404),
    ],
)
async def test_a_link_that_begins_wrongly_is_closed_with_a_code_that_says_so(first, code):
    async with (
        proxying() as gateway,
        connect(
            f"ws://127.0.0.1:{gateway.doorstep.port}/ws",
            subprotocols=[SUBPROTOCOL],
            compression=None,
        ) as connection,
    ):
        await connection.send(first)
        await asyncio.wait_for(connection.wait_closed(), 5)
        assert connection.close_code == code
        assert gateway.opened == 0


FROM_WORKER = {
    "a cancel for all": messages.BusCancelMessage(source=HERE),
    "an end of the main worker": messages.BusEndWorkerMessage(source=HERE, target=MAIN),
    "a registry": messages.BusWorkerRegistryMessage(
        source=HERE, runner="r", workers=[WorkerRegistryEntry(name=MAIN)]
    ),
    "an error": messages.BusWorkerErrorMessage(source=HERE, error="x"),
    "a forged source": messages.BusEndMessage(source=MAIN),
    "a transfer that is not granted": messages.BusActivateWorkerMessage(source=HERE, target="x"),
    "the main worker's sleep": messages.BusDeactivateWorkerMessage(source=HERE, target=MAIN),
    "a job that is not granted": messages.BusJobRequestMessage(
        source=HERE, target=MAIN, job_id="j"
    ),
    "an answer that nobody asked for": messages.BusJobResponseMessage(
        source=HERE, target=MAIN, job_id="j", status="completed"
    ),
    "a turn of the caller's": frame(frames.BotStartedSpeakingFrame(), source=HERE),
}


async def test_a_far_end_can_say_nothing_that_it_is_not_granted():
    """It joins as the worker, speaks out of turn, and then answers all the same."""
    port, said = free_port(), asyncio.Event()

    async def speak(connection: ServerConnection) -> None:
        offer = decode_offer(await connection.recv())  # pyright: ignore
        rogue = Rogue(connection, WORKERS_END)
        to = {"call": offer.call, "epoch": offer.epoch(1)}
        await rogue.send(encode_notice(Joined("rogue", "0", "x")), notice=True, **to)
        await connection.recv()
        for message in FROM_WORKER.values():
            await rogue.say(message, **to)
        await rogue.send(b"\x00", **to)
        await rogue.connection.send("text")
        for one in (
            frames.LLMFullResponseStartFrame(),
            frames.LLMTextFrame("Still here."),
            frames.LLMFullResponseEndFrame(),
        ):
            await rogue.say(frame(one, source=HERE), **to)
        said.set()
        await connection.wait_closed()

    def name(_connection: object, _request: object, response: object) -> None:
        response.headers[WORKER] = HERE  # pyright: ignore

    serving = serve(
        speak,
        "127.0.0.1",
        port,
        subprotocols=[SUBPROTOCOL],
        process_response=name,
        compression=None,
    )
    at = f'workers.assistant.at="ws://127.0.0.1:{port}/ws"'
    async with (
        serving,
        open_words_call("assistant", sets=(at,), distribution=Links(LinkOptions())) as call,
    ):
        await asyncio.wait_for(said.wait(), 10)
        await call.until("bot", worker=HERE, text="Still here.")
        assert not call.call.ended.is_set()
        (worker,) = (one for one in call.tap.snapshot().workers if one.name == HERE)
        assert worker.refused == len(FROM_WORKER) + 2
        assert worker.link_ms is not None
        assert call.call.main.agent == HERE
