"""What anybody may send at the ends of links, and those ends as a link feeds them.

`python -m tests.fleet.fuzzing` looks for messages that are judged differently from all others
and writes one of each into `tests/fleet/corpus`.
"""

import asyncio
import base64
import importlib
import itertools
import json
import random
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch

import msgspec
from hypothesis import strategies as some
from loguru import logger
from pipecat.bus import BusActivateWorkerMessage, BusJobRequestMessage

from pipecat_workers_cli.buses.door import CallersDoor, Door, WorkersDoor
from pipecat_workers_cli.buses.link import CALLERS_END, WORKERS_END, Link
from pipecat_workers_cli.buses.pace import Pace
from pipecat_workers_cli.buses.remote import HubBus, RemoteBus, Seat, SpokeBus
from pipecat_workers_cli.buses.stock_link import (
    StockCallersDoor,
    StockCallersLink,
    StockWorkersDoor,
    StockWorkersLink,
)
from pipecat_workers_cli.wire import letter as letters
from pipecat_workers_cli.wire.format import Codec
from pipecat_workers_cli.wire.letter import Letter, Parcel
from pipecat_workers_cli.wire.notice import Joined, Left, Offer, Present, ToolBegun, encode_notice
from pipecat_workers_cli.wire.stock import StockCodec
from tests.wire.samples import carried, some_frames, some_messages

CORPUS = Path(__file__).parent / "corpus"
CALL, MAIN, WORKER = "c0ffee00", "acme", "support"  # as the samples call them
OFFER = Offer(
    call=CALL, worker=WORKER, main=MAIN, address=CALLERS_END, number=1, hash="", speech=False
)
EPOCH = OFFER.epoch(1)
SIDES = ("pmw-caller", "pmw-worker", "stock-caller", "stock-worker")
TAKEN, KEPT = "taken", "kept by the link"


class Fed:
    """A WebSocket whose other end says what a test puts there."""

    latency = 0.0
    close_code: int | None = None
    protocol = SimpleNamespace(close_rcvd=None)

    def __init__(self) -> None:
        self.data: bytes | str = b""

    async def recv(self) -> bytes | str:
        return self.data

    async def send(self, data: bytes) -> None:
        assert isinstance(data, bytes)


class End:
    """One end of a link: all that stands between a socket and the workers of a process."""

    def __init__(self, side: str) -> None:
        self.side = side
        self._fed: Any = Fed()
        wire, end = side.split("-")
        at_caller = end == "caller"
        address, peer = (CALLERS_END, WORKERS_END) if at_caller else (WORKERS_END, CALLERS_END)
        if wire == "pmw":
            link = Link(self._fed, address=address, peer=peer, most_there=1_048_576)
        else:
            link = StockCallersLink(self._fed) if at_caller else StockWorkersLink(self._fed, OFFER)
        self._link: Any = link
        self.post = link.post()
        # How fast they come is not what is tried here.
        endless = Pace(1e12, burst=1e12)
        self.post._pace = link._pace = endless
        self._bus: RemoteBus
        if at_caller:
            kind = StockCallersDoor if wire == "stock" else CallersDoor
            hub = HubBus(CALL, main=MAIN, on_notice=self._note, on_end=self._note)
            seat = Seat(peer, EPOCH, self.post, kind(WORKER, hub, main=MAIN, transfers=(), asks=()))
            hub.take_in(WORKER, replace(seat, codec=link.codec))
            self._bus, self._take = hub, hub.take
            self._begin()
        else:
            door: Door = (StockWorkersDoor if wire == "stock" else WorkersDoor)(WORKER, main=MAIN)
            spoke = SpokeBus(
                CALL,
                worker=WORKER,
                hub=Seat(peer, EPOCH, self.post, door, link.codec),
                on_notice=self._note,
            )
            self._bus, self._take = spoke, spoke.take

    def _note(self, *_: object) -> None:
        """Take note of nothing."""

    def _begin(self) -> None:
        """Give the worker the call, and a job to do."""
        self._bus.on_message_received(BusActivateWorkerMessage(source=MAIN, target=WORKER))
        job = BusJobRequestMessage(source=MAIN, target=WORKER, job_id="j1")
        self._bus.on_message_received(job)

    async def open(self) -> "End":
        """Let the link be past its beginning."""
        self.post._takers[CALL, WORKER] = self._take
        if isinstance(self._link, StockWorkersLink):
            self._link._ready.set()
            self._link._is_active = True
        if self._link.codec is not None:
            await self._link.greet(OFFER)
            await self._link.receive()  # what it tells of itself
        return self

    async def feed(self, data: bytes | str) -> str:
        """Let data arrive; return what came of it.

        Whatever isn't foreseen is an error here, also where a post would go on.
        """
        self._fed.data = data
        self.post.counts.refused.clear()
        self.post._last_from.clear()  # whatever number it has, it is looked into
        before = self.post.counts.taken
        for parcel in await self._link.receive():
            await self.post._take(parcel)
        self.post._outboxes.clear()  # nobody sends them
        reasons = sorted(self.post.counts.refused)
        assert not any(reason.endswith("when it was taken") for reason in reasons), reasons
        if reasons:
            return "; ".join(reasons)
        return TAKEN if self.post.counts.taken > before else KEPT


def seeds(side: str) -> list[bytes]:
    """Messages of all kinds, as they would arrive at an end; most of them may not come in."""
    wire, end = side.split("-")
    here, there = (MAIN, WORKER) if end == "caller" else (WORKER, MAIN)
    said: list[Any] = [*some_messages(), *(carried(frame) for frame in some_frames())]
    for message in said:
        message.source = there
        message.target = here if message.target else None
    if wire == "stock":
        encode = StockCodec().encode
        return [data for message in said if (data := encode(message)) is not None]
    encode = Codec().encode
    peer = WORKERS_END if end == "caller" else CALLERS_END
    notices = (Left("x"), Present([MAIN]), ToolBegun("t", "n"), Joined("h", "1", "x"))
    posted = [Letter(CALL, WORKER, EPOCH, encode(message) or b"") for message in said]
    posted += [Letter(CALL, WORKER, EPOCH, encode_notice(one), notice=True) for one in notices]
    posted += [Letter(CALL, WORKER, EPOCH - 1, posted[0].body)]
    return [letters.encode(Parcel(peer, NUMBERS(), [one])) for one in posted]


NUMBERS = itertools.count(1).__next__


EVIL = (
    "os.system",
    "subprocess.Popen",
    "builtins.eval",
    "antigravity.fly",
    "this.s",
    "tests.peers.bot.main",
    "pipecat.bus.messages.BusEndMessage",
    "pipecat.frames.frames.CancelWorkerFrame",
    "pipecat.frames.frames.LLMTextFrame",
    "pipecat.processors.aggregators.llm_context.LLMContext",
    "pipecat.services.settings.LLMSettings",
    "bytes",
    "",
)
leaves = (
    some.none()
    | some.booleans()
    | some.integers(-(2**70), 2**70)
    | some.floats()
    | some.text(max_size=12)
    | some.sampled_from([MAIN, WORKER, "j1", *EVIL])
)
KEYS = (
    "__type__ __data__ __specific__ id name source target frame direction text job_id status "
    "payload args messages tools metadata llm message data audio"
)
keys = some.sampled_from(KEYS.split()) | some.text(max_size=5)
values = some.recursive(
    leaves,
    lambda inner: some.lists(inner, max_size=5) | some.dictionaries(keys, inner, max_size=6),
    max_leaves=25,
)
typed = some.builds(
    lambda name, data: {"__type__": name, "__data__": data},
    some.sampled_from(EVIL) | some.text(max_size=20),
    values,
)


def stock_made() -> some.SearchStrategy[bytes]:
    """Objects as stock writes them, whatever they are called and hold."""
    names = [json.loads(one)["__type__"] for one in seeds("stock-caller")]
    fields = some.dictionaries(keys, values | typed, max_size=6)
    inside = some.builds(
        lambda given, source, target: {"id": 1, "source": source, "target": target, **given},
        fields,
        some.sampled_from([MAIN, WORKER]),
        some.sampled_from([None, MAIN, WORKER]),
    )
    frames = [
        json.loads(one)["__data__"]["frame"]["__type__"]
        for one in seeds("stock-caller")
        if b'"frame"' in one
    ]
    framed = some.builds(
        lambda given, name, held: {
            **given,
            "frame": {"__type__": name, "__data__": {"id": 1, "metadata": {}, **held}},
            "direction": {
                "__type__": "pipecat.processors.frame_processor.FrameDirection",
                "__data__": "DOWNSTREAM",
            },
        },
        inside,
        some.sampled_from([*frames, *EVIL]),
        fields,
    )
    carrier = "pipecat.bus.messages.BusFrameMessage"
    plain = some.tuples(some.sampled_from([*names, *EVIL]), inside)
    told = plain | framed.map(lambda data: (carrier, data))
    return told.map(lambda it: json.dumps({"__type__": it[0], "__data__": it[1]}).encode())


def pmw_made(side: str) -> some.SearchStrategy[bytes]:
    """Parcels of ours whose bodies are arrays of anything."""
    peer = WORKERS_END if side == "pmw-caller" else CALLERS_END
    small = some.recursive(
        some.none()
        | some.booleans()
        | some.integers(-(2**63), 2**63)
        | some.floats()
        | some.text(max_size=12)
        | some.binary(max_size=12)
        | some.sampled_from([MAIN, WORKER, "j1", *EVIL]),
        lambda inner: (
            some.lists(inner, max_size=8)
            | some.dictionaries(some.text(max_size=5), inner, max_size=4)
        ),
        max_leaves=25,
    )
    body = some.builds(
        lambda number, source, rest: msgspec.msgpack.encode([1, [number, source, *rest]]),
        some.integers(0, 130),
        some.sampled_from([MAIN, WORKER]),
        some.lists(small, max_size=7),
    )

    def parcel(body: bytes, notice: bool) -> bytes:
        letter = Letter(CALL, WORKER, EPOCH, body, notice)
        return letters.encode(Parcel(peer, NUMBERS(), [letter]))

    return some.builds(parcel, body | small.map(msgspec.msgpack.encode), some.booleans())


def messages_for(side: str) -> some.SearchStrategy[bytes | str]:
    """Anything that may arrive at an end."""
    known = seeds(side)
    dice = some.integers(0, 2**32).map(random.Random)
    spoilt = some.builds(spoil, some.just(side), dice, some.just(known))
    made = stock_made() if side.startswith("stock") else pmw_made(side)
    return made | spoilt | some.binary(max_size=200) | some.text(max_size=20)


def spoil(side: str, dice: random.Random, known: list[bytes]) -> bytes:
    """Spoil a message for an end, or what is round it."""
    data = dice.choice(known)
    if not side.startswith("pmw") or dice.random() < 0.2:
        return spoilt_bytes(data, dice, known)
    parcel = letters.decode(data)
    (one,) = parcel.letters
    bodies = [letters.decode(other).letters[0].body for other in dice.sample(known, 3)]
    spoilt = Letter(
        one.call, one.worker, one.epoch, spoilt_bytes(one.body, dice, bodies), one.notice
    )
    return letters.encode(Parcel(parcel.sender, parcel.seq, [spoilt]))


def spoilt_bytes(data: bytes, dice: random.Random, known: list[bytes]) -> bytes:
    """Change a few bytes, cut some out, or put some of another message in."""
    spoilt = bytearray(data)
    for _ in range(dice.randint(1, 3)):
        at = dice.randrange(len(spoilt) + 1)
        match dice.randrange(4):
            case 0:
                spoilt[at:at] = dice.randbytes(dice.randint(1, 4))
            case 1:
                del spoilt[at : at + dice.randint(1, 6)]
            case 2:
                spoilt[at : at + 1] = dice.choice([b"\xc0", b"\xdd", b'"', b"{", b"[", b"0", b"-"])
            case _:
                other = dice.choice(known)
                start = dice.randrange(len(other))
                spoilt[at : at + 20] = other[start : start + 20]
    return bytes(spoilt)


@contextmanager
def importing_nothing() -> Iterator[None]:
    """Fail if a module is imported, or looked for, that was not there before."""
    before, asked = set(sys.modules), []
    real, real_too = __import__, importlib.import_module

    def note(name: str, *rest: Any, **more: Any) -> Any:
        if name and name not in before and not (rest and len(rest) > 3 and rest[3]):
            asked.append(name)
        return real(name, *rest, **more)

    def note_too(name: str, *rest: Any) -> Any:
        asked.append(name)
        return real_too(name, *rest)

    with patch("builtins.__import__", note), patch("importlib.import_module", note_too):
        yield
    assert not asked, asked
    assert set(sys.modules) == before, set(sys.modules) - before


def saved(side: str) -> list[tuple[bytes, str]]:
    """What the corpus has for an end: each message, and what came of it."""
    lines = (CORPUS / f"{side}.jsonl").read_text(encoding="utf-8").splitlines()
    rows = map(json.loads, lines)
    return [(base64.b64decode(row["data"]), row["outcome"]) for row in rows]


async def _find(side: str, rounds: int) -> dict[str, bytes]:
    """Return the shortest message found for each thing that can come of one."""
    dice, known, found = random.Random(7), seeds(side), dict[str, bytes]()
    tried: Iterable[bytes] = itertools.chain(
        known, (spoil(side, dice, known) for _ in range(rounds))
    )
    for data in tried:
        end = await End(side).open()
        outcome = await end.feed(data)
        if outcome not in found or len(data) < len(found[outcome]):
            found[outcome] = data
    return found


if __name__ == "__main__":
    logger.remove()
    CORPUS.mkdir(exist_ok=True)
    for side in SIDES:
        rows = asyncio.run(_find(side, 20_000))
        lines = [
            json.dumps({"outcome": outcome, "data": base64.b64encode(data).decode()})
            for outcome, data in sorted(rows.items())
        ]
        (CORPUS / f"{side}.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
        print(side, len(lines))
