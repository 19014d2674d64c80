"""All that crossed the buses, told as entries off their path."""

import asyncio
import time

from pipecat.bus import BusActivateWorkerMessage, BusFrameMessage, BusJobRequestMessage
from pipecat.frames.frames import (
    FunctionCallResultFrame,
    LLMContextFrame,
    LLMTextFrame,
    OutputAudioRawFrame,
)
from pipecat.processors.aggregators.llm_context import LLMContext
from pipecat.processors.frame_processor import FrameDirection

from pipecat_workers_cli.buses.local import RECENT_MESSAGES, LocalBus
from pipecat_workers_cli.traffic.entry import Entry
from pipecat_workers_cli.traffic.setup_file import LONGEST, plain
from pipecat_workers_cli.traffic.tap import KEPT_FOR, Tap

DOWN = FrameDirection.DOWNSTREAM


def framed(frame, source="ann"):
    return BusFrameMessage(source=source, frame=frame, direction=DOWN)


def watched(tap: Tap) -> list[Entry]:
    told: list[Entry] = []
    tap.watch(told.extend)
    return told


def tapped() -> tuple[Tap, LocalBus]:
    tap, bus = Tap(), LocalBus()
    tap.open_call("c1", bus, recipe="test", workers=["ann"], main="main")
    return tap, bus


async def test_messages_and_what_happens_in_the_call_come_in_the_order_of_their_time():
    tap, bus = tapped()
    told = watched(tap)
    await bus.send(BusActivateWorkerMessage(source="main", target="ann"))
    await bus.send(framed(LLMTextFrame("Hello.")))
    tap.add(Entry(event="bot", call="c1", at_ms=3, worker="ann", text="Hello."))
    await bus.send(framed(LLMTextFrame("Bye.")))
    tap.collect()
    assert [(e.event, e.kind) for e in told] == [
        ("message", "activation"),
        ("message", "frame.text"),
        ("bot", None),
        ("message", "frame.text"),
    ]
    first, words, *_ = told
    assert (first.worker, first.target, first.type) == (
        "main",
        "ann",
        "BusActivateWorkerMessage",
    )
    assert words.payload == {"text": "Hello.", "direction": "downstream"}
    assert words.size > 10
    assert {e.call for e in told} == {"c1"}


async def test_audio_is_summed_up_not_told_frame_by_frame():
    tap, bus = tapped()
    told = watched(tap)
    sound = OutputAudioRawFrame(bytes(960), sample_rate=24_000, num_channels=1)
    for _ in range(50):
        await bus.send(framed(sound))
    tap.collect()
    await bus.send(framed(sound))
    tap.collect()
    tap.collect()
    assert [(e.kind, e.count, e.size, e.seconds) for e in told] == [
        ("frame.audio", 50, 48_000, 1.0),
        ("frame.audio", 1, 960, 0.02),
    ]


async def test_what_comes_faster_than_it_is_collected_is_counted():
    tap, bus = tapped()
    told = watched(tap)
    for number in range(RECENT_MESSAGES + 7):
        await bus.send(BusJobRequestMessage(source="a", target="b", job_id=str(number)))
    tap.collect()
    assert (told[0].event, told[0].count) == ("left_out", 7)
    assert len(told) == RECENT_MESSAGES + 1
    assert told[1].id == "7"


async def test_whoever_comes_late_is_told_what_follows_and_can_ask_for_what_was():
    tap, bus = tapped()
    await bus.send(framed(LLMTextFrame("before")))
    told = watched(tap)
    await bus.send(framed(LLMTextFrame("after")))
    tap.close_call("c1")
    assert [e.payload["text"] for e in told] == ["after"]
    assert [e.payload["text"] for e in tap.remembered()] == ["before", "after"]


async def test_what_is_older_than_ten_minutes_is_forgotten(monkeypatch):
    tap, bus = tapped()
    await bus.send(framed(LLMTextFrame("old")))
    tap.collect()
    later = time.monotonic() + KEPT_FOR + 1
    monkeypatch.setattr(time, "monotonic", lambda: later)
    await bus.send(framed(LLMTextFrame("new")))
    assert [e.payload["text"] for e in tap.remembered()] == ["new"]


async def test_secrets_are_struck_out_wherever_they_stand(monkeypatch):
    monkeypatch.setenv("DEMO_TOKEN", "tulip-garden")
    tap, bus = tapped()
    told = watched(tap)
    subscribed: list[Entry] = []
    tap.subscribe(subscribed.append)
    args = {"url": "postgresql://me:rosebud@host/db", "deep": [{"key": "tulip-garden"}]}
    tap.add(Entry(event="tool", call="c1", at_ms=1, name="look", args=args))
    await bus.send(
        BusJobRequestMessage(source="a", target="b", job_id="j", payload={"q": "sk-abcdefgh1234"})
    )
    tap.collect()
    whole = repr(told) + repr(subscribed) + repr(tap.snapshot()) + repr([*tap.remembered()])
    assert "***" in whole
    for secret in ("tulip", "rosebud", "abcdefgh"):
        assert secret not in whole


async def test_a_watcher_that_fails_disturbs_nobody():
    tap, bus = tapped()

    def fail(_entries):
        raise RuntimeError("no")

    tap.watch(fail)
    told = watched(tap)
    await bus.send(framed(LLMTextFrame("hello")))
    tap.collect()
    assert len(told) == 1


async def test_a_session_collects_by_itself():
    tap, bus = tapped()
    arrived = asyncio.Event()
    tap.watch(lambda _: arrived.set())
    async with tap.collecting():
        await bus.send(framed(LLMTextFrame("hello")))
        await asyncio.wait_for(arrived.wait(), 5)


async def test_a_conversation_on_its_way_is_counted_not_repeated():
    tap, bus = tapped()
    told = watched(tap)
    await bus.send(framed(LLMContextFrame(LLMContext([{"role": "user", "content": "hi"}]))))
    tap.collect()
    assert told[0].payload == {"messages": 1, "direction": "downstream"}


def test_any_value_can_be_told_within_bounds():
    assert plain({"a": (1, b"xy"), 2: {3}}) == {"a": [1, "(2 bytes)"], "2": [3]}
    assert plain("x" * 5_000) == "x" * LONGEST + "…"
    assert plain(object()) == "(object)"
    assert plain(DOWN) == "downstream"
    deep: list = []
    for _ in range(100):
        deep = [deep]
    assert "…" in str(plain(deep))
    assert len(plain(list(range(1_000)))) == 50
    frame = FunctionCallResultFrame("look", "t1", {"q": 1}, {"found": 2})
    assert plain(frame)["result"] == {"found": 2}
