"""How many calls at once one process bears with the offline services.

    uv run python benchmarks/offline_calls.py [--calls 1 2 4 6] [--seconds 20] [--by-wire]

Each call is a real one of the recipe `handoff`, heard and spoken offline, its caller a
recorded question that is played in real time, 20 ms a frame, whenever the bot has been silent
for a second. Only WebRTC is left out. All calls talk at the same time, more than callers do.
Printed for each number of calls: the event loop's lag and how long a caller waits for the
first sound, from the end of the question, beside the same in the first row.

With `--by-wire`, words and sound come ready-made after a moment, as they do from a server: what
is left are voice activity, turns, and the calls themselves.
"""

import argparse
import asyncio
import math
import time
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack
from itertools import cycle

from loguru import logger
from pipecat.frames.frames import InputAudioRawFrame, OutputAudioRawFrame, StartFrame
from pipecat.processors.frame_processor import FrameProcessor
from pipecat.transports.base_input import BaseInputTransport
from pipecat.transports.base_output import BaseOutputTransport
from pipecat.transports.base_transport import BaseTransport, TransportParams

from pipecat_workers_cli.call.plan import plan_call
from pipecat_workers_cli.call.run import open_call
from pipecat_workers_cli.options import Profile, ServiceOptions
from pipecat_workers_cli.recipe.load import load_recipe
from pipecat_workers_cli.services import offline
from pipecat_workers_cli.services.voices import Voice, find_voice
from pipecat_workers_cli.traffic.tap import Tap

HEARD_AT = 16_000  # Hz
FRAME = 0.02  # seconds
FRAME_BYTES = int(HEARD_AT * FRAME) * 2
QUIET = 1.0  # seconds of the bot's silence before the caller speaks again
LAG_BORNE = 0.05  # seconds; two frames and a half are late, which a listener's buffer covers
SERVER_TAKES = 0.3  # seconds
QUESTIONS = (
    "How much are the rocket boots?",
    "How fast are they?",
    "What about the invisible paint?",
    "How much is the tornado kit?",
)


class Ear(BaseInputTransport):
    """Brings the caller's sound in; says when it can."""

    def __init__(self, params: TransportParams, ready: asyncio.Event) -> None:
        super().__init__(params)
        self._ready = ready

    async def start(self, frame: StartFrame) -> None:
        """Let the caller speak from now on."""
        await super().start(frame)
        await self.set_transport_ready(frame)
        self._ready.set()


class Mouth(BaseOutputTransport):
    """Plays the bot's sound in the time it takes, and notes when it began and was last heard."""

    def __init__(self, params: TransportParams) -> None:
        super().__init__(params)
        self.played_until = 0.0
        self.sounds: list[float] = []

    async def start(self, frame: StartFrame) -> None:
        """Take sound from now on."""
        await super().start(frame)
        await self.set_transport_ready(frame)

    async def write_audio_frame(self, frame: OutputAudioRawFrame) -> bool:
        """Let the frame's time pass."""
        now = time.monotonic()
        if any(frame.audio):
            if now - self.played_until > QUIET / 2:
                self.sounds.append(now)
            self.played_until = max(now, self.played_until) + frame.num_frames / frame.sample_rate
        await asyncio.sleep(frame.num_frames / frame.sample_rate)
        return True


class Caller(BaseTransport):
    """A caller who asks one question after another."""

    def __init__(self, questions: list[bytes]) -> None:
        super().__init__()
        params = TransportParams(audio_in_enabled=True, audio_out_enabled=True)
        self._ready = asyncio.Event()
        self._ear, self._mouth = Ear(params, self._ready), Mouth(params)
        self._questions = cycle(questions)
        self.waits: list[float] = []
        self._register_event_handler("on_client_connected")
        self._register_event_handler("on_client_disconnected")

    def input(self) -> FrameProcessor:
        """Return where the caller's sound comes in."""
        return self._ear

    def output(self) -> FrameProcessor:
        """Return where the bot's sound goes out."""
        return self._mouth

    async def talk(self) -> None:
        """Ask for as long as the call lasts."""
        await self._ready.wait()
        await self._call_event_handler("on_client_connected", self)
        due, question, asked = time.monotonic(), b"", 0.0
        while True:
            if not question and asked and self._mouth.sounds and self._mouth.sounds[-1] > asked:
                self.waits.append(self._mouth.sounds[-1] - asked)
                asked = 0.0
            quiet = self._mouth.sounds and time.monotonic() - self._mouth.played_until > QUIET
            if not question and not asked and quiet:
                question = next(self._questions)
            piece, question = question[:FRAME_BYTES], question[FRAME_BYTES:]
            if piece and not question:
                asked = time.monotonic()
            audio = piece.ljust(FRAME_BYTES, b"\0")
            await self._ear.push_audio_frame(InputAudioRawFrame(audio, HEARD_AT, 1))
            due += FRAME
            await asyncio.sleep(max(0.0, due - time.monotonic()))


async def measure_lag(lags: list[float]) -> None:
    """Note how late a wait of 10 ms ends, for as long as it is let."""
    loop = asyncio.get_running_loop()
    while True:
        due = loop.time() + 0.01
        await asyncio.sleep(0.01)
        lags.append(loop.time() - due)


async def spoken(text: str) -> bytes:
    """Return a question as the caller's microphone gives it."""
    voice = find_voice("joe-high")
    return b"".join([part async for part in offline.speak(text, voice, sample_rate=HEARD_AT)])


async def hold(count: int, seconds: float) -> tuple[list[float], list[float]]:
    """Hold `count` calls at once; returns the loop's lags and the callers' waits, in seconds."""
    services = ServiceOptions(profile=Profile.OFFLINE)
    plan = plan_call(load_recipe("handoff"), services, speech=True)
    await offline.load_models(plan.choices())
    questions = [await spoken(text) for text in QUESTIONS]
    callers = [Caller(questions[i % 4 :] + questions[: i % 4]) for i in range(count)]
    lags: list[float] = []
    async with AsyncExitStack() as calls:
        tap = Tap()
        for caller in callers:
            await calls.enter_async_context(open_call(plan, caller, tap=tap, idle_timeout=None))
        tasks = [asyncio.create_task(caller.talk()) for caller in callers]
        await asyncio.sleep(5)  # greetings are over, the models' first sentences spoken
        tasks.append(asyncio.create_task(measure_lag(lags)))
        await asyncio.sleep(seconds)
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
    return lags, [wait for caller in callers for wait in caller.waits]


async def bring_by_wire() -> None:
    """Let words and sound come ready-made from now on, as late as from a quick server."""
    real, kept = offline.speak, dict[tuple[str, str], list[bytes]]()

    async def transcribe(audio: bytes, *, sample_rate: int) -> str:
        await asyncio.sleep(SERVER_TAKES)
        return QUESTIONS[0]

    async def speak(text: str, voice: Voice, *, sample_rate: int) -> AsyncGenerator[bytes]:
        key = (text, voice.name)
        if key in kept:
            await asyncio.sleep(SERVER_TAKES)
        else:
            kept[key] = [part async for part in real(text, voice, sample_rate=sample_rate)]
        for part in kept[key]:
            yield part

    offline.transcribe, offline.speak = transcribe, speak
    await hold(1, 15)  # all that is said in such a call is ready-made now


def percentile(values: list[float], share: float) -> float:
    """Return the value below which `share` of them lie."""
    return sorted(values)[min(len(values) - 1, int(len(values) * share))]


def main() -> None:
    """Hold as many calls as asked; print a line for each number."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--calls", type=int, nargs="+", default=[1, 2, 4, 6], help="at once")
    parser.add_argument("--seconds", type=float, default=20.0, help="measured for each number")
    parser.add_argument("--by-wire", action="store_true", help="without the models' work")
    options = parser.parse_args()
    logger.remove()
    if options.by_wire:
        asyncio.run(bring_by_wire())
    first = borne = 0.0
    print("calls  lag p50  p99   max ms | first sound p50  p90 s  x the first  answers")
    for count in options.calls:
        lags, waits = asyncio.run(hold(count, options.seconds))
        late = [percentile(lags, share) * 1000 for share in (0.5, 0.99, 1.0)]
        wait, slow = (percentile(waits, share) if waits else math.nan for share in (0.5, 0.9))
        first = first or wait
        print(
            f"{count:5}  {late[0]:7.1f} {late[1]:5.1f} {late[2]:8.1f} | {wait:15.2f} {slow:6.2f}"
            f" {wait / first:12.2f} {len(waits):8}",
            flush=True,
        )
        if late[1] < LAG_BORNE * 1000:
            borne = max(borne, count)
    print(f"the loop's lag stayed under {LAG_BORNE * 1000:.0f} ms (p99) with {borne:.0f} calls")


if __name__ == "__main__":
    main()
