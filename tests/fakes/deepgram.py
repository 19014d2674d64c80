"""A Deepgram that hears: `/v1/listen`, the streaming websocket, and the check of a key."""

import asyncio
import json
import time
import uuid
from collections.abc import Iterable
from typing import Any

import numpy as np
from aiohttp import WSCloseCode, web

from tests.fakes.provider import Behaviour, FakeProvider, Seen, drop

VOICE = 200.0  # RMS of 16-bit samples from which a sound is speech; a quiet room has some 20
HUSH = 0.3  # seconds of silence that end an utterance, as pauses within one are shorter
INTERIM_AFTER = 0.1  # seconds of speech before the first guess

REFUSALS = {
    Behaviour.WRONG_KEY: (401, "INVALID_AUTH", "Invalid credentials."),
    Behaviour.LIMIT: (429, "TOO_MANY_REQUESTS", "Too many requests. Please try again later"),
}
NO_ANSWER = "NET-0000: Deepgram did not provide a response message within the timeout window."
NO_AUDIO = (
    "NET-0001: Deepgram did not receive audio data or a text message within the timeout window."
)


class FakeDeepgram(FakeProvider):
    """Hears each utterance as the next of its transcripts.

    An utterance is sound followed by silence, by `Finalize` or by `CloseStream`. Under `CUT`
    and `ERROR` the connection ends when speech has been heard for a moment.
    """

    def __init__(
        self,
        transcripts: Iterable[str] = (),
        *,
        key: str = "dg-fake-key-0123456789",
        behaviour: Behaviour = Behaviour.NORMAL,
        idle_timeout: float = 10.0,
    ) -> None:
        """Prepare what will be heard.

        Args:
            transcripts: One a spoken utterance; later ones are heard as nothing.
            key: The key it takes.
            behaviour: How it is disposed at first.
            idle_timeout: Seconds without audio or `KeepAlive` before it hangs up.
        """
        super().__init__(key=key, behaviour=behaviour)
        self.idle_timeout = idle_timeout
        self._transcripts = iter(transcripts)

    def hear(self, *transcripts: str) -> None:
        """Replace what the next utterances will be heard as."""
        self._transcripts = iter(transcripts)

    def next_transcript(self) -> str:
        """Take what the utterance that begins now is heard as."""
        return next(self._transcripts, "")

    def add_routes(self, app: web.Application) -> None:
        """Serve the socket, and the two paths that tell whether a key is good."""
        app.router.add_get("/v1/listen", self._listen)
        app.router.add_get("/v1/projects", self._projects)
        app.router.add_get("/v1/auth/token", self._token)

    async def _listen(self, request: web.Request) -> web.StreamResponse:
        seen = await self.see(request)
        if refused := self._refused(seen):
            return refused
        if "model" not in seen.query:
            return _error(400, "INVALID_QUERY_PARAMETER", "Failed to deserialize query parameters.")
        request_id = str(uuid.uuid4())
        socket = web.WebSocketResponse(timeout=1.0)
        socket.headers["dg-request-id"] = request_id
        async with self.connected(request):
            await socket.prepare(request)
            await _Hearing(self, request, socket, seen, request_id).run()
        return socket

    async def _projects(self, request: web.Request) -> web.Response:
        seen = await self.see(request)
        projects = [{"project_id": str(uuid.uuid4()), "name": "fake"}]
        return self._refused(seen) or web.json_response({"projects": projects})

    async def _token(self, request: web.Request) -> web.Response:
        seen = await self.see(request)
        return self._refused(seen) or web.json_response({"api_key_id": str(uuid.uuid4())})

    def _refused(self, seen: Seen) -> web.Response | None:
        scheme, _, given = seen.headers.get("authorization", "").partition(" ")
        refusal = self.refusal(given if scheme.lower() in ("token", "bearer") else None)
        return _error(*REFUSALS[refusal]) if refusal else None


class _Hearing:
    """One open stream."""

    def __init__(
        self,
        fake: FakeDeepgram,
        request: web.Request,
        socket: web.WebSocketResponse,
        seen: Seen,
        request_id: str,
    ) -> None:
        self._fake, self._request, self._socket, self._seen = fake, request, socket, seen
        self._request_id = request_id
        self._rate = int(seen.query.get("sample_rate", "16000"))
        self._interims = seen.query.get("interim_results") == "true"
        endpointing = seen.query.get("endpointing", "10")
        self._hush = max(HUSH, int(endpointing) / 1000) if endpointing.isdigit() else float("inf")
        self._heard = 0.0  # seconds of audio so far
        self._began: float | None = None  # where in them the utterance began
        self._voiced = 0.0  # where it last sounded
        self._transcript: str | None = None  # of the utterance, once there is a guess

    async def run(self) -> None:
        """Answer what arrives until either side ends the stream."""
        messages = self._fake.messages(self._socket, self._seen)
        while True:
            try:
                async with asyncio.timeout(self._fake.idle_timeout):
                    message = await anext(messages)
            except StopAsyncIteration:
                return
            except TimeoutError:
                await self._socket.close(code=WSCloseCode.INTERNAL_ERROR, message=NO_AUDIO.encode())
                return
            if not await self._take(message):
                return

    async def _take(self, message: str | bytes) -> bool:
        """Handle one message; False ends the stream."""
        if isinstance(message, bytes):
            # An empty message means the end, as it did before there was CloseStream.
            return await self._listen(message) if message else await self._close()
        command = self._parse(message)
        self._seen.messages.append(command)
        if self._fake.behaviour is Behaviour.STALL:
            return True
        match command.get("type"):
            case "Finalize":
                await self._end_utterance(from_finalize=True)
            case "CloseStream":
                return await self._close()
            case "KeepAlive":
                pass
            case _:
                await self._send(
                    type="Error",
                    variant="SchemaError",
                    description="Could not deserialize last text message",
                    message=message,
                )
        return True

    async def _listen(self, audio: bytes) -> bool:
        samples = np.frombuffer(audio[: len(audio) // 2 * 2], dtype="<i2").astype(np.float64)
        self._heard += len(samples) / self._rate
        if self._fake.behaviour is Behaviour.STALL:
            return True
        if samples.size and np.sqrt(np.mean(samples**2)) > VOICE:
            if self._began is None:
                self._began = self._heard - len(samples) / self._rate
            self._voiced = self._heard
            if self._transcript is None and self._heard - self._began >= INTERIM_AFTER:
                return await self._guess()
        elif self._began is not None and self._heard - self._voiced >= self._hush:
            await self._end_utterance(from_finalize=False)
        return True

    async def _guess(self) -> bool:
        if self._fake.behaviour is Behaviour.CUT:
            drop(self._request)
            return False
        if self._fake.behaviour is Behaviour.ERROR:
            await self._socket.close(code=WSCloseCode.INTERNAL_ERROR, message=NO_ANSWER.encode())
            return False
        self._transcript = self._fake.next_transcript()
        words = self._transcript.split()
        if self._interims and words:
            await self._results(" ".join(words[: (len(words) + 1) // 2]), is_final=False)
        return True

    async def _end_utterance(self, *, from_finalize: bool) -> None:
        if self._began is not None and self._transcript is None:
            self._transcript = self._fake.next_transcript()
        text, self._transcript = self._transcript or "", None
        await self._results(text, is_final=True, from_finalize=from_finalize)
        self._began = None

    async def _close(self) -> bool:
        if self._began is not None:
            await self._end_utterance(from_finalize=False)
        await self._send(
            type="Metadata",
            transaction_key="deprecated",
            request_id=self._request_id,
            sha256="0" * 64,
            created=time.strftime("%Y-%m-%dT%H:%M:%S.000Z", time.gmtime()),
            duration=round(self._heard, 3),
            channels=1,
        )
        await self._socket.close()
        return False

    async def _results(self, text: str, *, is_final: bool, from_finalize: bool = False) -> None:
        start = self._heard if self._began is None else self._began
        alternative = {
            "transcript": text,
            "confidence": 0.99 if text else 0.0,
            "words": _words(text, start, self._heard),
        }
        await self._send(
            type="Results",
            channel_index=[0, 1],
            duration=round(self._heard - start, 3),
            start=round(start, 3),
            is_final=is_final,
            speech_final=is_final and not from_finalize,
            channel={"alternatives": [alternative]},
            metadata={
                "request_id": self._request_id,
                "model_info": {
                    "name": self._seen.query["model"],
                    "version": "fake",
                    "arch": "fake",
                },
                "model_uuid": str(uuid.UUID(int=0)),
            },
            from_finalize=from_finalize,
        )

    async def _send(self, **message: Any) -> None:
        if not self._socket.closed:
            await self._socket.send_json(message)

    @staticmethod
    def _parse(text: str) -> dict[str, Any]:
        try:
            parsed = json.loads(text)
        except ValueError:
            return {}
        return parsed if isinstance(parsed, dict) else {}


def _words(text: str, start: float, end: float) -> list[dict[str, Any]]:
    words = text.split()
    step = (end - start) / len(words) if words else 0.0
    return [
        {
            "word": word.lower().strip(".,!?"),
            "punctuated_word": word,
            "start": round(start + place * step, 3),
            "end": round(start + (place + 1) * step, 3),
            "confidence": 0.99,
        }
        for place, word in enumerate(words)
    ]


def _error(status: int, code: str, message: str) -> web.Response:
    request_id = str(uuid.uuid4())
    return web.json_response(
        {"err_code": code, "err_msg": message, "request_id": request_id},
        status=status,
        headers={"dg-error": message, "dg-request-id": request_id},
    )
