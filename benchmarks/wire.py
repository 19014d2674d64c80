"""What it costs to write a message of a call as bytes and to read it again.

    python benchmarks/wire.py [--check] [--rounds 9]

Each message is written and read by `wire`; by msgspec alone, which writes the same values as
a list and checks nothing, after which the message and its frame are made by hand; and by
Pipecat's serializer: in turns, and by processor time. The sizes of what they write stand
beside. `--check` exits with 1 where a figure is past its limit.
"""

import argparse
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import msgspec
from loguru import logger
from pipecat.adapters.llm.schemas.function_schema import FunctionSchema
from pipecat.adapters.llm.schemas.tools_schema import ToolsSchema
from pipecat.bus import BusFrameMessage
from pipecat.bus.serializers import JSONMessageSerializer
from pipecat.frames.frames import Frame, LLMContextFrame, LLMTextFrame, TTSAudioRawFrame
from pipecat.processors.aggregators.llm_context import LLMContext
from pipecat.processors.frame_processor import FrameDirection

from pipecat_workers_cli.wire.format import Codec

ROUND = 0.1  # seconds of processor time that one way is measured at once
SOUND = 640  # bytes: 20 ms at 16 kHz


@dataclass(frozen=True)
class Sample:
    """A message, and how far `wire` may be from the others.

    Attributes:
        make: Makes what the message carries.
        values: The same for msgspec alone.
        to_msgspec: How much longer than msgspec alone it may take.
        to_stock: How much of the time of Pipecat's serializer it may take.
        size: Bytes that it may be written in.
    """

    make: Callable[[], Frame]
    values: object
    to_msgspec: float
    to_stock: float
    size: int


def conversation() -> LLMContext:
    """Make a conversation of forty messages, a tool's call and answer in every four."""
    said = "I would like to know what the tornado kit costs, and whether batteries are included. "
    function = {"name": "price", "arguments": '{"kit": "tornado"}'}
    call = {"id": "call-1", "type": "function", "function": function}
    turn: list[Any] = [
        {"role": "user", "content": said},
        {"role": "assistant", "tool_calls": [call]},
        {"role": "tool", "content": '{"price": 199}', "tool_call_id": "call-1"},
        {"role": "assistant", "content": said * 2},
    ]
    kit = {"type": "string", "enum": ["tornado", "boots"], "description": "which kit"}
    tools = [FunctionSchema(name, "What it costs.", {"kit": kit}, ["kit"]) for name in "abcd"]
    return LLMContext(messages=turn * 10, tools=ToolsSchema(standard_tools=tools))


def samples() -> dict[str, Sample]:
    """Make what crosses most often, and what is largest."""
    context, ids = conversation(), "0b1f9c5e-6a34-4d05-9d0c-3f6f7f3b7c55"
    assert isinstance(context.tools, ToolsSchema)
    tools = [tool.to_default_dict() for tool in context.tools.standard_tools]
    sound, head = bytes(SOUND), ["support", None, 1, None]
    return {
        "20 ms of sound": Sample(
            lambda: TTSAudioRawFrame(sound, 16_000, 1, context_id=ids),
            [*head, sound, 16_000, 1, ids],
            to_msgspec=5,
            to_stock=0.5,
            size=710,
        ),
        "a word": Sample(
            lambda: LLMTextFrame(" batteries"),
            [*head, " batteries", None, True, True],
            to_msgspec=5,
            to_stock=0.5,
            size=40,
        ),
        "40 messages": Sample(
            lambda: LLMContextFrame(context),
            [*head, context.messages, tools],
            to_msgspec=8,
            to_stock=0.6,
            size=6_000,
        ),
    }


def carried(frame: Frame) -> BusFrameMessage:
    """Make the message that carries a frame."""
    return BusFrameMessage(source="support", frame=frame, direction=FrameDirection.DOWNSTREAM)


def took(way: Callable[[], object]) -> float:
    """Return the processor time of one go, in µs."""
    goes, spent, began = 0, 0.0, time.process_time()
    while spent < ROUND:
        for _ in range(50):
            way()
        goes += 50
        spent = time.process_time() - began
    return spent / goes * 1e6


def measure(what: str, sample: Sample, rounds: int) -> bool:
    """Measure one message each way and print a line; return whether all is within limits."""
    there, here, stock = Codec(), Codec(), JSONMessageSerializer()
    pack, unpack = msgspec.msgpack.Encoder().encode, msgspec.msgpack.Decoder().decode
    message = carried(sample.make())
    ways: tuple[Callable[[], object], ...] = (
        lambda: here.decode(there.encode(message) or b""),
        lambda: (unpack(pack(sample.values)), carried(sample.make())),
        lambda: stock.deserialize(stock.serialize(message)),
    )
    for way in ways:
        way()
    times = [[took(way) for way in ways] for _ in range(rounds)]
    ours, alone, stocks = (statistics.median(column) for column in zip(*times, strict=True))
    to_alone = statistics.median(row[0] / row[1] for row in times)
    to_stock = statistics.median(row[0] / row[2] for row in times)
    size = len(there.encode(message) or b"")
    sizes = f"{size:,} / {len(pack(sample.values)):,} / {len(stock.serialize(message)):,}"
    print(
        f"{what:16}{ours:8.1f}{alone:10.1f}{stocks:9.1f}{to_alone:12.1f}{to_stock:10.2f}"
        f"{sizes:>26}",
        flush=True,
    )
    return to_alone <= sample.to_msgspec and to_stock <= sample.to_stock and size <= sample.size


def main() -> None:
    """Measure, print, and check if asked to."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--check", action="store_true")
    parser.add_argument("--rounds", type=int, default=9)
    options = parser.parse_args()
    logger.remove()
    print("written and read, µs of processor time; ours to the others; bytes in the same order")
    print(f"{'':16}{'ours':>8}{'msgspec':>10}{'stock':>9}{'to msgspec':>12}{'to stock':>10}")
    failed = [
        what for what, sample in samples().items() if not measure(what, sample, options.rounds)
    ]
    if failed:
        print(f"past the limit: {', '.join(failed)}")
    if options.check:
        sys.exit(bool(failed))


if __name__ == "__main__":
    main()
