"""The machine's own sound, over cables: what is heard when, what is played, by which device."""

import asyncio
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import numpy as np
import pytest
from pipecat.frames.frames import InputAudioRawFrame, InterruptionFrame, OutputAudioRawFrame

from pipecat_workers_cli.errors import ConfigurationError, PmwError
from pipecat_workers_cli.transports import devices
from pipecat_workers_cli.transports.devices import (
    PLAYED_RATE,
    RATE,
    Direction,
    find_line,
    list_devices,
)
from pipecat_workers_cli.transports.local import open_local
from pipecat_workers_cli.transports.streams import HEARD, Microphone
from tests.fakes.pipelines import Heard, running
from tests.sound import Listener, VirtualSound

SECOND = np.full(RATE, 9_000, "<i2").tobytes()


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Iterator[VirtualSound]:
    """Cables for the tests of this module: PortAudio looks for devices once a process."""
    sound = VirtualSound(tmp_path_factory.mktemp("sound"))
    before = dict(os.environ)
    os.environ.update(sound.env)
    yield sound
    os.environ.clear()
    os.environ.update(before)
    sound.close()


def lines():
    return find_line(Direction.INPUT, "said", rate=RATE), find_line(
        Direction.OUTPUT, "heard", rate=PLAYED_RATE
    )


@asynccontextmanager
async def calling(*, full: bool):
    """A pipeline between the cables: its transport, and what it hears."""
    async with (
        open_local(*lines(), full=full) as transport,
        running(transport.input(), transport.output()) as heard,
    ):
        await heard.first(InputAudioRawFrame)
        yield transport, heard


def loud(heard: Heard) -> int:
    """Milliseconds that the pipeline heard and that were not silence."""
    frames = heard.all(InputAudioRawFrame)
    peaks = (np.abs(np.frombuffer(f.audio, "<i2").astype(np.int32)).max(initial=0) for f in frames)
    return sum(20 for peak in peaks if peak > 2_000)


async def say(sound: VirtualSound, speech: bytes) -> None:
    await asyncio.to_thread(sound.say, speech)


def talk(seconds: float) -> OutputAudioRawFrame:
    samples = np.full(round(PLAYED_RATE * seconds), 9_000, "<i2")
    return OutputAudioRawFrame(samples.tobytes(), PLAYED_RATE, 1)


async def test_what_is_said_is_heard_and_what_the_bot_says_is_played(sound):
    listener = Listener(sound)
    async with calling(full=False) as (transport, heard):
        first = await heard.first(InputAudioRawFrame)
        assert (first.sample_rate, len(first.audio)) == (RATE, 640)
        saying = asyncio.create_task(say(sound, SECOND))
        await heard.until(lambda: transport.level > 0.1)
        await saying
        await heard.until(lambda: loud(heard) >= 900)
        await heard.worker.queue_frame(talk(0.5))
        await asyncio.to_thread(listener.wait_for_speech, within=10)
    listener.close()


@pytest.mark.parametrize("full", [False, True], ids=["half", "full"])
async def test_in_half_duplex_only_the_bot_does_not_hear_itself(sound, full):
    async with calling(full=full) as (transport, heard):
        began = time.monotonic()
        await heard.worker.queue_frame(talk(4.0))
        await heard.until(lambda: transport.bot_sounds or full)
        await say(sound, SECOND)
        if full:
            await heard.until(lambda: loud(heard) >= 900)
            return
        assert transport.bot_sounds
        assert loud(heard) == 0
        await heard.until(lambda: transport.hears, within=10)
        assert time.monotonic() - began > 4
        await say(sound, SECOND)
        await heard.until(lambda: loud(heard) >= 900)


async def test_an_interruption_drops_what_was_about_to_be_played(sound):
    async with calling(full=True) as (_, heard):
        await heard.worker.queue_frame(talk(20.0))
        listener = Listener(sound)
        await asyncio.to_thread(listener.wait_for_speech, within=10)
        await heard.worker.queue_frame(InterruptionFrame())
        await asyncio.to_thread(listener.wait_for_silence, 0.5, within=5)
        listener.close()


async def test_nothing_is_heard_of_a_caller_who_is_mute(sound):
    async with calling(full=True) as (transport, heard):
        transport.muted = True
        saying = asyncio.create_task(say(sound, SECOND))
        await heard.until(lambda: transport.level > 0.1)
        await saying
        assert loud(heard) == 0


async def test_a_loop_that_is_late_loses_the_oldest_sound_and_no_memory(sound):
    with Microphone(lines()[0]).open() as microphone:
        await microphone.blocks()
        time.sleep(HEARD * 0.02 + 1.0)  # noqa: ASYNC251  # the loop is stuck, that is the point
        assert microphone.lost > 10
        assert len(await microphone.blocks()) <= HEARD
        assert len(await microphone.blocks()) < HEARD / 2


def test_devices_are_found_by_number_and_by_part_of_their_name(sound):
    found = {device.name: device for device in list_devices()}
    assert {"said", "heard", "default"} <= set(found)
    assert set(found["default"].default_for) == set(Direction)
    assert find_line(Direction.INPUT, "SAI", rate=RATE).device == found["said"]
    by_number = find_line(Direction.OUTPUT, str(found["heard"].number), rate=PLAYED_RATE)
    assert (by_number.device, by_number.rate, by_number.channels) == (
        found["heard"],
        PLAYED_RATE,
        1,
    )
    assert find_line(Direction.INPUT, None, rate=RATE).device == found["default"]
    with pytest.raises(ConfigurationError, match="no microphone is called 'sayd'") as wrong:
        find_line(Direction.INPUT, "sayd", rate=RATE)
    assert "said" in wrong.value.mend
    with pytest.raises(ConfigurationError, match="devices are called 'a'"):
        find_line(Direction.INPUT, "a", rate=RATE)


def pmw(*words: str, code: str = "") -> subprocess.CompletedProcess[str]:
    program = f"import sys\n{code}\nfrom pipecat_workers_cli.__main__ import main\nmain()"
    silent = {k: v for k, v in os.environ.items() if k not in ("ALSA_CONFIG_PATH", "PULSE_SERVER")}
    return subprocess.run(
        [sys.executable, "-c", program, *words],
        env=silent,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_a_missing_package_is_named_with_what_installs_it():
    for words in (("--list-devices",), ("-t", "local")):
        done = pmw("handoff", *words, code="sys.modules['sounddevice'] = None")
        assert (done.returncode, done.stdout) == (1, "")
        assert done.stderr == (
            "error: -t local needs the package sounddevice\n"
            "  try: uv sync --extra local, or pip install 'pipecat-workers-cli[local]'\n"
        )


def test_a_missing_library_is_named_with_what_installs_it(monkeypatch):
    def fail(_name: str) -> None:
        raise OSError("PortAudio library not found")

    monkeypatch.setattr(devices, "import_module", fail)
    with pytest.raises(PmwError, match="needs the library PortAudio") as missing:
        list_devices()
    assert missing.value.mend.startswith("apt-get install libportaudio2")


@pytest.mark.skipif(Path("/proc/asound").exists(), reason="this machine has a sound card")
def test_a_machine_without_a_device_says_so_in_two_lines():
    done = pmw("handoff", "-t", "local", "--services", "offline")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == (
        "error: this machine has no microphone\n"
        "  try: plug one in; or call from a browser, without -t; or in words, by -t console\n"
    )
