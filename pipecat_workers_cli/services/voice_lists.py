"""Which voices there are to speak with: Piper's on this machine, Cartesia's by its own client."""

import wave
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit, urlunsplit

from pipecat_workers_cli.checks import State, check_key
from pipecat_workers_cli.errors import ConfigurationError, PmwError
from pipecat_workers_cli.options import Gender
from pipecat_workers_cli.services.questions import ASK_CARTESIA
from pipecat_workers_cli.services.voices import find_voice, voice_names
from pipecat_workers_cli.settings import variable

if TYPE_CHECKING:
    from cartesia import Cartesia
    from cartesia.types import Voice as CartesiaVoice

KEY, URL = "CARTESIA_API_KEY", "CARTESIA_BASE_URL"
TIMEOUT = 10.0  # seconds for a request
RETRIES = 1
PAGE = 100  # voices in an answer; Cartesia gives no more
MOST_PAGES = 50  # of answers, when what is looked for is in none of them
MODEL = "sonic-3.6"  # as Pipecat asks for in calls
RATE = 24_000  # Hz
SAMPLE = "Hello! This is how I sound. What can I do for you today?"


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which voices are looked for.

    Attributes:
        text: In the name, the description or the id; empty for any.
        language: `en`, or `en-GB`; empty for any.
        gender: None for any.
        limit: At most so many.
        after: The id of the last voice of the page before; empty for the first page.
    """

    text: str = ""
    language: str = ""
    gender: Gender | None = None
    limit: int = 20
    after: str = ""


@dataclass(frozen=True, slots=True)
class Listed:
    """A voice.

    Attributes:
        tts: What is to be typed after `--tts`.
        name: As people call it.
        language: `en`, or with its region `en-US`.
        gender: As in `Gender`; empty where nobody says.
        about: A few words.
    """

    tts: str
    name: str
    language: str
    gender: str = ""
    about: str = ""

    @property
    def id(self) -> str:
        """What the provider calls it."""
        return self.tts.partition(":")[2]


def piper_voices(wanted: Wanted) -> list[Listed]:
    """Return the voices that are installed here, as far as they are looked for."""
    voices = [_of_piper(name) for name in voice_names()]
    found = [voice for voice in voices if _fits(voice, wanted)]
    ids = [voice.id for voice in found]
    start = ids.index(wanted.after) + 1 if wanted.after in ids else 0
    return found[start:]


def cartesia_voices(wanted: Wanted) -> list[Listed]:
    """Ask Cartesia for voices; one more than `limit` tells that there are more.

    Raises:
        PmwError: The key is missing or refused, or Cartesia can't be reached.
    """
    with _client() as client:
        return list(islice(_pages(client, wanted), wanted.limit + 1))


def save_sample(voice: Listed, path: Path, *, text: str = SAMPLE) -> float:
    """Have a voice say a text, and write it down.

    Args:
        voice: As listed.
        path: A WAV file, 16-bit mono; written anew.
        text: What it says.

    Returns:
        How many seconds it speaks.

    Raises:
        ConfigurationError: The file can't be written.
        PmwError: The voice isn't there, or its provider can't be reached.
    """
    spoken = _say(voice, text)
    try:
        path.write_bytes(spoken)
        with wave.open(str(path), "rb") as written:
            # A stream's header knows no length; what is there counts.
            width = written.getsampwidth() * written.getnchannels()
            frames = len(written.readframes(written.getnframes())) // width
            return frames / written.getframerate()
    except OSError as error:
        what = f"cannot write {path}: {error.strerror}"
        raise ConfigurationError(what, mend="name another file") from None
    except (wave.Error, EOFError):
        raise PmwError("what came is no WAV file", mend=f"check {URL}") from None


def _say(voice: Listed, text: str) -> bytes:
    if voice.tts.startswith("piper:"):
        return _say_here(voice, text)
    with _client() as client:
        answer = client.tts.generate(
            model_id=MODEL,
            transcript=text,
            voice={"id": voice.id},
            language=_spoken(voice.language),
            output_format={"container": "wav", "encoding": "pcm_s16le", "sample_rate": RATE},
        )
        return answer.read()


def _say_here(voice: Listed, text: str) -> bytes:
    import io  # noqa: PLC0415

    from pipecat_workers_cli.services.models import Speaker  # noqa: PLC0415  # brings numpy

    file = io.BytesIO()
    with wave.open(file, "wb") as written:
        written.setnchannels(1)
        written.setsampwidth(2)
        written.setframerate(RATE)
        for sentence in Speaker().speak(text, find_voice(voice.id), sample_rate=RATE):
            written.writeframes(sentence)
    return file.getvalue()


def _of_piper(name: str) -> Listed:
    file = find_voice(name).tone.model  # such as en_US-joe-medium
    locale, _, rest = file.partition("-")
    about = rest if name == file else f"made of {file}" if name not in ("joe",) else file
    return Listed(f"piper:{name}", name, locale.replace("_", "-"), "", about)


def _of_cartesia(voice: "CartesiaVoice") -> Listed:
    native = next((one.locale for one in voice.locales or () if one.is_native), voice.language)
    gender = (voice.gender or "").removeprefix("gender_")
    about = " ".join((voice.description or voice.tagline or "").split())
    return Listed(f"cartesia:{voice.id}", voice.name, native, gender, about)


def _pages(client: "Cartesia", wanted: Wanted) -> Iterator[Listed]:
    """Give the voices that are looked for, page by page; the language is ours to look at."""
    asked: dict[str, Any] = {"limit": min(PAGE, wanted.limit + 1)}
    if wanted.language:
        asked["limit"] = PAGE
    if wanted.text:
        asked["q"] = wanted.text
    if wanted.gender is not None:
        neutral = wanted.gender is Gender.NEUTRAL
        asked["gender"] = "gender_neutral" if neutral else wanted.gender.value
    if wanted.after:
        asked["starting_after"] = wanted.after
    page = client.voices.list(**asked)
    for _ in range(MOST_PAGES):
        for voice in page.data or ():
            listed = _of_cartesia(voice)
            locales = [one.locale for one in voice.locales or ()]
            if any(_speaks(one, wanted.language) for one in (voice.language, *locales)):
                yield listed
        if len(page.data or ()) < asked["limit"]:
            return
        page = page.get_next_page()


def _fits(voice: Listed, wanted: Wanted) -> bool:
    known = f"{voice.name} {voice.about} {voice.id}".lower()
    gender = wanted.gender is None or voice.gender == wanted.gender
    return wanted.text.lower() in known and gender and _speaks(voice.language, wanted.language)


def _speaks(locale: str, wanted: str) -> bool:
    """Say whether a locale is one that is looked for: `en-US` is `en`, `en` is no `en-GB`."""
    had, wish = locale.lower().replace("_", "-"), wanted.lower().replace("_", "-")
    return not wish or had == wish or had.startswith(f"{wish}-")


def _spoken(locale: str) -> Any:
    return locale.partition("-")[0]


@contextmanager
def _client() -> Generator["Cartesia"]:
    """Give Cartesia's client; what it raises comes out in our words, without the key."""
    import cartesia  # noqa: PLC0415  # half a second
    import httpx  # noqa: PLC0415

    from pipecat_workers_cli.services.tls import tls  # noqa: PLC0415

    if (key := check_key(KEY, instead="use piper")).state is State.WRONG:
        raise PmwError(key.found, mend=key.mend)
    try:
        with (
            httpx.Client(verify=tls(), timeout=TIMEOUT, follow_redirects=True) as transport,
            cartesia.Cartesia(
                api_key=(variable(KEY) or "").strip(),
                base_url=_server(),
                timeout=TIMEOUT,
                max_retries=RETRIES,
                http_client=transport,
            ) as client,
        ):
            yield client
    except cartesia.AuthenticationError:
        mend = f"copy {KEY} anew from cartesia's console"
        raise PmwError(f"Cartesia refuses the key in {KEY}", mend=mend) from None
    except cartesia.PermissionDeniedError:
        mend = "widen its rights in cartesia's console"
        raise PmwError("Cartesia does not let this key ask for that", mend=mend) from None
    except cartesia.RateLimitError:
        mend = "wait, or raise it in cartesia's console"
        raise PmwError("Cartesia's limit for this key is reached", mend=mend) from None
    except cartesia.NotFoundError:
        raise PmwError("Cartesia has no such voice", mend="choose one of pmw voices") from None
    except cartesia.APITimeoutError:
        mend = f"check the network, and {URL}"
        raise PmwError(f"Cartesia did not answer within {TIMEOUT:.0f} s", mend=mend) from None
    except cartesia.APIConnectionError:
        mend = f"check the network, and {URL}"
        raise PmwError("Cartesia can't be reached", mend=mend) from None
    except cartesia.APIStatusError as error:
        what = f"Cartesia could not do that (HTTP {error.status_code})"
        raise PmwError(what, mend="wait, or see its status page") from None
    except cartesia.APIError as error:
        what = f"Cartesia's answer can't be read ({type(error).__name__})"
        raise PmwError(what, mend=f"check {URL}") from None


def _server() -> str:
    """Return where Cartesia is; its variable may name the socket, which is its neighbour."""
    parts = urlsplit(variable(URL) or ASK_CARTESIA.server)
    scheme = {"ws": "http", "wss": "https"}.get(parts.scheme, parts.scheme)
    path = parts.path.rstrip("/").removesuffix(ASK_CARTESIA.socket)
    return urlunsplit((scheme, parts.netloc, path, "", ""))
