"""The cloud profile in words, against providers that fail as the true ones do."""

import asyncio
import json

import pytest

from tests.fakes.openai import QUOTA, FakeOpenAI
from tests.fakes.provider import Behaviour

CLOUD = ("handoff", "--services", "cloud")
UNUSED = {"DEEPGRAM_API_KEY": "dg-not-asked-for-words", "CARTESIA_API_KEY": "sk_car_not_asked"}
"""Both are checked before a call, though a call in words makes no use of them."""

WRONG_KEY = "wrong-key-that-must-not-show"
SECRETS = (WRONG_KEY, "0123456789", "not-asked", "not_asked")


@pytest.fixture
async def openai():
    async with FakeOpenAI() as openai:
        yield openai


@pytest.fixture
def talk(pmw, tmp_path, openai):
    """Hold a call in words by `pmw`; the process has ended, and no key stands anywhere."""

    async def hold(*words: str, env: dict[str, str] | None = None):
        log = tmp_path / "pmw.log"
        process = pmw(
            *words, "--log-level", "trace", "--log-file", str(log),
            env={**UNUSED, **openai.environment, **(env or {})},
        )  # fmt: skip
        await asyncio.to_thread(process.popen.wait, 60)
        for reader in process._readers:
            await asyncio.to_thread(reader.join, 2)
        told = [*process.out, *process.err, log.read_text()]
        assert not [secret for secret in SECRETS if any(secret in text for text in told)]
        return process

    return hold


def refused(process, *told: str) -> None:
    """Check that a call ended in two lines that say what failed and what to do."""
    assert process.popen.returncode == 1, process.err
    assert len(process.err) == 2, process.err
    assert process.err[0].startswith("error: no answer: OpenAI: ")
    assert process.err[1].startswith("  try: ")
    for text in told:
        assert text in process.err[0]


async def test_a_call_streams_hands_over_by_a_torn_tool_call_and_says_goodbye(talk, openai):
    call = await talk(
        *CLOUD, "-o", "json",
        "--say", "What do you sell?", "--say", "How much are the boots?", "--say", "Goodbye",
    )  # fmt: skip
    assert call.popen.returncode == 0, call.err
    assert call.err == []
    entries = [json.loads(line) for line in call.out]
    assert [(entry["event"], entry.get("worker")) for entry in entries] == [
        ("bot", "greeter"),
        ("user", None),
        ("bot", "greeter"),
        ("user", None),
        ("tool", "greeter"),
        ("transfer", "greeter"),
        ("bot", "support"),
        ("user", None),
        ("tool", "support"),
        ("bot", "support"),
        ("end", None),
    ]
    assert entries[4]["args"] == {
        "agent": "support",
        "reason": "the caller asks: How much are the boots?",
    }
    assert "$299" in entries[6]["text"]
    assert "Goodbye" in entries[9]["text"]
    assert all(request.body["stream"] for request in openai.requests)
    assert {request.headers["authorization"] for request in openai.requests} == {
        f"Bearer {openai.key}"
    }


@pytest.mark.parametrize(
    ("behaviour", "told"),
    [
        (Behaviour.WRONG_KEY, ("401", "Incorrect API key")),
        pytest.param(Behaviour.LIMIT, ("429", "Rate limit reached"), marks=pytest.mark.long),
        pytest.param(Behaviour.CUT, ("onnection",), marks=pytest.mark.long),
        pytest.param(Behaviour.ERROR, ("server had an error",), marks=pytest.mark.long),
    ],
)
async def test_a_failure_of_the_first_answer_is_said_in_two_lines(behaviour, told, talk, openai):
    openai.behaviour = behaviour
    key = {"OPENAI_API_KEY": WRONG_KEY} if behaviour is Behaviour.WRONG_KEY else {}
    call = await talk(*CLOUD, "--say", "What do you sell?", env=key)
    refused(call, *told)
    assert not [line for line in call.out if line.startswith("user:")]


@pytest.mark.long
async def test_a_quota_that_is_used_up_is_said_too(talk, openai):
    openai.behaviour, openai.limit = Behaviour.LIMIT, QUOTA
    refused(await talk(*CLOUD, "--say", "What do you sell?"), "429", "quota")


@pytest.mark.parametrize("chunks", [pytest.param(0, marks=pytest.mark.long), 2])
async def test_a_stall_is_given_up_after_the_timeout(chunks, talk, openai, tmp_path):
    openai.behaviour, openai.stall_after = Behaviour.STALL, chunks
    (tmp_path / "hasty.toml").write_text(
        'name = "hasty"\n[main]\nllm = { use = "openai", timeout = 0.5 }\n'
        'opening = { message = "Go on." }\n[[workers]]\nname = "ann"\nprompt = "You are Ann."\n'
    )
    refused(await talk("run", "./hasty.toml", "--say", "Hello?"), "timed out")


async def test_a_server_that_is_not_there_is_said(talk, free_port):
    nowhere = {"OPENAI_BASE_URL": f"http://localhost:{free_port}/v1"}
    refused(await talk(*CLOUD, "--say", "Hello?", env=nowhere), "onnect")


async def test_a_failure_in_mid_call_ends_it_though_earlier_turns_were_answered(talk, openai):
    def fail_at_the_boots(messages, tools):
        if "boots" in str(messages[-1]["content"]):
            openai.behaviour = Behaviour.CUT
        return "Let me think about that for a while."

    openai.script = fail_at_the_boots
    call = await talk(*CLOUD, "--say", "Hello!", "--say", "The boots?", "--say", "And the paint?")
    refused(call)
    assert "user: Hello!" in call.out
    assert "user: And the paint?" not in call.out


async def test_each_role_goes_by_its_key_and_the_banner_says_why(pmw, openai, free_port):
    served = pmw("handoff", "--port", str(free_port), env=openai.environment)
    await asyncio.to_thread(served.wait_for_line, "stt:")
    [providers] = [line for line in served.err if "stt:" in line]
    assert providers.split(" · ") == [
        "stt: moonshine (no DEEPGRAM_API_KEY)",
        "llm: openai (OPENAI_API_KEY is set)",
        "tts: piper (no CARTESIA_API_KEY)",
    ]


async def test_the_key_that_is_there_is_used_and_no_other_is_asked_for(talk, openai):
    call = await talk(
        "handoff", "--services", "auto", "--say", "What do you sell?",
        env={"DEEPGRAM_API_KEY": "", "CARTESIA_API_KEY": ""},
    )  # fmt: skip
    assert call.popen.returncode == 0, call.err
    assert call.out[-2].startswith("greeter: We sell Rocket Boots")
    assert len(openai.requests) == 2
