"""What each provider is asked with `pmw doctor --online`, and what its answers mean."""

import pytest

from pipecat_workers_cli.checks import State
from pipecat_workers_cli.services import online
from pipecat_workers_cli.services.providers import PROVIDERS, Choice, Role
from tests.fakes.anthropic import FakeAnthropic
from tests.fakes.cartesia import FakeCartesia
from tests.fakes.deepgram import FakeDeepgram
from tests.fakes.openai import FakeOpenAI
from tests.fakes.provider import Behaviour

FAKES = {
    (Role.STT, "deepgram"): FakeDeepgram,
    (Role.LLM, "openai"): FakeOpenAI,
    (Role.LLM, "anthropic"): FakeAnthropic,
    (Role.TTS, "cartesia"): FakeCartesia,
}


@pytest.fixture(params=FAKES, ids=lambda row: row[1])
def row(request):
    return request.param


@pytest.fixture
async def fake(row, monkeypatch):
    async with FAKES[row]() as fake:
        for name, value in fake.environment.items():
            monkeypatch.setenv(name, value)
        yield fake


async def ask(row, fake, model=None):
    role, name = row
    if model is None and name == "cartesia":
        model = fake.voices[0]["id"]
    finding = await online.ask_provider(Choice(role, name, model))
    assert fake.key not in f"{finding}"
    return finding


def test_every_row_that_has_a_key_has_a_question_and_a_fake_that_answers_it():
    assert {key for key, row in PROVIDERS.items() if row.key} == set(FAKES)
    assert all(PROVIDERS[key].question for key in FAKES)


async def test_a_key_that_is_taken_is_ok_after_one_get(row, fake):
    finding = await ask(row, fake)
    assert finding.state is State.OK
    assert "key accepted" in finding.found
    assert [seen.method for seen in fake.requests] == ["GET"]


async def test_a_key_that_is_refused_is_wrong(row, fake, monkeypatch):
    monkeypatch.setenv(PROVIDERS[row].key, "another-key-0123456789")
    finding = await ask(row, fake)
    assert finding.state is State.WRONG
    assert PROVIDERS[row].key in finding.found
    assert "another-key" not in f"{finding}"


async def test_a_limit_that_is_reached_is_a_warning(row, fake):
    fake.behaviour = Behaviour.LIMIT
    assert (await ask(row, fake)).state is State.WARNING


@pytest.mark.parametrize("row", [row for row in FAKES if row[0] is not Role.STT], indirect=True)
async def test_a_model_or_a_voice_that_is_not_there_is_wrong(row, fake):
    finding = await ask(row, fake, "no-such-model")
    assert (finding.state, "no-such-model" in finding.found) == (State.WRONG, True)


async def test_a_provider_that_is_not_there_is_wrong(row, fake, monkeypatch, free_port):
    monkeypatch.setenv(PROVIDERS[row].url, f"http://localhost:{free_port}")
    finding = await ask(row, fake)
    assert (finding.state, "can't be reached" in finding.found) == (State.WRONG, True)


async def test_an_ollama_is_told_by_its_models(monkeypatch):
    async with FakeOpenAI(key="") as fake:
        monkeypatch.setenv("OLLAMA_BASE_URL", fake.base_url)
        finding = await online.ask_provider(Choice(Role.LLM, "ollama", "qwen3"))
    assert finding.state is State.WRONG
    assert finding.mend.startswith("ollama pull qwen3")


async def test_an_answer_that_does_not_come_is_waited_for_within_bounds(monkeypatch):
    monkeypatch.setattr(online, "ANSWER_WITHIN", 0.2)
    async with FakeCartesia(behaviour=Behaviour.STALL) as fake:
        for name, value in fake.environment.items():
            monkeypatch.setenv(name, value.replace("http://", "ws://"))
        finding = await online.ask_provider(Choice(Role.TTS, "cartesia", fake.voices[0]["id"]))
    assert (finding.state, "in time" in finding.found) == (State.WRONG, True)


async def test_what_serves_no_key_has_nothing_to_be_asked():
    assert await online.ask_provider(Choice(Role.LLM, "scripted")) is None
