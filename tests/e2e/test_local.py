"""A call by the microphone and the loudspeaker of a machine that has neither."""

import asyncio
import signal
import termios
from collections.abc import Iterator

import pytest

from pipecat_workers_cli.session.console import caller_says
from tests.e2e.conftest import write_brief
from tests.program import PMW
from tests.sound import Listener, VirtualSound
from tests.terminal import Terminal

OFFLINE = ("--services", "offline")

pytestmark = [pytest.mark.speech, pytest.mark.slow]


@pytest.fixture
def sound(tmp_path) -> Iterator[VirtualSound]:
    (tmp_path / "sound").mkdir()
    sound = VirtualSound(tmp_path / "sound")
    yield sound
    sound.close()


@pytest.fixture
def listener(sound: VirtualSound) -> Iterator[Listener]:
    listener = Listener(sound)
    yield listener
    listener.close()


def spoken(text: str) -> bytes:
    return asyncio.run(caller_says(text)) + bytes(32_000)


def say(sound: VirtualSound, text: str) -> None:
    sound.say(spoken(text))


@pytest.mark.aloud
@pytest.mark.flaky(reruns=1)  # a small model mishears now and then
def test_a_spoken_handoff_by_microphone_and_loudspeaker(pmw, sound, listener):
    goodbye = spoken("Goodbye.")  # made before, to be over long before the greeting is
    call = pmw("handoff", *OFFLINE, "-t", "local", env=sound.env)
    listener.wait_for_speech()
    sound.say(goodbye)  # which the bot doesn't hear: its own voice would come with it
    call.wait_for_line("greeter: Welcome")
    listener.wait_for_silence()
    assert not [line for line in call.out if line.startswith("user:")]
    say(sound, "How much are the rocket boots?")
    call.wait_for_line("* transfer greeter -> support")
    call.wait_for_line("support: Acme Rocket Boots cost $299")
    listener.wait_for_silence()
    say(sound, "Thank you, goodbye.")
    call.wait_for_line("* end ")
    assert call.popen.wait(20) == 0
    assert call.err[2].startswith("hears by default, speaks by default, half duplex")
    assert listener.peak > 3_000


def test_a_bar_shows_the_microphone_m_mutes_it_and_a_device_that_vanishes_ends_the_call(
    pmw_env, sound, tmp_path
):
    env = {**pmw_env, **sound.env}
    screen = Terminal(
        [*PMW, "run", write_brief(tmp_path), *OFFLINE, "-t", "local"], env=env, cwd=tmp_path
    )
    try:
        screen.wait_for(b"closed while the bot speaks", within=60)
        screen.wait_for(b"greeter: Welcome", within=60)
        screen.wait_for(b"you are heard", within=60)
        screen.type(b"m")
        screen.wait_for(b"muted: m lets you be heard")
        screen.type(b"m")
        screen.wait_for(b"you are heard")
        screen.type(b"")
        sound.server.send_signal(signal.SIGKILL)
        screen.wait_for(b"' is gone\r\n  try: plug it in again")
        assert screen.process.wait(20) == 1
        assert b"Traceback" not in screen.seen
        assert termios.tcgetattr(screen.slave) == screen.before
    finally:
        screen.close()
