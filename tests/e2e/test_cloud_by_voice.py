"""The cloud profile by voice: sound in, sound out, and providers that die in mid-call."""

import asyncio
import json
import os
import tempfile
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from pipecat_workers_cli.workers.main import APOLOGY, FAREWELL
from tests.e2e.caller import Caller, calling, pitch_of, until
from tests.e2e.conftest import Server, own_folders, write_brief
from tests.fakes.cartesia import FakeCartesia, pitch
from tests.fakes.deepgram import FakeDeepgram
from tests.fakes.openai import FakeOpenAI
from tests.fakes.provider import Behaviour, FakeProvider
from tests.ports import free_port

pytestmark = [
    pytest.mark.speech,
    pytest.mark.slow,
    pytest.mark.aloud,
    pytest.mark.flaky(reruns=1),  # a small model mishears now and then
    pytest.mark.asyncio(loop_scope="module"),
]

QUESTION = "How much are the rocket boots?"
GREETER_VOICE = "71a7ad14-091c-4e8e-a314-022ece01c121"  # recipes/handoff.toml
SUPPORT_VOICE = "9626c31c-bec5-4cca-baa8-f8ba9e84c8bc"
QUICKLY, SLOWLY = 0.02, 0.2  # seconds between two pieces of 0.1 s of speech


@dataclass(frozen=True, slots=True)
class Cloud:
    """The three providers, and one `pmw` that uses them for all tests of this file."""

    deepgram: FakeDeepgram
    openai: FakeOpenAI
    cartesia: FakeCartesia
    server: Server

    @property
    def providers(self) -> tuple[FakeProvider, ...]:
        return (self.deepgram, self.openai, self.cartesia)

    def entries(self, call: str) -> list[dict[str, Any]]:
        """Return what `-o json` printed of a call."""
        return [entry for entry in map(json.loads, list(self.server.out)) if entry["call"] == call]

    def said(self) -> list[str]:
        """Return the texts that were spoken to their end."""
        return [text.strip() for texts in self.cartesia.spoken.values() for text in texts]

    async def printed(self, call: str, event: str, text: str = "") -> dict[str, Any]:
        """Wait until a call's entry is printed."""
        found: list[dict[str, Any]] = []

        def there() -> bool:
            found[:] = [
                entry
                for entry in self.entries(call)
                if entry["event"] == event and text in entry.get("text", "")
            ]
            return bool(found)

        await until(there, f"{event} {text!r} of {call}", within=25)
        return found[0]


async def start_server(*words: str, env: dict[str, str], folder: str) -> Server:
    kept = {name: value for name, value in os.environ.items() if not name.endswith("_API_KEY")}
    env = {**kept, **env, **own_folders(folder)}
    return await asyncio.to_thread(
        Server, [*words, "-o", "json"], port=free_port(), env=env, cwd=Path(folder)
    )


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def open_cloud() -> AsyncIterator[Cloud]:
    deepgram, openai, cartesia = FakeDeepgram(), FakeOpenAI(), FakeCartesia()
    async with deepgram, openai, cartesia:
        env: dict[str, str] = {}
        for provider in (deepgram, openai, cartesia):
            env |= provider.environment
        with tempfile.TemporaryDirectory() as folder:
            words = ("run", write_brief(Path(folder)), "--services", "cloud")
            server = await start_server(*words, env=env, folder=folder)
            yield Cloud(deepgram, openai, cartesia, server)
            code, _ = await asyncio.to_thread(server.stop)
            assert code == 0
        told = "\n".join([*server.out, *server.err])
        assert not [
            provider.key for provider in (deepgram, openai, cartesia) if provider.key in told
        ]


@pytest.fixture
def cloud(open_cloud: Cloud) -> Cloud:
    """The providers in good health, whatever the test before did to them."""
    for provider in open_cloud.providers:
        provider.behaviour = Behaviour.NORMAL
        provider.requests.clear()
    open_cloud.cartesia.spoken.clear()
    open_cloud.cartesia.pace = QUICKLY
    return open_cloud


@pytest.fixture
def phone(cloud: Cloud) -> Callable[[], AbstractAsyncContextManager[Caller]]:
    return lambda: calling(cloud.server.url)


async def answers(cloud: Cloud) -> None:
    """Check that the process lives and takes the next call, as each test's first lines do too."""
    for provider in cloud.providers:
        provider.behaviour = Behaviour.NORMAL
    cloud.deepgram.hear(QUESTION)
    async with calling(cloud.server.url) as caller:
        await caller.heard_out()
        await caller.say(QUESTION)
        assert "$299" in (await caller.told("bot", worker="support"))["text"]


async def test_a_spoken_call_is_heard_answered_and_ended_aloud(cloud, phone):
    cloud.deepgram.hear(QUESTION, "Goodbye!")
    async with phone() as caller:
        greeting = await caller.heard_out()
        assert pitch_of(greeting) == pytest.approx(pitch(GREETER_VOICE), rel=0.05)
        await caller.say(QUESTION)
        await caller.heard_out()
        await caller.say("Goodbye!")
        await asyncio.wait_for(caller.over.wait(), 20)
        call = caller.call
    await cloud.printed(call, "end")
    events = [entry["event"] for entry in cloud.entries(call)]
    assert events == ["bot", "user", "tool", "transfer", "bot", "user", "tool", "bot", "end"]
    assert cloud.said()[-1] == "Goodbye!"  # the last sentence, to its end
    assert any("$299" in text for text in cloud.said())
    assert cloud.deepgram.requests[0].audio > 100_000


@pytest.mark.parametrize(
    ("behaviour", "told", "spoken"),
    [
        pytest.param(Behaviour.WRONG_KEY, "OpenAI: ", FAREWELL, id="its key is refused"),
        pytest.param(Behaviour.LIMIT, "OpenAI: ", APOLOGY, id="it has had enough"),
        pytest.param(
            Behaviour.CUT, "OpenAI: ", APOLOGY, id="it is cut off", marks=pytest.mark.long
        ),
    ],
)
async def test_an_llm_that_dies_in_mid_call_is_said_to_the_caller(
    behaviour, told, spoken, cloud, phone
):
    cloud.deepgram.hear(QUESTION, QUESTION)
    async with phone() as caller:
        await caller.heard_out()
        cloud.openai.behaviour = behaviour
        await caller.say(QUESTION)
        await caller.heard_out()
        await cloud.printed(caller.call, "error", told)
        assert spoken in " ".join(cloud.said())
        if spoken is FAREWELL:
            await asyncio.wait_for(caller.over.wait(), 20)
            return
        cloud.openai.behaviour = Behaviour.NORMAL
        await caller.say(QUESTION)
        assert "$299" in (await caller.told("bot", worker="support"))["text"]


async def test_ears_that_are_cut_off_are_said_to_the_caller_and_hear_again(cloud, phone):
    async with phone() as caller:
        await caller.heard_out()
        cloud.deepgram.behaviour = Behaviour.CUT
        await caller.say(QUESTION)
        await cloud.printed(caller.call, "error", "Deepgram")
        await caller.heard_out()
        assert APOLOGY in " ".join(cloud.said())
        cloud.deepgram.behaviour = Behaviour.NORMAL
        cloud.deepgram.hear(QUESTION)
        await until(lambda: len(cloud.deepgram.requests) > 1, "it is back", within=10)
        await caller.say(QUESTION)
        assert "$299" in (await caller.told("bot", worker="support"))["text"]


@pytest.mark.long
async def test_ears_that_fall_silent_are_noticed_at_the_second_turn(cloud, phone):
    async with phone() as caller:
        await caller.heard_out()
        cloud.deepgram.behaviour = Behaviour.STALL
        await caller.take_a_turn(QUESTION)
        assert not [e for e in cloud.entries(caller.call) if e["event"] == "error"]
        await caller.take_a_turn(QUESTION)
        error = await cloud.printed(caller.call, "error")
        assert "no words" in error["text"]
        assert error["text"].startswith("Deepgram")
        await caller.heard_out()
        assert APOLOGY in " ".join(cloud.said())


async def test_a_voice_that_is_cut_off_is_said_to_the_caller_once_it_is_back(cloud, phone):
    cloud.deepgram.hear(QUESTION)
    async with phone() as caller:
        await caller.heard_out()
        cloud.cartesia.pace = SLOWLY
        await caller.say(QUESTION)
        await caller.hears()
        cloud.cartesia.cut()
        cloud.cartesia.pace = QUICKLY
        error = await cloud.printed(caller.call, "error", "broke off")
        assert error["text"].startswith("Cartesia")
        await until(lambda: APOLOGY in " ".join(cloud.said()), "the apology", within=10)


@pytest.mark.long
async def test_a_voice_whose_key_is_refused_in_mid_call_ends_the_call(cloud, phone):
    cloud.deepgram.hear(QUESTION)
    async with phone() as caller:
        await caller.heard_out()
        cloud.cartesia.pace = SLOWLY
        await caller.say(QUESTION)
        await caller.hears()
        cloud.cartesia.behaviour = Behaviour.WRONG_KEY
        cloud.cartesia.cut()
        await cloud.printed(caller.call, "error", "401")
        await asyncio.wait_for(caller.over.wait(), 20)
    await answers(cloud)
