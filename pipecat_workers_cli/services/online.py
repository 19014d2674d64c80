"""Asks the providers themselves whether they take a key, over their real HTTP interfaces."""

import json
import time
from http import HTTPStatus
from typing import Any, cast
from urllib.parse import quote, urlsplit, urlunsplit

import httpx

from pipecat_workers_cli.checks import Check, State
from pipecat_workers_cli.errors import near_miss
from pipecat_workers_cli.services.providers import Choice, Provider, Role, provider
from pipecat_workers_cli.services.questions import Question
from pipecat_workers_cli.services.tls import tls
from pipecat_workers_cli.settings import variable

CONNECT_WITHIN, ANSWER_WITHIN = 5.0, 8.0  # seconds; a caller hangs up in longer silence
NAMED = 8  # models that a mend names, at most
MOST = 4_000_000  # bytes of an answer that are read; a long list of models has some 100,000


async def ask_provider(choice: Choice, voice: str | None = None) -> Check | None:
    """Ask a provider one thing that shows whether it takes the key and has the model.

    Args:
        choice: The provider; its key and address are well-formed.
        voice: The voice it would speak with, when the choice names none.

    Returns:
        What came of it; None for a provider that has nothing to be asked.
    """
    row = provider(choice)
    if row.question is None:
        return None
    model = choice.model or voice or row.default
    name = f"{choice.role} by {row.name}, online"
    url = _server(row, choice, row.question) + row.question.path.format(model=quote(model, safe=""))
    key = (variable(row.key) or "").strip() if row.key else ""
    headers = {header: value.format(key=key) for header, value in row.question.headers.items()}
    began = time.monotonic()
    try:
        status, body = await _get(url, headers)
    except httpx.TimeoutException:
        return _unreached(name, row, url, "does not answer in time")
    except (httpx.HTTPError, httpx.InvalidURL, ValueError) as error:
        why = "can't be reached" if isinstance(error, httpx.TransportError) else "gives no answer"
        return _unreached(name, row, url, f"{why} ({type(error).__name__})")
    took = f"{time.monotonic() - began:.2f} s"
    return _judge(name, row, status=status, body=body, model=model, took=took)


async def _get(url: str, headers: dict[str, str]) -> tuple[int, bytes]:
    timeout = httpx.Timeout(ANSWER_WITHIN, connect=CONNECT_WITHIN)
    async with (
        httpx.AsyncClient(timeout=timeout, verify=tls()) as client,
        client.stream("GET", url, headers=headers) as response,
    ):
        body = b""
        async for chunk in response.aiter_bytes():
            body += chunk
            if len(body) > MOST:
                break
        return response.status_code, body


def _server(row: Provider, choice: Choice, question: Question) -> str:
    named = choice.settings.get("base_url") or (row.url and variable(row.url)) or question.server
    parts = urlsplit(str(named))
    scheme = {"ws": "http", "wss": "https"}.get(parts.scheme, parts.scheme)
    path = parts.path.rstrip("/")
    path = path.removesuffix(question.socket) if question.socket else path
    return urlunsplit((scheme, parts.netloc, path, "", ""))


def _unreached(name: str, row: Provider, url: str, why: str) -> Check:
    host = urlsplit(url).hostname or "that address"
    mend = f"start it, or check {row.url}" if row.local else f"check the network, and {row.url}"
    return Check(name, State.WRONG, f"{host} {why}", mend)


def _judge(name: str, row: Provider, *, status: int, body: bytes, model: str, took: str) -> Check:
    noun = "voice" if row.role is Role.TTS else "model"
    asks_for_one = row.question is not None and "{model}" in row.question.path
    match status:
        case HTTPStatus.OK:
            return _judge_answer(name, row, body=body, model=model, took=took)
        case HTTPStatus.UNAUTHORIZED:
            mend = f"copy {row.key} anew from {row.name}'s console" if row.key else "see its log"
            return Check(name, State.WRONG, f"refuses the key in {row.key}", mend)
        case HTTPStatus.FORBIDDEN:
            found = "knows the key, but does not let it ask for this"
            return Check(name, State.WARNING, found, f"widen its rights in {row.name}'s console")
        case HTTPStatus.PAYMENT_REQUIRED | HTTPStatus.TOO_MANY_REQUESTS:
            found = "takes the key, but its limit is reached"
            return Check(name, State.WARNING, found, f"wait, or raise it in {row.name}'s console")
        case HTTPStatus.NOT_FOUND | HTTPStatus.BAD_REQUEST if asks_for_one:
            found = f"takes the key, but has no {noun} '{model}'"
            seen = "pmw voices" if row.role is Role.TTS else f"{row.name}'s list of models"
            return Check(name, State.WRONG, found, f"choose one of {seen}")
        case HTTPStatus.NOT_FOUND | HTTPStatus.METHOD_NOT_ALLOWED:
            found = "answers, but can't say whether it takes the key"
            return Check(name, State.WARNING, found, "hold a call to see: --say 'Hello?'")
        case _:
            found = f"has trouble of its own (HTTP {status})"
            return Check(name, State.WARNING, found, f"wait, or see {row.name}'s status page")


def _judge_answer(name: str, row: Provider, *, body: bytes, model: str, took: str) -> Check:
    try:
        told: Any = json.loads(body)
    except ValueError:
        found = f"what answers there is no {row.name}"
        return Check(name, State.WRONG, found, f"check {row.url}")
    accepted = f"{'key accepted' if row.key else 'answers'} in {took}"
    ids = _ids(told) if row.question is not None and row.question.lists else None
    if ids is None or model in ids or f"{model}:latest" in ids:
        return Check(name, State.OK, accepted)
    close = sorted(ids, key=lambda known: (model.partition("-")[0] not in known, known))[:NAMED]
    fetch = row.question.fetch.format(model=model) if row.question else ""
    mend = "; ".join(part for part in (fetch, near_miss(model, close)) if part)
    return Check(name, State.WRONG, f"{accepted}, but it has no model '{model}'", mend)


def _ids(told: Any) -> set[str] | None:
    """Return the ids of a list of models; None if this is none."""
    data: Any = cast("dict[str, Any]", told).get("data") if isinstance(told, dict) else None
    if not isinstance(data, list):
        return None
    rows = cast("list[Any]", data)
    return {str(row["id"]) for row in rows if isinstance(row, dict) and "id" in row}
