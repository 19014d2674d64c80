import asyncio
from collections import Counter

import pytest
from pipecat.bus import (
    BusActivateWorkerMessage,
    BusAddWorkerMessage,
    BusFrameMessage,
    BusJobRequestMessage,
    BusMessage,
    BusSubscriber,
)
from pipecat.frames.frames import LLMTextFrame, OutputAudioRawFrame, TTSAudioRawFrame
from pipecat.processors.frame_processor import FrameDirection
from pipecat.utils.asyncio.task_manager import TaskManager
from pipecat.workers.base_worker import BaseWorker

from pipecat_workers_cli.buses import local
from pipecat_workers_cli.buses.local import LocalBus, open_bus

DOWN, UP = FrameDirection.DOWNSTREAM, FrameDirection.UPSTREAM


class Listener(BusSubscriber):
    def __init__(self, name, expected):
        self._name = name
        self._expected = expected
        self.got: list[BusMessage] = []
        self.all_came = asyncio.Event()

    @property
    def name(self):
        return self._name

    async def on_bus_message(self, message):
        self.got.append(message)
        if len(self.got) == self._expected:
            self.all_came.set()


def audio(*, ms=20, rate=24_000, kind=OutputAudioRawFrame):
    return kind(audio=bytes(2 * rate * ms // 1000), sample_rate=rate, num_channels=1)


def framed(frame, *, source="greeter", direction=DOWN):
    return BusFrameMessage(source=source, frame=frame, direction=direction)


async def test_every_message_is_counted_once_however_many_listen():
    messages = [
        BusActivateWorkerMessage(source="main", target="greeter"),
        BusAddWorkerMessage(source="main", worker=BaseWorker("child")),  # this process alone
        framed(LLMTextFrame("hello")),
        framed(LLMTextFrame("hello")),
        framed(audio()),
    ]
    listeners = [Listener(f"listener {number}", len(messages)) for number in range(3)]
    async with asyncio.timeout(5), open_bus() as bus:
        await bus.setup(TaskManager(loop=asyncio.get_running_loop()))
        for listener in listeners:
            await bus.subscribe(listener)
        await bus.start()
        for message in messages:
            await bus.send(message)
        for listener in listeners:
            await listener.all_came.wait()
            assert Counter(type(m) for m in listener.got) == Counter(type(m) for m in messages)
    counts = {key[0]: tally.count for key, tally in bus.tallies.items()}
    assert counts == {
        BusActivateWorkerMessage: 1,
        BusAddWorkerMessage: 1,
        LLMTextFrame: 2,
        OutputAudioRawFrame: 1,
    }


async def test_audio_is_counted_in_bytes_and_seconds_too():
    bus = LocalBus()
    for _ in range(50):
        await bus.send(framed(audio(ms=20)))
    await bus.send(framed(audio(ms=500, rate=16_000)))
    await bus.send(framed(audio(ms=40, kind=TTSAudioRawFrame)))
    tally = bus.tallies[OutputAudioRawFrame, "greeter", None, True]
    assert (tally.count, tally.bytes) == (51, 50 * 960 + 16_000)
    assert tally.seconds == pytest.approx(1.5)
    assert bus.tallies[TTSAudioRawFrame, "greeter", None, True].seconds == pytest.approx(0.04)


async def test_sources_targets_and_directions_are_told_apart():
    bus = LocalBus()
    await bus.send(framed(LLMTextFrame("a")))
    await bus.send(framed(LLMTextFrame("a"), direction=UP))
    await bus.send(framed(LLMTextFrame("a"), source="support"))
    await bus.send(BusActivateWorkerMessage(source="main", target="greeter"))
    await bus.send(BusActivateWorkerMessage(source="main", target="support"))
    assert set(bus.tallies) == {
        (LLMTextFrame, "greeter", None, True),
        (LLMTextFrame, "greeter", None, False),
        (LLMTextFrame, "support", None, True),
        (BusActivateWorkerMessage, "main", "greeter", None),
        (BusActivateWorkerMessage, "main", "support", None),
    }
    assert all(tally.count == 1 for tally in bus.tallies.values())


async def test_the_ring_keeps_the_latest_messages_without_audio_and_knows_how_many_there_were():
    bus = LocalBus()
    for number in range(local.RECENT_MESSAGES + 5):
        await bus.send(BusJobRequestMessage(source="a", target="b", job_id=str(number)))
        await bus.send(framed(audio()))
    assert len(bus.recent) == local.RECENT_MESSAGES
    assert bus.noted == local.RECENT_MESSAGES + 5
    at = [when for when, _ in bus.recent]
    assert at == sorted(at)
    assert bus.recent[0][1].job_id == "5"  # type: ignore[attr-defined]


async def test_a_thousand_names_are_told_apart_and_further_ones_are_counted_together():
    bus = LocalBus()
    for number in range(local.TALLIES + 300):
        await bus.send(BusActivateWorkerMessage(source=f"worker {number}", target="b"))
    assert len(bus.tallies) == local.TALLIES + 1
    others = bus.tallies[BusActivateWorkerMessage, local.OTHERS, local.OTHERS, None]
    assert others.count == 300
    assert bus.noted == local.TALLIES + 300


async def test_leaving_the_bus_leaves_no_task_behind():
    before = asyncio.all_tasks()
    async with open_bus() as bus:
        await bus.setup(TaskManager(loop=asyncio.get_running_loop()))
        await bus.subscribe(Listener("listener", 1))
        await bus.start()
        assert asyncio.all_tasks() > before
    assert asyncio.all_tasks() == before
