"""Says a sentence by the offline voice and hears it back, in a process of its own.

`python -m pipecat_workers_cli.services.speech_loop` writes what was heard and the times as
JSON. A process, since a speech package that is broken may take its process with it, and
so that whoever asks need not import any of it, and can end it.
"""

import asyncio
import json
import sys
import time

from pipecat_workers_cli.checks import Check, State
from pipecat_workers_cli.errors import mend_extra

SENTENCE = "The quick brown fox jumps over the lazy dog."
RATE = 16_000  # Hz, as Moonshine hears
WITHIN = 60.0  # seconds, both models' loading included; on two busy cores it took 4
ENOUGH = 0.6  # of the sentence's words; Moonshine tiny mishears one now and then
NAME = "offline speech"


async def check_speech() -> Check:
    """Say a sentence and hear it back; tells the words that were heard."""
    program = "pipecat_workers_cli.services.speech_loop"
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", program),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        async with asyncio.timeout(WITHIN):
            written, complaint = await process.communicate()
    except TimeoutError:
        found = f"a sentence was not heard within {WITHIN:.0f} s"
        return Check(NAME, State.WRONG, found, "see what else keeps this machine busy")
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    if process.returncode:
        last = complaint.decode(errors="replace").strip().splitlines() or ["it died"]
        return Check(NAME, State.WRONG, last[-1][:200], mend_extra("offline", again=True))
    return _judge(json.loads(written))


def _judge(told: dict[str, float | str]) -> Check:
    heard = str(told["heard"])
    times = f"spoken in {told['speaking']:.1f} s, heard in {told['hearing']:.1f} s"
    wanted = set(_words(SENTENCE))
    if len(wanted & set(_words(heard))) >= ENOUGH * len(wanted):
        return Check(NAME, State.OK, f"“{heard}” ({times})")
    found = f"“{SENTENCE}” was heard as “{heard}”"
    return Check(NAME, State.WRONG, found, mend_extra("offline", again=True))


def _words(text: str) -> list[str]:
    return "".join(sign if sign.isalpha() else " " for sign in text.lower()).split()


async def _loop() -> dict[str, float | str]:
    from pipecat_workers_cli.services.models import hearing, speak, transcribe  # noqa: PLC0415
    from pipecat_workers_cli.services.providers import PROVIDERS, Role  # noqa: PLC0415
    from pipecat_workers_cli.services.voices import find_voice  # noqa: PLC0415

    voice = find_voice(PROVIDERS[Role.TTS, "piper"].default)

    async def say(text: str) -> bytes:
        return b"".join([part async for part in speak(text, voice, sample_rate=RATE)])

    await asyncio.gather(hearing.load(), say("Ready."))  # both load, which isn't measured
    began = time.monotonic()
    speech = await say(SENTENCE)
    spoken = time.monotonic()
    heard = await transcribe(speech, sample_rate=RATE)
    done = time.monotonic()
    return {"heard": heard, "speaking": spoken - began, "hearing": done - spoken}


def _main() -> int:
    from pipecat_workers_cli.errors import PmwError  # noqa: PLC0415

    try:
        told = asyncio.run(_loop())
    except PmwError as error:
        sys.stderr.write(f"{error.what}\n")
        return 1
    except Exception as error:  # whatever a broken package raises
        sys.stderr.write(f"{type(error).__name__}\n")
        return 1
    sys.stdout.write(json.dumps(told))
    return 0


if __name__ == "__main__":
    sys.exit(_main())
