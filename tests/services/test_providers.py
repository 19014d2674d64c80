"""The table of providers: who is chosen, why, and what is found missing before a call."""

import dataclasses
import subprocess
import sys

import pytest

from pipecat_workers_cli.checks import State
from pipecat_workers_cli.errors import ConfigurationError
from pipecat_workers_cli.options import Profile, ServiceOptions
from pipecat_workers_cli.recipe.model import Service
from pipecat_workers_cli.services import provider_checks
from pipecat_workers_cli.services.provider_checks import check
from pipecat_workers_cli.services.providers import (
    PROVIDERS,
    ROWS,
    TOOL_TIMEOUT,
    Choice,
    Persona,
    Role,
    build_llm,
    build_stt,
    build_tts,
    calls_at_once,
    choose,
)

NOTHING = ServiceOptions()
CLOUD = ServiceOptions(profile=Profile.CLOUD)
OFFLINE = ServiceOptions(profile=Profile.OFFLINE)


def wrong(choice, voice=None):
    return [found for found in check(choice, voice) if found.state is State.WRONG]


def test_without_keys_every_role_is_offline_and_says_why():
    chosen = [choose(role, options=NOTHING) for role in Role]
    assert [(c.provider, c.why) for c in chosen] == [
        ("moonshine", "no DEEPGRAM_API_KEY"),
        ("scripted", "no OPENAI_API_KEY"),
        ("piper", "no CARTESIA_API_KEY"),
    ]


def test_each_role_goes_to_the_cloud_by_its_own_key(monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "sk-secret")
    monkeypatch.setenv("CARTESIA_API_KEY", "")  # counts as unset
    stt, llm, tts = (choose(role, options=NOTHING) for role in Role)
    assert (llm.provider, llm.why) == ("openai", "OPENAI_API_KEY is set")
    assert (stt.provider, tts.provider) == ("moonshine", "piper")


def test_the_first_that_speaks_wins(monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "sk-secret")
    worker, main = Service(use="ollama:qwen3:8b"), Service(use="anthropic")
    typed = ServiceOptions(profile=Profile.OFFLINE, llm="openai:gpt-4.1")

    def picked(options, **services):
        found = choose(Role.LLM, options=options, **services)
        return found.provider, found.model, found.why

    assert picked(typed, worker=worker, main=main) == ("openai", "gpt-4.1", "--llm")
    assert picked(OFFLINE, worker=worker) == ("scripted", None, "--services offline")
    assert picked(NOTHING, worker=worker, main=main) == ("ollama", "qwen3:8b", "recipe")
    assert picked(NOTHING, main=main) == ("anthropic", None, "recipe")
    assert picked(NOTHING) == ("openai", None, "OPENAI_API_KEY is set")


def test_a_typed_auto_goes_before_the_recipe():
    options = ServiceOptions(profile=Profile.AUTO)
    assert choose(Role.LLM, options=options, worker=Service(use="ollama")).provider == "scripted"


@pytest.mark.parametrize(
    ("role", "use", "what", "mend"),
    [
        ("llm", "opnai", "no LLM provider 'opnai'", "did you mean 'openai'?"),
        ("llm", "OpenAI", "no LLM provider 'OpenAI'", "did you mean 'openai'?"),
        ("tts", "openai", "no TTS provider 'openai'", "'openai' is for --llm; "),
        ("stt", "", "no STT provider ''", "choose one of: deepgram, moonshine"),
        ("llm", "openai:", "'openai:' names no model", "write openai, or openai:MODEL"),
        ("tts", "piper: ", "'piper: ' names no voice", "write piper, or piper:VOICE"),
        ("stt", "moonshine:tinny", "moonshine has no model 'tinny'", "did you mean 'tiny'?"),
        ("llm", "scripted:x", "scripted has no model 'x'", "there is none"),
    ],
)
def test_a_mistyped_provider_gets_its_near_miss(role, use, what, mend):
    with pytest.raises(ConfigurationError) as caught:
        choose(Role(role), options=ServiceOptions(**{role: use}))
    assert caught.value.what == what
    assert caught.value.mend.startswith(mend)


@pytest.mark.parametrize(
    ("role", "settings", "what", "mend"),
    [
        ("llm", {"use": "openai", "temprature": 1}, "openai has no setting 'temprature'",
         "did you mean 'temperature'?"),
        ("llm", {"use": "openai", "temperature": "hot"}, "'temperature' of openai is of a wrong",
         "write a number"),
        ("llm", {"use": "openai", "seed": True}, "'seed' of openai is of a wrong",
         "write a whole number"),
        ("llm", {"use": "openai", "base_url": "localhost:8080"}, "'base_url' of openai is of",
         "write it as https://"),
        ("llm", {"use": "openai", "base_url": "wss://h"}, "'base_url' of openai is of",
         "write it as https://"),
        ("stt", {"use": "deepgram", "base_url": "http://[::1"}, "'base_url' of deepgram is of",
         "write it as wss://"),
        ("tts", {"use": "cartesia", "generation_config": {"sped": 2}},
         "'generation_config' of cartesia is of", "write { volume"),
        ("tts", {"use": "piper", "speed": 2}, "piper has no setting 'speed'", "there is none"),
    ],
)  # fmt: skip
def test_a_setting_that_does_not_exist_is_refused(role, settings, what, mend):
    with pytest.raises(ConfigurationError) as caught:
        choose(Role(role), options=NOTHING, main=Service(**settings))
    assert caught.value.what.startswith(what)
    assert caught.value.mend.startswith(mend)


def test_a_refused_address_keeps_its_password():
    with pytest.raises(ConfigurationError) as caught:
        choose(Role.LLM, options=NOTHING, main=Service(use="openai", base_url="ftp://me:hush@host"))
    assert "hush" not in f"{caught.value.what}{caught.value.mend}"


def test_a_missing_key_is_found_and_its_variable_named():
    for role, key in zip(Role, ("DEEPGRAM", "OPENAI", "CARTESIA"), strict=True):
        (found,) = wrong(choose(role, options=CLOUD))
        assert found.name == f"{key}_API_KEY"
        assert found.found == f"{key}_API_KEY is not set"
        assert f"{key}_API_KEY" in found.mend


@pytest.mark.parametrize("key", ["sk-a b", "sk-a\nb", "„sk-ab“"])
def test_a_key_that_no_header_may_hold_is_refused_without_being_shown(monkeypatch, key):
    monkeypatch.setenv("OPENAI_API_KEY", key)
    (found,) = wrong(choose(Role.LLM, options=CLOUD))
    assert "OPENAI_API_KEY" in found.mend
    assert "sk-a" not in repr(found)


def test_a_key_is_never_in_a_finding(monkeypatch):
    for row in ROWS:
        if row.key:
            monkeypatch.setenv(row.key, "sk-hush\n")  # a line break at the end is forgiven
    for role in Role:
        choice = choose(role, options=CLOUD)
        assert not wrong(choice)
        assert "hush" not in repr((choice, check(choice)))


def test_a_missing_package_is_found_and_its_extra_named(monkeypatch):
    monkeypatch.setattr(
        provider_checks, "find_spec", lambda name: None if name == "moonshine_voice" else object()
    )
    (found,) = wrong(choose(Role.STT, options=OFFLINE))
    assert found.found == "the package moonshine_voice is not installed"
    assert found.mend == "uv sync --extra offline, or pip install 'pipecat-workers-cli[offline]'"


def test_a_bad_address_in_the_environment_is_found(monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "sk-x")
    monkeypatch.setenv("OPENAI_BASE_URL", "localhost:8080")
    (found,) = wrong(choose(Role.LLM, options=CLOUD))
    assert found.found == "OPENAI_BASE_URL is no address of a server"


def test_a_voice_that_is_not_installed_is_found_before_anything_starts():
    (found,) = wrong(choose(Role.TTS, options=ServiceOptions(tts="piper:en_GB-alan-medium")))
    assert found.found == "no Piper voice 'en_GB-alan-medium' is installed"
    assert "piper.download_voices" in found.mend
    (found,) = wrong(choose(Role.TTS, options=OFFLINE), "joe-lo")
    assert found.mend.startswith("did you mean 'joe-low'?")


def test_a_voice_cannot_be_named_by_a_path(tmp_path, monkeypatch):
    (tmp_path / "out.onnx").touch()
    (tmp_path / "out.onnx.json").touch()
    (tmp_path / "in").mkdir()
    monkeypatch.setenv("PIPER_VOICES", str(tmp_path / "in"))
    assert wrong(Choice(Role.TTS, "piper", "../out"))
    monkeypatch.setenv("PIPER_VOICES", str(tmp_path))
    assert not wrong(Choice(Role.TTS, "piper", "out"))


def test_a_call_is_as_many_as_its_slowest_service_bears():
    offline = [choose(role, options=OFFLINE) for role in Role]
    assert calls_at_once(offline) == PROVIDERS[Role.STT, "moonshine"].calls
    assert calls_at_once(offline[1:2]) == PROVIDERS[Role.LLM, "scripted"].calls


def test_choosing_and_checking_import_no_framework():
    program = """
import sys
from pipecat_workers_cli.options import Profile, ServiceOptions
from pipecat_workers_cli.services.provider_checks import check
from pipecat_workers_cli.services.providers import Role, choose
for profile in Profile:
    for role in Role:
        check(choose(role, options=ServiceOptions(profile=profile)))
heavy = {"pipecat", "numpy", "onnxruntime", "piper", "moonshine_voice", "openai", "deepgram"}
print(sorted(heavy & set(sys.modules)))
"""
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout.strip() == "[]"


OUR_OWN = {"base_url", "timeout"}
GIVEN_OTHERWISE = {
    "model", "voice", "system_instruction", "use_provider_thinking_default",
    "filter_incomplete_user_turns", "user_turn_completion_config",
}  # fmt: skip
NOT_THEIRS = {
    "openai": {"top_k"},
    "ollama": {"top_k"},
    "anthropic": {"frequency_penalty", "presence_penalty", "seed"},
    "cartesia": {"extra"},
}


@pytest.mark.parametrize("row", [row for row in ROWS if row.settings], ids=lambda row: row.name)
def test_the_keys_of_a_provider_are_those_of_pipecats_settings(row, monkeypatch):
    if row.key:
        monkeypatch.setenv(row.key, "sk-x")
    choice = Choice(row.role, row.name)
    if row.role is Role.STT:
        service = build_stt(choice)
    elif row.role is Role.LLM:
        service = build_llm(choice, Persona("greeter"))
    else:
        service = build_tts(choice, None)
    pipecats = {field.name for field in dataclasses.fields(type(service).Settings)}
    pipecats -= GIVEN_OTHERWISE | NOT_THEIRS.get(row.name, set())
    ours = set(row.settings) - OUR_OWN - {"model"}
    assert ours == pipecats


def test_an_llm_of_ours_lets_no_tool_hang(monkeypatch):
    given = []
    from pipecat.services.llm_service import LLMService

    initialise = LLMService.__init__

    def spy(self, *args, **options):
        given.append(options.get("function_call_timeout_secs"))
        initialise(self, *args, **options)

    monkeypatch.setattr(LLMService, "__init__", spy)
    monkeypatch.setenv("OPENAI_API_KEY", "sk-x")
    monkeypatch.setenv("ANTHROPIC_API_KEY", "sk-x")
    for name in ("scripted", "openai", "anthropic", "ollama"):
        build_llm(Choice(Role.LLM, name), Persona("ann"))
    assert given == [TOOL_TIMEOUT] * 4
