"""Sound devices of this machine, by PortAudio: which there are, and which one is meant."""

import ctypes
import sys
from contextlib import suppress
from dataclasses import dataclass
from enum import StrEnum
from functools import cache
from importlib import import_module
from typing import Any

from pipecat_workers_cli.errors import ConfigurationError, PmwError, mend_extra, near_miss
from pipecat_workers_cli.options import LocalOptions

RATE = 16_000  # Hz that are heard; what the VAD and the offline STT are trained on
PLAYED_RATE = 24_000  # Hz; what most voices speak at
NONE_HERE = "plug one in; or call from a browser, without -t; or in words, by -t console"


class Direction(StrEnum):
    """Which way sound goes through a device."""

    INPUT = "input"
    OUTPUT = "output"

    @property
    def noun(self) -> str:
        """What people call such a device."""
        return "microphone" if self is Direction.INPUT else "loudspeaker"


@dataclass(frozen=True, slots=True)
class Device:
    """A device as PortAudio has it.

    Attributes:
        number: Its number, which changes as devices come and go.
        name: Its name.
        api: The sound system that it belongs to, such as `ALSA`.
        inputs: Channels that can be heard; 0 if it is no microphone.
        outputs: Channels that can be played.
        rate: Samples a second that it likes best.
        default_for: The directions in which it is taken when none is named.
    """

    number: int
    name: str
    api: str
    inputs: int
    outputs: int
    rate: int
    default_for: tuple[Direction, ...] = ()

    def channels(self, direction: Direction) -> int:
        """Return how many channels it has in a direction."""
        return self.inputs if direction is Direction.INPUT else self.outputs


@dataclass(frozen=True, slots=True)
class Line:
    """A device that is to be opened, and how.

    Attributes:
        device: Which.
        direction: Which way.
        rate: Samples a second.
        channels: 1, or 2 where it takes no less.
    """

    device: Device
    direction: Direction
    rate: int
    channels: int


def load_portaudio() -> Any:
    """Return the module `sounddevice`, over PortAudio.

    Raises:
        PmwError: One of both isn't installed.
    """
    _quieten_alsa()
    try:
        return import_module("sounddevice")
    except ImportError:
        raise PmwError("-t local needs the package sounddevice", mend=mend_extra("local")) from None
    except OSError:  # its wheels for Linux come without the library
        raise PmwError(
            "-t local needs the library PortAudio",
            mend="apt-get install libportaudio2, or your system's package of it",
        ) from None


@cache  # once a process
def _quieten_alsa() -> object:
    """Keep ALSA from writing of each underrun into what is drawn on stderr.

    Returns:
        Its new handler, which must live as long as the process.
    """
    if not sys.platform.startswith("linux"):
        return None
    handler = ctypes.CFUNCTYPE(
        None, ctypes.c_char_p, ctypes.c_int, ctypes.c_char_p, ctypes.c_int, ctypes.c_char_p
    )(lambda *_: None)
    with suppress(OSError, AttributeError):  # no ALSA, no words of it
        ctypes.CDLL("libasound.so.2").snd_lib_error_set_handler(handler)
    return handler


def list_devices() -> tuple[Device, ...]:
    """Return all devices, in PortAudio's order.

    Raises:
        PmwError: PortAudio isn't installed.
    """
    portaudio = load_portaudio()
    apis = [api["name"] for api in portaudio.query_hostapis()]
    defaults = dict(zip(Direction, portaudio.default.device, strict=True))
    return tuple(
        Device(
            number=number,
            name=found["name"],
            api=apis[found["hostapi"]],
            inputs=found["max_input_channels"],
            outputs=found["max_output_channels"],
            rate=round(found["default_samplerate"]),
            default_for=tuple(way for way, chosen in defaults.items() if chosen == number),
        )
        for number, found in enumerate(portaudio.query_devices())
    )


def find_line(direction: Direction, wanted: str | None, *, rate: int) -> Line:
    """Choose a device and how to open it; nothing is opened yet.

    Args:
        direction: Which way sound is to go.
        wanted: Its number, its name or a part of the name; None takes the default.
        rate: Samples a second, if the device can do it; else those that it likes best.

    Raises:
        ConfigurationError: No device is called so, or several are.
        PmwError: There is none, it can't be opened so, or PortAudio isn't installed.
    """
    portaudio = load_portaudio()
    able = [device for device in list_devices() if device.channels(direction)]
    if not able:
        raise PmwError(f"this machine has no {direction.noun}", mend=NONE_HERE)
    device = _default(able, direction) if wanted is None else _named(able, direction, wanted)
    check = getattr(portaudio, f"check_{direction}_settings")
    failure = ""
    for channels in (1, 2):
        for possible in dict.fromkeys((rate, device.rate)):
            try:
                check(device.number, channels=channels, dtype="int16", samplerate=possible)
            except (portaudio.PortAudioError, ValueError) as error:
                failure = failure or str(error)
            else:
                return Line(device, direction, possible, channels)
    raise unusable(direction, device.name, failure)


def choose_lines(options: LocalOptions) -> tuple[Line, Line]:
    """Return how the microphone and the loudspeaker are to be opened.

    Raises:
        ConfigurationError: A device isn't there, or its name is another's, too.
        PmwError: This machine has none, or PortAudio isn't installed.
    """
    return (
        find_line(Direction.INPUT, options.input_device, rate=RATE),
        find_line(Direction.OUTPUT, options.output_device, rate=PLAYED_RATE),
    )


def unusable(direction: Direction, name: str, failure: str) -> PmwError:
    """Return what to say of a device that PortAudio can't open."""
    return PmwError(
        f"the {direction.noun} '{name}' can't be opened: {failure.partition(' [')[0]}",
        mend="is another program using it? choose another by --list-devices",
    )


def _default(able: list[Device], direction: Direction) -> Device:
    return next((device for device in able if direction in device.default_for), able[0])


def _named(able: list[Device], direction: Direction, wanted: str) -> Device:
    if wanted.isdecimal():
        found = [device for device in able if device.number == int(wanted)]
    else:
        whole = [device for device in able if device.name.casefold() == wanted.casefold()]
        part = [device for device in able if wanted.casefold() in device.name.casefold()]
        found = whole or part
    if not found:
        raise ConfigurationError(
            f"no {direction.noun} is called '{wanted}'",
            mend=f"{near_miss(wanted, [one.name for one in able])}; see --list-devices",
        )
    if len(found) > 1:
        raise ConfigurationError(
            f"{len(found)} devices are called '{wanted}'",
            mend="name one by its number: see --list-devices",
        )
    return found[0]
