"""A sound system without a sound card: PulseAudio with two cables, reached through ALSA.

What is said into `said` is heard by the microphone; what the loudspeaker plays comes out of
`heard`.
"""

import os
import shutil
import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

RATE = 16_000  # Hz
LOUD = 400  # peak of 32,767 above which somebody speaks
PROGRAMS = ("pulseaudio", "pacat", "pactl")


class VirtualSound:
    """A server of its own, for as long as it is open."""

    def __init__(self, folder: Path) -> None:
        if missing := [name for name in PROGRAMS if shutil.which(name) is None]:
            told = f"no {' and '.join(missing)}: see .ci/run for what apt-get installs"
            if os.environ.get("CI"):
                pytest.fail(told)
            pytest.skip(told)
        folder.chmod(0o700)
        self._folder = folder
        socket = folder / "native"
        (folder / "pulse.pa").write_text(
            f"load-module module-native-protocol-unix auth-anonymous=1 socket={socket}\n"
            "load-module module-null-sink sink_name=said rate=16000 channels=1\n"
            "load-module module-null-sink sink_name=heard rate=16000 channels=1\n"
        )
        (folder / "asound.conf").write_text(
            f'pcm.said {{ type pulse device said.monitor server "unix:{socket}" }}\n'
            f'pcm.heard {{ type pulse device heard server "unix:{socket}" }}\n'
            "pcm.!default { type asym capture.pcm said playback.pcm heard }\n"
        )
        self.env = {
            "ALSA_CONFIG_PATH": str(folder / "asound.conf"),
            "PULSE_SERVER": f"unix:{socket}",
        }
        self._own = {**os.environ, **self.env, "HOME": str(folder), "XDG_RUNTIME_DIR": str(folder)}
        self.server = subprocess.Popen(
            ["pulseaudio", "-n", "-F", str(folder / "pulse.pa"), "--daemonize=no",
             "--exit-idle-time=-1", "--use-pid-file=no", "--disable-shm=yes"],
            env=self._own,
            stderr=(folder / "log").open("wb"),
        )  # fmt: skip
        self._until(socket.exists, "PulseAudio is up")
        self._until(lambda: b"heard" in self._ask("list", "short", "sinks"), "it has its cables")

    def say(self, speech: bytes) -> None:
        """Speak into the microphone, 16-bit mono at `RATE`; returns when it was said."""
        subprocess.run(
            ["pacat", "--playback", "--device=said", "--format=s16le", f"--rate={RATE}",
             "--channels=1", "--latency-msec=20"],
            input=speech, env=self._own, timeout=30, check=True,
        )  # fmt: skip

    def is_played_to(self) -> bool:
        """Say whether a loudspeaker is open."""
        return bool(self._ask("list", "short", "sink-inputs").strip())

    def close(self) -> None:
        self.server.kill()
        self.server.wait(5)

    def _ask(self, *words: str) -> bytes:
        return subprocess.run(
            ["pactl", *words], env=self._own, capture_output=True, timeout=10, check=False
        ).stdout

    def _until(self, there: Callable[[], bool], what: str) -> None:
        deadline = time.monotonic() + 20
        while not there():
            assert time.monotonic() < deadline, (
                f"not so: {what}: {(self._folder / 'log').read_text()}"
            )
            time.sleep(0.02)


class Listener:
    """Somebody at the loudspeaker, who knows when it last sounded."""

    def __init__(self, sound: VirtualSound) -> None:
        self.peak = 0
        self._loud_at: float | None = None
        self._news = threading.Condition()
        self._recorder = subprocess.Popen(
            ["pacat", "--record", "--device=heard.monitor", "--format=s16le", f"--rate={RATE}",
             "--channels=1", "--latency-msec=20"],
            env=sound._own, stdout=subprocess.PIPE,
        )  # fmt: skip
        threading.Thread(target=self._listen, daemon=True).start()

    def _listen(self) -> None:
        assert self._recorder.stdout is not None
        while block := self._recorder.stdout.read(RATE // 50 * 2):
            peak = int(np.abs(np.frombuffer(block, "<i2").astype(np.int32)).max(initial=0))
            with self._news:
                self.peak = max(self.peak, peak)
                if peak > LOUD:
                    self._loud_at = time.monotonic()
                self._news.notify_all()

    def wait_for_speech(self, *, within: float = 60.0) -> None:
        """Wait until it sounds."""
        with self._news:
            self._loud_at = None
            assert self._news.wait_for(lambda: self._loud_at is not None, within), "it is silent"

    def wait_for_silence(self, seconds: float = 1.5, *, within: float = 60.0) -> None:
        """Wait until it has been silent for a while, after it sounded."""
        deadline = time.monotonic() + within
        with self._news:
            while True:
                assert time.monotonic() < deadline, "it does not stop"
                if self._loud_at is not None and time.monotonic() - self._loud_at > seconds:
                    return
                self._news.wait(0.2)

    def close(self) -> None:
        self._recorder.kill()
        self._recorder.wait(5)
