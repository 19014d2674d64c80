"""The services of the cloud as they are built: what they ask, whom, and how long they wait.

Whole conversations with them are held in tests/fakes, against servers that speak the protocols.
"""

import asyncio
import json
import time
import warnings
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import pytest
from pipecat.frames.frames import (
    ErrorFrame,
    LLMContextFrame,
    LLMFullResponseEndFrame,
    TTSSpeakFrame,
)
from pipecat.processors.aggregators.llm_context import LLMContext
from pipecat.services.anthropic.llm import AnthropicLLMService
from pipecat.services.ollama.llm import OLLamaLLMService
from pipecat.services.openai.llm import OpenAILLMService
from websockets.asyncio.server import serve

from pipecat_workers_cli.options import ServiceOptions
from pipecat_workers_cli.recipe.model import Service
from pipecat_workers_cli.services import (  # noqa: F401  Pipecat warns of itself on import
    anthropic,
    cartesia,
    deepgram,
    openai,
)
from pipecat_workers_cli.services.providers import (
    Persona,
    Role,
    build_llm,
    build_stt,
    build_tts,
    choose,
)
from tests.services.pipelines import running

GREETER = Persona("greeter", prompt="You greet callers.")
FIRST_EVENT = (
    b'data: {"id":"1","object":"chat.completion.chunk","created":1,"model":"m","choices":[]}\n\n'
)
STREAM = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n"


@dataclass
class Listening:
    """A server that notes what it is asked, answers as told and then says nothing more."""

    answer: bytes
    url: str = ""
    requests: list[tuple[str, dict[str, str], dict]] = field(default_factory=list)
    hung_up: asyncio.Event = field(default_factory=asyncio.Event)

    async def serve_one(self, reader, writer):
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        line, *rest = head.strip().split("\r\n")
        headers = {name.lower(): value for name, value in (h.split(": ", 1) for h in rest)}
        body = await reader.readexactly(int(headers["content-length"]))
        self.requests.append((line, headers, json.loads(body)))
        writer.write(self.answer)
        await writer.drain()
        await reader.read()  # until the client hangs up
        self.hung_up.set()
        writer.close()


@asynccontextmanager
async def listening(answer=b""):
    heard = Listening(answer)
    server = await asyncio.start_server(heard.serve_one, "127.0.0.1", 0)
    async with server:
        heard.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1"
        yield heard


def llm(use, **settings):
    choice = choose(Role.LLM, options=ServiceOptions(), main=Service(use=use, **settings))
    return build_llm(choice, GREETER)


async def ask(service):
    """Ask for an answer in a real pipeline; returns the errors and the seconds it took."""
    context = LLMContext([{"role": "user", "content": "Hello"}])
    async with running(service) as (worker, sink):
        began = time.monotonic()
        await worker.queue_frame(LLMContextFrame(context))
        await sink.until(LLMFullResponseEndFrame)
        took = time.monotonic() - began
        errors = [frame.error for frame in await sink.until(ErrorFrame)]
    return errors, took


@pytest.fixture(autouse=True)
def keys(monkeypatch):
    for name in ("OPENAI", "ANTHROPIC", "DEEPGRAM", "CARTESIA"):
        monkeypatch.setenv(f"{name}_API_KEY", f"key-of-{name.lower()}")


@pytest.mark.parametrize("use", ["openai", "anthropic", "ollama:qwen3", "deepgram", "cartesia"])
def test_nothing_deprecated_is_built_with(use):
    role = {"deepgram": Role.STT, "cartesia": Role.TTS}.get(use, Role.LLM)
    choice = choose(role, options=ServiceOptions(**{role.value: use}))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        if role is Role.LLM:
            build_llm(choice, GREETER)
        elif role is Role.STT:
            build_stt(choice)
        else:
            build_tts(choice, None)


@pytest.mark.parametrize(
    ("use", "kind", "key"),
    [
        ("openai:gpt-test", OpenAILLMService, "key-of-openai"),
        ("ollama:gpt-test", OLLamaLLMService, "ollama"),
    ],
)
async def test_a_server_like_openais_is_asked_by_model_prompt_and_settings(use, kind, key):
    async with listening(STREAM + FIRST_EVENT) as server:
        service = llm(
            use, base_url=server.url, temperature=0.2, extra={"user": "acme"}, timeout=0.2
        )
        assert isinstance(service, kind)
        await ask(service)
    line, headers, body = server.requests[0]
    assert line == "POST /v1/chat/completions HTTP/1.1"
    assert headers["authorization"] == f"Bearer {key}"
    assert (body["model"], body["temperature"], body["user"]) == ("gpt-test", 0.2, "acme")
    assert body["messages"][0] == {"role": "system", "content": "You greet callers."}


async def test_the_environment_names_another_server_and_the_recipe_wins(monkeypatch):
    async with listening(STREAM) as theirs, listening(STREAM) as own:
        monkeypatch.setenv("OPENAI_BASE_URL", theirs.url)
        await ask(llm("openai", timeout=0.2))
        await ask(llm("openai", timeout=0.2, base_url=own.url))
    assert len(theirs.requests) == len(own.requests) == 1
    assert theirs.requests[0][2]["model"] == "gpt-4.1-mini"


async def test_anthropic_is_asked_by_model_prompt_and_settings(monkeypatch):
    async with listening(STREAM) as server:
        monkeypatch.setenv("ANTHROPIC_BASE_URL", server.url.removesuffix("/v1"))
        service = llm("anthropic:claude-test", max_tokens=99, timeout=0.2)
        assert isinstance(service, AnthropicLLMService)
        await ask(service)
    line, headers, body = server.requests[0]
    assert line.startswith("POST /v1/messages")
    assert headers["x-api-key"] == "key-of-anthropic"
    assert (body["model"], body["max_tokens"]) == ("claude-test", 99)
    assert body["system"] == "You greet callers."


@pytest.mark.parametrize("provider", ["openai", "anthropic"])
@pytest.mark.parametrize("answer", [b"", STREAM], ids=["silent", "silent in mid-stream"])
async def test_a_server_that_stalls_is_an_error_and_no_hang(monkeypatch, provider, answer):
    async with listening(answer) as server:
        monkeypatch.setenv(f"{provider.upper()}_BASE_URL", server.url)
        errors, seconds = await ask(llm(provider, timeout=0.3))
        async with asyncio.timeout(5):
            await server.hung_up.wait()  # nothing stays open after the call
    assert len(errors) == 1
    assert 0.3 <= seconds < 4  # twice the timeout, the pause between, and the pipeline's own


@pytest.mark.parametrize("provider", ["openai", "anthropic"])
async def test_a_limit_is_an_error_at_once_though_the_server_asks_for_a_minute(
    monkeypatch, provider
):
    limit = b"HTTP/1.1 429 Too Many Requests\r\nretry-after: 50\r\ncontent-length: 2\r\n\r\n{}"
    async with listening(limit) as server:
        monkeypatch.setenv(f"{provider.upper()}_BASE_URL", server.url)
        errors, seconds = await ask(llm(provider))
    assert len(errors) == 1
    assert "429" in errors[0]
    assert f"key-of-{provider}" not in errors[0]
    assert seconds < 4
    assert len(server.requests) == 1


async def test_deepgram_is_reached_where_the_environment_says(monkeypatch):
    asked = asyncio.get_running_loop().create_future()

    async def note(connection):
        asked.set_result(connection.request)
        await connection.wait_closed()

    async with serve(note, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        monkeypatch.setenv("DEEPGRAM_BASE_URL", f"http://127.0.0.1:{port}")
        service = build_stt(
            choose(
                Role.STT,
                options=ServiceOptions(),
                main=Service(use="deepgram:nova-2", language="de", keyterm=["Acme"]),
            )
        )
        async with running(service):
            request = await asyncio.wait_for(asked, 10)
    assert request.headers["authorization"] == "Token key-of-deepgram"
    for part in ("/v1/listen?", "model=nova-2", "language=de", "keyterm=Acme"):
        assert part in request.path


@pytest.mark.parametrize("written", ["http://127.0.0.1:{}", "ws://127.0.0.1:{}/tts/websocket"])
async def test_cartesia_is_reached_where_the_recipe_says_and_told_the_voice(written):
    told = asyncio.get_running_loop().create_future()

    async def note(connection):
        told.set_result((connection.request, json.loads(await connection.recv())))
        await connection.wait_closed()

    async with serve(note, "127.0.0.1", 0) as server:
        url = written.format(server.sockets[0].getsockname()[1])
        table = {"use": "cartesia", "base_url": url, "generation_config": {"speed": 1.2}}
        choice = choose(Role.TTS, options=ServiceOptions(), main=Service(**table))
        service = build_tts(choice, "voice-of-the-greeter")
        async with running(service) as (worker, _):
            await worker.queue_frame(TTSSpeakFrame("Hello"))
            request, message = await asyncio.wait_for(told, 10)
    assert request.path == "/tts/websocket"
    assert request.headers["x-api-key"] == "key-of-cartesia"
    assert message["voice"]["id"] == "voice-of-the-greeter"
    assert message["generation_config"] == {"speed": 1.2}
    assert message["model_id"].startswith("sonic")
