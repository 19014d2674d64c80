"""What a stock process writes is read here, and what is written here is what it would write."""

import asyncio
import json
import random
import sys
import time
import tracemalloc

import pytest
from loguru import logger
from pipecat.bus import messages
from pipecat.bus.serializers import JSONMessageSerializer
from pipecat.frames import frames
from pipecat.pipeline.job_context import JobStatus
from pipecat.processors.frame_processor import FrameDirection

from pipecat_workers_cli.wire.limits import CONTAINERS, Refused
from pipecat_workers_cli.wire.stock import FRAME_SHAPES, MESSAGE_SHAPES, OURS_ALONE, StockCodec
from tests.wire.samples import VALUES, carried, some_frames, some_messages, told

STOCK = JSONMessageSerializer()
MESSAGES = [one for one in some_messages() if not isinstance(one, OURS_ALONE)]
EVERYTHING = [*MESSAGES, *(carried(frame) for frame in some_frames())]
REFERRING = ("id", "broadcast_sibling_id", "segment_id")
MUTATED, SEED = 5_000, 20_240_607


def kind_of(message):
    return type(getattr(message, "frame", message)).__name__


def as_stock_writes(codec, message):
    """Return what stock makes of a message whose frame has the ids that leave here."""
    frame = getattr(message, "frame", None)
    ids = {name: getattr(frame, name, None) for name in REFERRING}
    try:
        for name, id in ids.items():
            if id is not None:
                setattr(frame, name, codec.ids.leaving(id))
        return STOCK.serialize(message)
    finally:
        for name, id in ids.items():
            if id is not None:
                setattr(frame, name, id)


def test_the_samples_have_one_of_each_type_that_crosses():
    kinds = {name.rpartition(".")[2] for name in (*MESSAGE_SHAPES, *FRAME_SHAPES)}
    assert kinds == {kind_of(one) for one in EVERYTHING} | {"BusFrameMessage"}


@pytest.mark.parametrize("message", EVERYTHING, ids=kind_of)
def test_every_byte_is_as_stock_writes_it(message):
    codec = StockCodec()
    assert codec.encode(message) == as_stock_writes(codec, message)
    assert not codec.refused


def without_ids(message):
    """Return what a message says besides ids, which are made anew, and calls' conversations."""
    for name in REFERRING[1:]:
        if getattr(getattr(message, "frame", None), name, None) is not None:
            setattr(message.frame, name, "made anew")
    for call in getattr(getattr(message, "frame", None), "function_calls", ()):
        call.context = None  # nobody here asks for it
    return told(message)


@pytest.mark.parametrize("message", EVERYTHING, ids=kind_of)
def test_what_stock_writes_arrives_as_it_does_in_a_stock_process(message):
    codec = StockCodec()
    data = STOCK.serialize(message)
    assert codec.look(data).source == message.source
    arrived = codec.decode(data)
    assert arrived.id != message.id
    assert without_ids(arrived) == without_ids(STOCK.deserialize(data))


@pytest.mark.parametrize("message", EVERYTHING, ids=kind_of)
def test_stock_reads_what_is_written_here(message):
    data = StockCodec().encode(message)
    assert data is not None
    assert STOCK.serialize(STOCK.deserialize(data)) == data


def test_a_status_is_one_again_where_stock_leaves_a_text():
    job = messages.BusJobResponseMessage(
        source="a", target="b", job_id="j", status=JobStatus.FAILED, response=None
    )
    data = STOCK.serialize(job)
    assert StockCodec().decode(data).status is JobStatus.FAILED


def job(payload):
    return messages.BusJobRequestMessage(source="a", target="b", job_id="j", payload=payload)


@pytest.mark.parametrize(
    "theirs",
    [
        {"__type__": "os.system", "__data__": "touch /nowhere"},
        {"__type__": "evil_module.Frame", "__data__": {}},
        {"__type__": "pipecat.frames.frames.EndFrame", "__data__": {}},
        {"__type__": 1, "__data__": None},
        {"__type__": "bytes", "and": "no data"},
        [{"__type__": "x", "__data__": {"__type__": "y", "__data__": [1]}}],
    ],
)
def test_a_users_own_dict_is_no_type_and_nothing_is_imported(theirs):
    before = set(sys.modules)
    message = job({"theirs": theirs})
    data = StockCodec().encode(message)
    assert data == STOCK.serialize(message)
    assert StockCodec().decode(data).payload == {"theirs": theirs}
    assert set(sys.modules) == before


def test_bytes_in_a_payload_arrive_as_bytes():
    data = StockCodec().encode(job({"sound": b"\x00\xff"}))
    assert StockCodec().decode(data).payload == {"sound": b"\x00\xff"}


class Own:
    """A value that only its own program knows."""


def test_what_cannot_be_written_is_lost_as_stock_loses_it_and_said_once():
    said = []
    sink = logger.add(said.append, level="WARNING")
    try:
        codec, message = StockCodec(), job({"own": Own(), "more": [Own(), len], "kept": 1})
        assert codec.encode(message) == STOCK.serialize(message)
    finally:
        logger.remove(sink)
    assert codec.refused == {"Own": 2}
    assert len([line for line in said if "stays in this process" in line]) == 1


@pytest.mark.parametrize(
    "frame",
    [
        frames.EndFrame(),
        frames.CancelFrame(),
        frames.EndWorkerFrame(),
        frames.CancelWorkerFrame(),
        frames.StartFrame(),
        frames.TranscriptionFrame("hello", "caller", "now"),
        frames.InputAudioRawFrame(bytes(640), 16_000, 1),
    ],
    ids=lambda frame: type(frame).__name__,
)
def test_a_frame_that_is_not_in_the_table_neither_leaves_nor_is_made(frame):
    codec = StockCodec()
    assert codec.encode(carried(frame)) is None
    data = STOCK.serialize(carried(frame))
    assert codec.look(data).hands_on
    with pytest.raises(Refused, match="table"):
        codec.decode(data)


def test_such_a_frame_is_handed_on_as_it_came():
    codec = StockCodec()
    sent = carried(frames.InputAudioRawFrame(bytes(640), 16_000, 1))
    data = codec.sent_back(STOCK.serialize(sent), "greeter")
    sent.source = "greeter"
    assert json.loads(data) == json.loads(STOCK.serialize(sent))


async def test_a_probe_gets_its_event_back_in_its_own_process_alone():
    here, there = StockCodec(), StockCodec()
    probe = frames.PipelineFlushFrame(event=asyncio.Event(), origin="main")
    away = there.decode(here.encode(carried(probe))).frame
    assert away.event is None
    assert here.decode(there.encode(carried(away))).frame.event is probe.event


async def test_a_probe_that_came_back_from_stock_gets_its_event_back():
    here = StockCodec()
    probe = frames.PipelineFlushFrame(event=asyncio.Event(), origin="main")
    returned = STOCK.serialize(STOCK.deserialize(here.encode(carried(probe))))
    assert here.decode(returned).frame.event is probe.event


def a_pair():
    down, up = frames.InterruptionFrame(), frames.InterruptionFrame()
    down.broadcast_sibling_id, up.broadcast_sibling_id = up.id, down.id
    return down, up


def test_the_halves_of_a_broadcast_find_each_other_under_new_ids():
    here, (down, up) = StockCodec(), a_pair()
    first, second = (here.decode(STOCK.serialize(carried(one))).frame for one in (down, up))
    assert (first.broadcast_sibling_id, second.broadcast_sibling_id) == (second.id, first.id)
    assert len({first.id, second.id, down.id, up.id}) == 4


def test_a_frame_that_is_only_handed_on_keeps_its_id_where_it_came_from():
    here, (down, _) = StockCodec(), a_pair()
    theirs = STOCK.serialize(carried(down))
    returned = STOCK.deserialize(here.encode(here.decode(theirs)))
    assert returned.frame.id == down.id
    assert returned.frame.broadcast_sibling_id == down.broadcast_sibling_id
    ours = here.encode(carried(down))
    assert here.decode(STOCK.serialize(STOCK.deserialize(ours))).frame.id == down.id


def test_ids_leave_far_above_what_a_stock_process_counts_to():
    arrived = STOCK.deserialize(StockCodec().encode(carried(frames.LLMTextFrame("Hi"))))
    assert arrived.frame.id > 2**32


def framed(name, **fields):
    data = {"__type__": f"pipecat.frames.frames.{name}", "__data__": {"id": 1, **fields}}
    down = {"__type__": "pipecat.processors.frame_processor.FrameDirection"}
    message = {"source": "a", "frame": data, "direction": {**down, "__data__": "DOWNSTREAM"}}
    return typed("BusFrameMessage", **message)


def typed(name, **fields):
    return json.dumps(
        {"__type__": f"pipecat.bus.messages.{name}", "__data__": fields}, separators=(",", ":")
    ).encode()


def asked(payload):
    """A job request whose payload is this JSON."""
    whole = typed("BusJobRequestMessage", source="a", target="b", job_id="j", payload="HERE")
    return whole.replace(b'"HERE"', payload)


GARBAGE = {
    "nothing": b"",
    "text": b"hello, are you a message?",
    "a list": b"[1]",
    "no type": b'{"__data__":{"source":"a"}}',
    "no data": b'{"__type__":"pipecat.bus.messages.BusEndMessage"}',
    "a module to import": b'{"__type__":"os.system","__data__":{"source":"a"}}',
    "a frame for a message": b'{"__type__":"pipecat.frames.frames.EndFrame","__data__":{}}',
    "20 MB": b'"' + bytes(20_000_000) + b'"',
    "20 MB of a message": asked(b'"' + b"x" * 20_000_000 + b'"'),
    "10,000 deep": b"[" * 10_000,
    "10,000 deep in a payload": asked(b'{"a":' + b"[" * 10_000 + b"]" * 10_000 + b"}"),
    "40 deep in a payload": asked(b'{"a":' + b"[" * 40 + b"]" * 40 + b"}"),
    "many lists": asked(b'{"a":[' + b"[]," * (2 * CONTAINERS) + b"1]}"),
    "half a character": asked(rb'{"a":"\ud800"}'),
    "not a number": asked(b'{"a":NaN}'),
    "a payload that is a list": asked(b"[1]"),
    "a payload that is bytes": asked(b'{"__type__":"bytes","__data__":"AAAA"}'),
    "bytes that are none": asked(b'{"a":{"__type__":"bytes","__data__":"%"}}'),
    "no source": typed("BusEndMessage", reason="x"),
    "a number for a source": typed("BusEndMessage", source=1),
    "a name too long": typed("BusEndMessage", source="a" * 1_000),
    "a number for a target": typed("BusEndMessage", source="a", target=1),
    "a job without an id": typed("BusJobRequestMessage", source="a"),
    "a status of no kind": typed("BusJobResponseMessage", source="a", job_id="j", status="fine"),
    "a registry of anything": typed(
        "BusWorkerRegistryMessage", source="a", runner="r", workers=[1]
    ),
    "a message that stays": typed("BusAddWorkerMessage", source="a", worker={}),
    "no frame": typed("BusFrameMessage", source="a"),
    "a message in a frame's place": typed(
        "BusFrameMessage",
        source="a",
        frame={"__type__": "pipecat.bus.messages.BusEndMessage", "__data__": {"source": "a"}},
    ),
    "words that are a number": framed("LLMTextFrame", text=1),
    "sound without channels": framed(
        "OutputAudioRawFrame",
        audio={"__type__": "bytes", "__data__": "AAA="},
        sample_rate=16_000,
        num_channels=0,
    ),
    "sound that is text": framed(
        "OutputAudioRawFrame", audio="AAA=", sample_rate=1, num_channels=1
    ),
    "a context that is text": framed("LLMContextFrame", context="hello"),
    "an id that is text": framed("LLMTextFrame", id="1", text="Hi"),
    "metadata that is text": framed("LLMTextFrame", text="Hi", metadata="x"),
}


def why_refused(codec, data):
    try:
        codec.look(data)
        codec.decode(data)
    except Refused as refused:
        return refused.why
    pytest.fail("it was taken for a message")


def test_the_job_and_the_frame_that_these_tests_spoil_are_such():
    assert StockCodec().decode(asked(b'{"a":1}')).payload == {"a": 1}
    assert StockCodec().decode(framed("LLMTextFrame", text="Hi")).frame.text == "Hi"


@pytest.mark.parametrize("data", GARBAGE.values(), ids=GARBAGE.keys())
def test_what_is_no_message_is_refused_at_once_and_memory_stays_flat(data):
    codec = StockCodec()
    tracemalloc.start()
    try:
        began = time.perf_counter()
        reasons = {why_refused(codec, data) for _ in range(3)}
        took = time.perf_counter() - began
        kept, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert took < 0.5
    assert kept < 100_000
    assert most < 2_000_000
    assert len(reasons.pop()) < 200


def test_spoilt_messages_are_either_refused_or_whole():
    dice, codec, refused = random.Random(SEED), StockCodec(), 0
    written = [STOCK.serialize(message) for message in EVERYTHING]
    for _ in range(MUTATED):
        data = bytearray(dice.choice(written))
        at = dice.randrange(len(data))
        other = dice.choice(written)
        start = dice.randrange(len(other))
        data[at : at + dice.randint(0, 8)] = other[start : start + dice.randint(0, 8)]
        try:
            codec.look(bytes(data))
            message = codec.decode(bytes(data))
        except Refused:
            refused += 1
        else:
            codec.encode(message)
    assert MUTATED / 3 < refused < MUTATED


def test_values_that_no_field_has_by_default_survive_a_round_trip_through_stock():
    data = StockCodec().encode(job(VALUES))
    assert StockCodec().decode(STOCK.serialize(STOCK.deserialize(data))).payload == VALUES


def test_a_direction_is_an_enum_by_name():
    frame = carried(frames.LLMTextFrame("Hi"), direction=FrameDirection.UPSTREAM)
    assert StockCodec().decode(STOCK.serialize(frame)).direction is FrameDirection.UPSTREAM


def test_what_is_no_text_where_nobody_looked_is_refused_when_it_is_handed_on():
    data = (
        b'{"__type__":"pipecat.bus.messages.BusFrameMessage","__data__":'
        b'{"source":"a","frame":{"__type__":"x.Y","__data__":{}},"\x93":1}}'
    )
    codec = StockCodec()
    assert codec.look(data).hands_on
    with pytest.raises(Refused):
        codec.sent_back(data, "greeter")
