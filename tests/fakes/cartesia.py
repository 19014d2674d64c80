"""A Cartesia that speaks in tones: by socket, by HTTP, and with a list of voices."""

import asyncio
import base64
import io
import json
import uuid
import wave
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from aiohttp import web

from tests.fakes.provider import Behaviour, FakeProvider, Seen, drop

A_CHARACTER = 0.05  # seconds of sound; people speak some 15 to 20 characters a second
CHUNK = 0.1  # seconds of sound in one message
LOUDNESS = 0.3  # of full scale
LONGEST_PAGE = 100  # voices
WAITING = 100  # texts that wait in one context

REFUSALS = {
    Behaviour.WRONG_KEY: (401, "invalid_api_key", "Unauthorized", "The API key is not valid."),
    Behaviour.LIMIT: (
        429,
        "concurrency_limited",
        "Too many concurrent requests",
        "You have exceeded your plan's concurrency limit.",
    ),
}
BROKEN = (500, None, "Internal server error", "An unexpected error occurred.")
BAD_VOICE = (400, "voice_not_found", "Invalid voice", "The voice is not a valid voice ID.")
BAD_FORMAT = (400, None, "Invalid output format", "Only raw pcm_s16le and pcm_f32le are spoken.")


def pitch(voice: str) -> int:
    """Return the frequency in hertz, 200 to 999, that a voice speaks with."""
    return 200 + zlib.crc32(voice.encode()) % 800


def length(text: str) -> float:
    """Return how many seconds a text is spoken for."""
    return len(text.strip()) * A_CHARACTER


def some_voice(number: int, **fields: Any) -> dict[str, Any]:
    """Return a voice as the API tells of it: `Fake 1`, in English, feminine if it is odd."""
    return {
        "id": str(uuid.UUID(int=number)),
        "name": f"Fake {number}",
        "tagline": "A Tone",
        "description": f"A tone, the {number}. of its kind",
        "language": "en",
        "locales": [{"locale": "en-US", "is_native": True}],
        "gender": "feminine" if number % 2 else "masculine",
        "access": "public",
        "visibility": "all",
        "is_owner": False,
        "created_at": "2026-01-02T03:04:05Z",
    } | fields


class FakeCartesia(FakeProvider):
    """Speaks each text as a tone: the longer the text the longer, each voice at its own pitch.

    `LIMIT` refuses a handshake with 429 and a text on an open socket with an error of that
    status. `CUT` drops the socket after the first chunk, `ERROR` sends an error there, and
    `STALL` takes texts and sends nothing.

    Attributes:
        pace: Seconds between two chunks; a chunk holds 0.1 s of sound.
        voices: All that there are, as the API tells of them.
        spoken: Context id to the texts of it that were spoken to their end.
    """

    def __init__(
        self,
        *,
        key: str = "sk_car_fake0123456789",
        behaviour: Behaviour = Behaviour.NORMAL,
        pace: float = 0.0,
    ) -> None:
        super().__init__(key=key, behaviour=behaviour)
        self.pace = pace
        self.spoken: dict[str, list[str]] = {}
        self.voices: list[dict[str, Any]] = [some_voice(number) for number in (1, 2)]

    def add_routes(self, app: web.Application) -> None:
        """Serve the socket, speech as a file, and the voices, which tell whether a key is good."""
        app.router.add_get("/tts/websocket", self._speak)
        app.router.add_get("/voices", self._voices)
        app.router.add_get("/voices/", self._voices)
        app.router.add_get("/voices/{id}", self._one_voice)
        app.router.add_post("/tts/bytes", self._speak_file)

    async def _speak(self, request: web.Request) -> web.StreamResponse:
        seen = await self.see(request)
        if refused := self._refused(seen):
            return refused
        socket = web.WebSocketResponse(timeout=1.0)
        async with self.connected(request):
            await socket.prepare(request)
            async with asyncio.TaskGroup() as voices:
                speaking = _Speaking(self, request, socket, voices)
                async for message in self.messages(socket, seen):
                    asked = json.loads(message)
                    seen.messages.append(asked)
                    await speaking.take(asked)
                speaking.stop()
        return socket

    async def _voices(self, request: web.Request) -> web.Response:
        seen = await self.see(request)
        if refused := self._refused(seen):
            return refused
        if self.behaviour is Behaviour.STALL:
            await self.stall()
        wanted, gender = seen.query.get("q", "").lower(), seen.query.get("gender")
        found = [
            voice
            for voice in self.voices
            if wanted in f"{voice['name']} {voice['description']} {voice['id']}".lower()
            and gender in (None, voice["gender"])
        ]
        ids = [voice["id"] for voice in found]
        after = seen.query.get("starting_after")
        start = ids.index(after) + 1 if after in ids else 0
        most = int(seen.query.get("limit", "10"))
        if not 1 <= most <= LONGEST_PAGE:
            return _refuse((400, None, "Invalid limit", "limit must be between 1 and 100"))
        page = found[start : start + most]
        more = len(found) > start + most
        told = {"data": page, "has_more": more, "next_page": page[-1]["id"] if more else None}
        return web.json_response(told)

    async def _one_voice(self, request: web.Request) -> web.Response:
        seen = await self.see(request)
        if refused := self._refused(seen):
            return refused
        if self.behaviour is Behaviour.STALL:
            await self.stall()
        wanted = request.match_info["id"]
        for voice in self.voices:
            if voice["id"] == wanted:
                return web.json_response(voice)
        return _refuse((404, "voice_not_found", "Voice not found", "There is no such voice."))

    async def _speak_file(self, request: web.Request) -> web.Response:
        seen = await self.see(request)
        form = seen.body.get("output_format") or {}
        known = {voice["id"] for voice in self.voices}
        if refused := self._refused(seen):
            return refused
        if (seen.body.get("voice") or {}).get("id") not in known:
            return _refuse(BAD_VOICE)
        if form.get("container") != "wav" or form.get("encoding") != "pcm_s16le":
            return _refuse(BAD_FORMAT)
        text = str(seen.body["transcript"])
        file = io.BytesIO()
        with wave.open(file, "wb") as written:
            written.setnchannels(1)
            written.setsampwidth(2)
            written.setframerate(form["sample_rate"])
            written.writeframes(b"".join(_chunks(seen.body, length(text))))
        return web.Response(body=file.getvalue(), content_type="audio/wav")

    def _refused(self, seen: Seen) -> web.Response | None:
        given = seen.headers.get("x-api-key") or seen.query.get("api_key")
        bearer = seen.headers.get("authorization", "").removeprefix("Bearer ")
        if refusal := self.refusal(given or bearer):
            return _refuse(REFUSALS[refusal])
        if not (seen.headers.get("cartesia-version") or seen.query.get("cartesia_version")):
            return _refuse((400, None, "Missing version", "Send the Cartesia-Version header."))
        return None


@dataclass(slots=True)
class _Context:
    """One turn's speech: its texts are spoken one after another by one task."""

    id: str
    texts: asyncio.Queue[Mapping[str, Any]] = field(
        default_factory=lambda: asyncio.Queue(maxsize=WAITING)
    )
    at: float = 0.0  # seconds of sound so far
    cancelled: bool = False
    task: asyncio.Task[None] | None = None


class _Speaking:
    """One open socket; several contexts may speak at once."""

    def __init__(
        self,
        fake: FakeCartesia,
        request: web.Request,
        socket: web.WebSocketResponse,
        voices: asyncio.TaskGroup,
    ) -> None:
        self._fake, self._request, self._socket, self._voices = fake, request, socket, voices
        self._contexts: dict[str, _Context] = {}

    async def take(self, asked: Mapping[str, Any]) -> None:
        """Handle one message: a text, the end of a context, or its cancellation."""
        name = str(asked.get("context_id") or uuid.uuid4())
        if asked.get("cancel"):
            if context := self._contexts.get(name):
                context.cancelled = True
                await context.texts.put(asked)  # wakes a context that waits for more
            return
        if fault := self._fault(asked):
            await self._fail(name, fault)
            return
        context = self._contexts.get(name)
        if context is None:
            context = self._contexts[name] = _Context(name)
            context.task = self._voices.create_task(self._speak(context))
        await context.texts.put(asked)

    def stop(self) -> None:
        """End every context's task, as the client has gone."""
        for context in self._contexts.values():
            if context.task is not None:
                context.task.cancel()

    def _fault(self, asked: Mapping[str, Any]) -> tuple[int, str | None, str, str] | None:
        if self._fake.behaviour is Behaviour.LIMIT:
            return REFUSALS[Behaviour.LIMIT]
        if not (asked.get("voice") or {}).get("id"):
            return BAD_VOICE
        form = asked.get("output_format") or {}
        if form.get("container") != "raw" or form.get("encoding") not in ENCODERS:
            return BAD_FORMAT
        return None

    async def _speak(self, context: _Context) -> None:
        try:
            while True:
                asked = await context.texts.get()
                if self._fake.behaviour is Behaviour.STALL:
                    continue
                # Only what hasn't begun is cancelled; what is being spoken goes on.
                if not context.cancelled and not await self._speak_text(context, asked):
                    return
                if context.cancelled or not asked.get("continue"):
                    await self._send(context.id, type="done", done=True)
                    return
                if asked.get("flush") or asked.get("max_buffer_delay_ms") == 0:
                    await self._send(context.id, type="flush_done", flush_done=True, flush_id=1)
        except ConnectionError:
            return  # the client has gone, and with it whoever would listen
        finally:
            del self._contexts[context.id]

    async def _speak_text(self, context: _Context, asked: Mapping[str, Any]) -> bool:
        """Send one text's sound and words; False if the context ends here."""
        text = str(asked.get("transcript") or "")
        for number, chunk in enumerate(_chunks(asked, length(text))):
            data = base64.b64encode(chunk).decode()
            await self._send(context.id, type="chunk", data=data, step_time=1.0)
            if number == 0 and asked.get("add_timestamps"):
                words = _words(text, context.at)
                await self._send(context.id, type="timestamps", word_timestamps=words)
            if self._fake.behaviour is Behaviour.CUT:
                drop(self._request)
                return False
            if self._fake.behaviour is Behaviour.ERROR:
                await self._fail(context.id, BROKEN)
                return False
            await asyncio.sleep(self._fake.pace)
        context.at += length(text)
        if text.strip():
            self._fake.spoken.setdefault(context.id, []).append(text)
            await self._fake.tell()
        return True

    async def _fail(self, context_id: str, fault: tuple[int, str | None, str, str]) -> None:
        status, code, title, message = fault
        error = {"error_code": code, "title": title, "message": message}
        request_id = str(uuid.uuid4())
        await self._send(
            context_id, type="error", done=True, status=status, request_id=request_id, **error
        )

    async def _send(
        self, context_id: str, *, done: bool = False, status: int = 206, **message: Any
    ) -> None:
        if not self._socket.closed:
            told = {"done": done, "status_code": status, "context_id": context_id}
            await self._socket.send_json(message | told)


def _chunks(asked: Mapping[str, Any], seconds: float) -> Iterator[bytes]:
    """Give a tone in pieces of 0.1 s, the last one shorter."""
    form, voice = asked["output_format"], str(asked["voice"]["id"])
    rate = int(form["sample_rate"])
    times = np.arange(round(seconds * rate)) / rate
    tone = LOUDNESS * np.sin(2 * np.pi * pitch(voice) * times)
    step = round(CHUNK * rate)
    for start in range(0, len(tone), step):
        yield ENCODERS[form["encoding"]](tone[start : start + step])


def _words(text: str, at: float) -> dict[str, list[Any]]:
    """Say when each word is spoken, in seconds from the context's beginning."""
    told: dict[str, list[Any]] = {"words": [], "start": [], "end": []}
    place = 0
    for word in text.split():
        place = text.strip().index(word, place)
        told["words"].append(word)
        told["start"].append(round(at + place * A_CHARACTER, 3))
        place += len(word)
        told["end"].append(round(at + place * A_CHARACTER, 3))
    return told


def _refuse(fault: tuple[int, str | None, str, str]) -> web.Response:
    status, code, title, message = fault
    error = {"error_code": code, "title": title, "message": message}
    return web.json_response(error | {"request_id": str(uuid.uuid4())}, status=status)


ENCODERS = {
    "pcm_s16le": lambda tone: (tone * 32767).astype("<i2").tobytes(),
    "pcm_f32le": lambda tone: tone.astype("<f4").tobytes(),
}
