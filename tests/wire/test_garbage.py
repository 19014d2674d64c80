"""Whatever arrives, either a message comes of it or `Refused`; nothing else, and no memory."""

import random
import time
import tracemalloc

import msgspec
import pytest

from pipecat_workers_cli.wire import letter
from pipecat_workers_cli.wire.format import Codec
from pipecat_workers_cli.wire.letter import Letter, Parcel
from pipecat_workers_cli.wire.limits import CONTAINERS, MESSAGE_BYTES, Refused
from pipecat_workers_cli.wire.shapes import FORMAT
from tests.wire.samples import carried, some_frames, some_messages

MUTATED = 20_000
SEED = 20_240_607  # the same every time, so that what fails can be looked into

pack = msgspec.msgpack.encode
END = 6  # the number of BusEndMessage


def parcel_of(*bodies):
    return Parcel("host-1", 1, [Letter("c1", "ann", 1, body) for body in bodies])


MESSAGES = [Codec().encode(one) or b"" for one in some_messages()]
MESSAGES += [Codec().encode(carried(frame)) or b"" for frame in some_frames()]

JOB = 13  # the number of BusJobRequestMessage


def job(payload):
    return pack([FORMAT, [JOB, "a", "b", "j", None, payload]])


def framed(frame):
    return pack([FORMAT, [1, "a", None, 1, None, frame]])


def test_the_job_and_the_frame_that_these_tests_spoil_are_such():
    assert Codec().decode(job(b'{"a":1}')).payload == {"a": 1}
    spoken = Codec().decode(framed([44, None, True, b"\x00\x00", 16_000, 1]))
    assert spoken.frame.num_frames == 1


GARBAGE = {
    "nothing": b"",
    "text": b"hello, are you a message?",
    "json": b'{"__type__":"os.system","__data__":"ls"}',
    "a number": pack(1),
    "20 MB": bytes(20_000_000),
    "20 MB of a message": job(b'"' + b"x" * 20_000_000 + b'"'),
    "10,000 deep": b"\x91" * 10_000,
    "10,000 deep inside": pack([FORMAT, [END, "a", None]])[:-1] + b"\x91" * 10_000,
    "10,000 deep in a payload": job(b"[" * 10_000 + b"]" * 10_000),
    "33 deep in a payload": job(b'{"a":' + b"[" * 32 + b"1" + b"]" * 32 + b"}"),
    "a later format": pack([FORMAT + 1, [END, "a", None, "goodbye"]]),
    "an unknown message": pack([FORMAT, [999, "a", None]]),
    "an unknown frame": framed([999, None, True]),
    "a frame for a message": pack([FORMAT, [22, None, True, "hi", None, True, True]]),
    "a message in a frame's place": framed([END, "a", None, "goodbye"]),
    "no direction": pack([FORMAT, [1, "a", None, 3, None, [80, None, True]]]),
    "a field too many": pack([FORMAT, [END, "a", None, "goodbye", 1]]),
    "a field too few": pack([FORMAT, [END, "a", None]]),
    "a number for a name": pack([FORMAT, [END, 1, None, "goodbye"]]),
    "a name too long": pack([FORMAT, [END, "a" * 1_000, None, "goodbye"]]),
    "a trace that is none": pack([FORMAT, [END, "a", None, "goodbye"], "00-" + "x" * 52]),
    "a trace too long": pack([FORMAT, [END, "a", None, "goodbye"], "00" * 1_000]),
    "a trace in bytes": pack([FORMAT, [END, "a", None, "goodbye"], b"0" * 55]),
    "something after the trace": pack([FORMAT, [END, "a", None, "goodbye"], None, 1]),
    "more after it": pack([FORMAT, [END, "a", None, "goodbye"]]) + b"\x00",
    "a list of four billion": b"\xdd\xff\xff\xff\xff" + bytes(100),
    "text of four billion": b"\x92\x01\x93\x06\xdb\xff\xff\xff\xff" + bytes(100),
    "text that is none": b"\x92\x01\x94\x06\xa2\xff\xfe\xc0\xc0",
    "a payload that is a list": job(b"[1]"),
    "a payload that is no JSON": job(b"{'a': 1}"),
    "a payload of many lists": job(b'{"a":[' + b"[]," * (2 * CONTAINERS) + b"1]}"),
    "a payload with half a character": job(rb'{"a":"\ud800"}'),
    "sound without channels": framed([44, None, True, b"\x00\x00", 16_000, 0]),
    "a thought of no provider's": framed([29, None, True, True, None]),
    "a figure of no kind": framed([101, None, True, [[99, b"{}"]]]),
    "a figure without its value": framed([101, None, True, [[1, b"{}"]]]),
}


def why_refused(codec: Codec, data: bytes) -> str:
    """Return the reason; `pytest.raises` would keep the data in memory with the traceback."""
    try:
        codec.decode(data)
    except Refused as refused:
        return refused.why
    pytest.fail("it was taken for a message")


@pytest.mark.parametrize("data", GARBAGE.values(), ids=GARBAGE.keys())
def test_what_is_no_message_is_refused_at_once_and_memory_stays_flat(data):
    codec = Codec()
    tracemalloc.start()
    try:
        began = time.process_time()
        reasons = {why_refused(codec, data) for _ in range(3)}
        took = time.process_time() - began
        kept, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert took < 0.5
    assert kept < 100_000
    assert most < 2_000_000
    assert len(reasons.pop()) < 200


def test_every_beginning_of_a_message_is_refused():
    for data in MESSAGES:
        for length in range(0, len(data), 7):
            with pytest.raises(Refused):
                Codec().decode(data[:length])


def test_the_reason_quotes_nothing_of_the_message():
    secret = "sk-0123456789"
    for data in (
        pack([FORMAT, [14, "a", "b", "j", secret, b"null"]]),
        job(f'{{"a":{secret}}}'.encode()),
    ):
        with pytest.raises(Refused) as refused:
            Codec().decode(data)
        assert secret not in refused.value.why


def spoil(data: bytes, dice: random.Random) -> bytes:
    """Change a few bytes, or cut some out, or put some in."""
    spoilt = bytearray(data)
    for _ in range(dice.randint(1, 4)):
        at = dice.randrange(len(spoilt) + 1)
        match dice.randrange(4):
            case 0:
                spoilt[at:at] = dice.randbytes(dice.randint(1, 5))
            case 1:
                del spoilt[at : at + dice.randint(1, 5)]
            case 2:
                spoilt[at : at + 1] = dice.choice(
                    [b"\xc0", b"\x90", b"\x80", b"\xdd", b"\xc1", b"\xff", b"\x01", b"\xa0"]
                )
            case _:
                other = dice.choice(MESSAGES)
                start = dice.randrange(len(other))
                spoilt[at : at + 8] = other[start : start + 8]
    return bytes(spoilt)


def test_twenty_thousand_spoilt_messages_are_either_refused_or_whole():
    dice, codec, refused = random.Random(SEED), Codec(), 0
    began = time.process_time()
    for _ in range(MUTATED):
        data = spoil(dice.choice(MESSAGES), dice)
        try:
            message = codec.decode(data)
        except Refused:
            refused += 1
        else:
            codec.encode(message)  # what was let in can be told again
    assert time.process_time() - began < 5
    assert MUTATED / 2 < refused < MUTATED


def test_a_parcel_arrives_as_it_was_sent():
    sent = parcel_of(b"one", b"two", bytes(640))
    assert letter.decode(letter.encode(sent)) == sent


def test_twenty_letters_of_sound_cost_little_more_than_the_sound():
    assert len(letter.encode(parcel_of(*[bytes(700)] * 20))) < 20 * 720


def test_a_parcel_that_is_too_large_is_refused_on_its_way_out():
    with pytest.raises(Refused, match="letters"):
        letter.encode(parcel_of(*[b"x"] * 4_097))
    with pytest.raises(Refused, match="bytes"):
        letter.encode(parcel_of(*[bytes(MESSAGE_BYTES)] * 2))


NO_PARCELS = {
    "nothing": b"",
    "20 MB": bytes(20_000_000),
    "a later version": pack([letter.VERSION + 1, "h", 1, 0, [], "new"]),
    "too many letters": pack([letter.VERSION, "h", 1, 0, [["c", "w", 1, b""]] * 4_097]),
    "an epoch before the first": pack([letter.VERSION, "h", 1, 0, [["c", "w", -1, b""]]]),
    "text for a body": pack([letter.VERSION, "h", 1, 0, [["c", "w", 1, "x"]]]),
    "a call's name too long": pack([letter.VERSION, "h", 1, 0, [["c" * 65, "w", 1, b""]]]),
    "deep": b"\x91" * 10_000,
}


@pytest.mark.parametrize("data", NO_PARCELS.values(), ids=NO_PARCELS.keys())
def test_what_is_no_parcel_is_refused(data):
    with pytest.raises(Refused):
        letter.decode(data)


def test_spoilt_parcels_are_either_refused_or_whole():
    dice, data = random.Random(SEED), letter.encode(parcel_of(*MESSAGES[:5]))
    for _ in range(2_000):
        try:
            letter.decode(spoil(data, dice))
        except Refused:
            continue
