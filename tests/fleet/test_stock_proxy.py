"""Stock Pipecat's WebSocket proxies: its server at our call's other end, its client at ours."""

import asyncio
import contextlib
import sys
import time
from pathlib import Path

import pytest
from pipecat.bus import (
    BusActivateWorkerMessage,
    BusCancelWorkerMessage,
    BusEndMessage,
    BusFrameMessage,
    BusJobRequestMessage,
    BusWorkerRegistryMessage,
)
from pipecat.bus.serializers import JSONMessageSerializer
from pipecat.frames.frames import (
    CancelWorkerFrame,
    InputAudioRawFrame,
    LLMFullResponseEndFrame,
    LLMFullResponseStartFrame,
    LLMTextFrame,
    OutputTransportReadyFrame,
    UserStartedSpeakingFrame,
)
from pipecat.processors.frame_processor import FrameDirection
from pipecat.registry.types import WorkerRegistryEntry
from websockets.asyncio.client import connect
from websockets.asyncio.server import serve
from websockets.exceptions import InvalidStatus

from pipecat_workers_cli.buses.link import Code
from pipecat_workers_cli.buses.stock_link import open_stock_link
from pipecat_workers_cli.buses.way import Way
from pipecat_workers_cli.call.links import Links
from pipecat_workers_cli.errors import PmwError
from pipecat_workers_cli.options import LinkOptions, Wire
from tests.call.conftest import open_words_call
from tests.fleet.proxies import TOKEN, proxying
from tests.ports import free_port
from tests.waiting import until

ROOT = Path(__file__).parents[2]
PROMPT = 2.0  # seconds in which all is answered; a flush that is waited for takes ten
DOWN = FrameDirection.DOWNSTREAM
written = JSONMessageSerializer().serialize
read = JSONMessageSerializer().deserialize


class Peer:
    """A stock process of `tests/peers`, its lines as they come."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self.told: list[str] = []

    async def hears(self, text: str) -> None:
        """Wait until it says something."""
        while not any(text in line for line in self.told):
            line = await asyncio.wait_for(self._process.stdout.readline(), 40)
            assert line, f"it ended after {self.told}"
            self.told.append(line.decode().rstrip())

    async def say(self, line: str, *, told: str) -> float:
        """Say a line; return the seconds until something is told that holds a text."""
        self.told.clear()
        began = time.monotonic()
        self._process.stdin.write(f"{line}\n".encode())
        await self.hears(told)
        return time.monotonic() - began


@contextlib.asynccontextmanager
async def peer(name: str, *words: object):
    """Run a stock process; what still runs at the end is killed."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", f"tests.peers.{name}", *map(str, words)),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        cwd=ROOT,
    )
    try:
        yield Peer(process)
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()


def our_call(port: int, token: str | None = None, recipe: str = "assistant", **options):
    """Hold a call whose assistant is at a port of this machine."""
    sets = [f'workers.assistant.at="ws://127.0.0.1:{port}/ws"']
    sets += [f'workers.assistant.token="{token}"'] if token else []
    links = Links(LinkOptions(wire=Wire.STOCK, **options))
    return open_words_call(recipe, sets=tuple(sets), distribution=links)


def stock_way(port: int, token: str | None = None) -> Way:
    return Way("assistant", f"ws://127.0.0.1:{port}/ws", token, LinkOptions(wire=Wire.STOCK))


def texts(call) -> list[tuple[str, str]]:
    return [(entry.worker, entry.text) for entry in call.entries if entry.event == "bot"]


async def test_a_stock_server_s_assistant_holds_our_call_and_its_goodbye_ends_it():
    port = free_port()
    async with peer("gateway", port, TOKEN) as stock:
        await stock.hears("ready")
        with pytest.raises(PmwError, match="doesn't let this call in") as refused:
            async with open_stock_link(stock_way(port)):
                pass
        assert "--token" in refused.value.mend
        async with open_stock_link(stock_way(port, TOKEN)):
            pass  # as a session does before it takes calls
        async with our_call(port, TOKEN) as call:
            await call.opened()
            began = time.monotonic()
            asked = await call.say("How much is the kit?")
            assert ("tool", "find_price") in [(entry.event, entry.name) for entry in asked]
            await call.until("bot", text="The kit is $199.")
            await call.say("And the boots?")
            assert time.monotonic() - began < PROMPT
            await call.transport.send_turn("goodbye")
            await asyncio.wait_for(call.call.ended.wait(), 10)
        await stock.hears("over")
    assert call.call.reason == "the worker at the other end said goodbye"
    assert texts(call) == [
        ("assistant", "Welcome to the stock Acme Corp!"),
        ("assistant", "Let me see."),
        ("assistant", "The kit is $199."),
        ("assistant", "Boots are $299."),
        ("assistant", "Thank you, goodbye!"),
    ]


async def test_a_stock_client_s_caller_is_answered_by_ours_whose_goodbye_ends_its_session():
    async with (
        proxying(tokens=(TOKEN,), wire=Wire.STOCK) as gateway,
        peer("caller", gateway.doorstep.url, TOKEN) as caller,
    ):
        await caller.hears("bot: Hello!")
        assert await caller.say("Where is my order number 42?", told="bot: Order number") < PROMPT
        assert await caller.say("How much are the boots?", told="$299") < PROMPT
        await caller.say("/noise", told="a sound")  # which comes back, as from a stock agent
        assert await caller.say("goodbye", told="over") < PROMPT
        await until(lambda: not gateway.held)
        assert not gateway.letters.refused
    assert gateway.opened == 1


async def test_a_stock_client_without_a_token_is_turned_away_before_anything_is_allocated():
    async with proxying(tokens=(TOKEN,), wire=Wire.STOCK) as gateway:
        with pytest.raises(InvalidStatus) as refused:
            await connect(gateway.doorstep.url)
        assert refused.value.response.status_code == 401
        assert gateway.opened == 0


@contextlib.asynccontextmanager
async def stranger(**more):
    """Connect to a gateway of ours by hand, as a stock client; it has been told who is there."""
    async with (
        proxying(wire=Wire.STOCK, **more) as gateway,
        connect(gateway.doorstep.url) as link,
    ):
        registry = read(await asyncio.wait_for(link.recv(), 10))
        assert isinstance(registry, BusWorkerRegistryMessage)
        assert [entry.name for entry in registry.workers] == ["assistant"]
        yield gateway, link


def activation(source: str = "acme") -> bytes:
    return written(BusActivateWorkerMessage(source=source, target="assistant", args={}))


async def test_a_frame_that_means_nothing_to_the_worker_comes_back_while_it_has_the_call():
    sound = InputAudioRawFrame(bytes(640), sample_rate=16_000, num_channels=1)
    started = BusFrameMessage(source="acme", frame=UserStartedSpeakingFrame(), direction=DOWN)
    async with stranger() as (gateway, link):
        await link.send(written(started))  # nobody has the call yet
        await link.send(activation())
        for frame in (sound, CancelWorkerFrame(), OutputTransportReadyFrame()):
            await link.send(written(BusFrameMessage(source="acme", frame=frame, direction=DOWN)))
        back = []
        while not back or type(back[-1]) is not OutputTransportReadyFrame:
            message = read(await asyncio.wait_for(link.recv(), 5))
            assert (message.source, message.target) == ("assistant", None)
            back.append(message.frame)
        kinds = {type(frame) for frame in back}
        assert {InputAudioRawFrame, CancelWorkerFrame} <= kinds
        assert UserStartedSpeakingFrame not in kinds
        assert gateway.held  # it is not ended by a frame that ends stock ones
        assert not gateway.letters.refused


REFUSED = {
    "an end": BusEndMessage(source="acme", target="assistant"),
    "an end for everybody": BusEndMessage(source="acme"),
    "a cancel of the worker": BusCancelWorkerMessage(source="acme", target="assistant"),
    "a registry": BusWorkerRegistryMessage(
        source="acme", runner="r", workers=[WorkerRegistryEntry(name="assistant")]
    ),
    "the worker's own name": BusJobRequestMessage(
        source="assistant", target="assistant", job_id="1"
    ),
    "a job for another": BusJobRequestMessage(source="acme", target="support", job_id="1"),
    "a frame of another's": BusFrameMessage(source="x", frame=LLMTextFrame("x"), direction=DOWN),
    "a frame of the worker's": BusFrameMessage(
        source="acme", target="x", frame=LLMTextFrame("x"), direction=DOWN
    ),
}


async def test_nobody_s_life_is_a_stock_client_s_business_nor_any_name_but_its_own():
    async with stranger() as (gateway, link):
        for message in REFUSED.values():
            await link.send(written(message))
        await until(lambda: gateway.letters.refused.total() == len(REFUSED))
        await link.send(activation())  # and it goes on
        assert isinstance(read(await asyncio.wait_for(link.recv(), 5)), BusFrameMessage)


async def test_a_stock_client_that_sends_too_much_rubbish_is_closed_and_no_one_else():
    async with stranger() as (gateway, link), connect(gateway.doorstep.url) as other:
        await other.recv()
        for _ in range(200):
            await link.send(b'{"__type__":"os.system","__data__":{"source":"acme"}}')
        await asyncio.wait_for(link.wait_closed(), 5)
        assert link.close_code == Code.GARBAGE
        await other.send(activation())
        assert isinstance(read(await asyncio.wait_for(other.recv(), 5)), BusFrameMessage)


@contextlib.asynccontextmanager
async def stock_like(*names: str, then):
    """Serve as a stock server does: tell of workers, then do what a test says."""

    async def tell(websocket) -> None:
        entries = [WorkerRegistryEntry(name=name) for name in names]
        registry = BusWorkerRegistryMessage(source="gateway", runner="r", workers=entries)
        await websocket.send(written(registry))
        await then(websocket)

    port = free_port()
    async with serve(tell, "127.0.0.1", port):
        yield port


@pytest.mark.parametrize("names", [("support",), ("assistant", "acme"), ()])
async def test_a_server_that_tells_of_others_is_refused(names):
    async with stock_like(*names, then=lambda websocket: websocket.wait_closed()) as port:
        with pytest.raises(PmwError, match=r"serves .*, not assistant"):
            async with open_stock_link(stock_way(port)):
                pass


async def test_what_is_no_stock_proxy_is_told_so():
    async with proxying() as gateway:
        way = stock_way(gateway.doorstep.port)
        with pytest.raises(PmwError, match="speaks another version") as refused:
            async with open_stock_link(way):
                pass
        assert "--wire" in refused.value.mend
    port = free_port()
    async with serve(lambda websocket: websocket.send("hello"), "127.0.0.1", port):
        with pytest.raises(PmwError, match="no proxy of stock Pipecat's"):
            async with open_stock_link(stock_way(port)):
                pass


async def test_a_server_s_lies_are_dropped_and_its_worker_still_answers():
    lies = [
        BusEndMessage(source="acme", reason="forged"),
        BusCancelWorkerMessage(source="assistant", target="acme"),
        BusActivateWorkerMessage(source="assistant", target="acme"),
        BusWorkerRegistryMessage(source="gateway", runner="r", workers=[]),
        BusFrameMessage(source="acme", frame=LLMTextFrame("forged"), direction=DOWN),
        BusFrameMessage(source="assistant", frame=CancelWorkerFrame(), direction=DOWN),
    ]
    answer = [LLMFullResponseStartFrame(), LLMTextFrame("The truth."), LLMFullResponseEndFrame()]

    async def lie(websocket) -> None:
        async for data in websocket:
            if isinstance(read(data), BusActivateWorkerMessage):
                true = [
                    BusFrameMessage(source="assistant", frame=frame, direction=DOWN)
                    for frame in answer
                ]
                for message in (*lies, *true):
                    await websocket.send(written(message))

    async with stock_like("assistant", then=lie) as port, our_call(port) as call:
        await call.until("bot", text="The truth.")
        assert not call.call.ended.is_set()
        assert call.call.main.agent == "assistant"
        assert texts(call) == [("assistant", "The truth.")]


async def test_a_stock_server_that_goes_away_in_mid_call_is_looked_for_again():
    links = []

    async def cut(websocket) -> None:
        links.append(websocket)
        async for data in websocket:
            if isinstance(read(data), BusActivateWorkerMessage) and len(links) == 1:
                websocket.transport.abort()

    async with stock_like("assistant", then=cut) as port, our_call(port):
        await until(lambda: len(links) == 2)
