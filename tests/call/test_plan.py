"""Which providers serve a call, which voices speak in it, and what is missing before it."""

import pytest

from pipecat_workers_cli.call.plan import plan_call, require_ready
from pipecat_workers_cli.errors import ConfigurationError, PmwError
from pipecat_workers_cli.options import Profile, ServiceOptions
from pipecat_workers_cli.recipe.load import load_recipe
from pipecat_workers_cli.services.providers import Role

NOTHING_TYPED = ServiceOptions()
OFFLINE = ServiceOptions(profile=Profile.OFFLINE)
CLOUD = ServiceOptions(profile=Profile.CLOUD)

TWO = """
name = "two"
[main]
{main}
[[workers]]
name = "ann"
{ann}
[[workers]]
name = "bob"
{bob}
"""


@pytest.fixture
def plan(recipe_file):
    """Plan a call of two agents; each argument is the lines of a table."""

    def make(*, main="", ann="", bob="", services=OFFLINE, speech=True):
        path = recipe_file(TWO.format(main=main, ann=ann, bob=bob))
        return plan_call(load_recipe(path), services, speech=speech)

    return make


def llms(plan):
    return [(agent.llm.provider, agent.llm.model, agent.llm.why) for agent in plan.workers]


def spoken(plan):
    return [(choice.provider, voice) for choice, voice in plan.voices()]


def test_a_call_in_words_has_neither_ears_nor_a_voice(plan):
    words = plan(speech=False)
    assert (words.stt, words.tts, spoken(words)) == (None, None, [])
    assert [agent.tts for agent in words.workers] == [None, None]
    assert [choice.role for choice in words.choices()] == [Role.LLM]


def test_each_provider_is_named_once_hearing_first(plan):
    found = [(choice.role, choice.provider) for choice in plan().choices()]
    assert found == [(Role.STT, "moonshine"), (Role.LLM, "scripted"), (Role.TTS, "piper")]


def test_the_first_that_speaks_of_an_llm_wins(plan):
    said = {"main": 'llm = "ollama:qwen3"', "ann": 'llm = "anthropic:claude-opus-4-1"'}
    recipe = plan(**said, services=NOTHING_TYPED)
    assert llms(recipe) == [
        ("anthropic", "claude-opus-4-1", "recipe"),
        ("ollama", "qwen3", "recipe"),
    ]
    profile = plan(**said, services=OFFLINE)
    assert [provider for provider, _, _ in llms(profile)] == ["scripted", "scripted"]
    typed = plan(**said, services=ServiceOptions(profile=Profile.OFFLINE, llm="openai:gpt-4.1"))
    assert llms(typed) == [("openai", "gpt-4.1", "--llm")] * 2


def test_a_workers_settings_are_its_own(plan):
    ann = 'llm = { use = "openai", temperature = 0.2 }'
    first, second = plan(ann=ann, services=NOTHING_TYPED).workers
    assert dict(first.llm.settings) == {"temperature": 0.2}
    assert second.llm.provider == "scripted"


@pytest.mark.parametrize(
    ("main", "ann", "voice"),
    [
        ("", "", None),
        ("", 'voice = "joe-low"', "joe-low"),
        ('voice = "joe"', 'voice = "joe-low"', "joe"),
        ('voice = { piper = "joe" }', "", "joe"),
        ('voice = { cartesia = "1" }', 'voice = { piper = "joe-low" }', "joe-low"),
        ('voice = { cartesia = "1" }', "", None),
    ],
)
def test_the_shared_voice_is_mains_else_the_openers(main, ann, voice, plan):
    found = plan(main=main, ann=ann, bob='voice = "joe-high"')
    assert spoken(found) == [("piper", voice)]
    assert [agent.tts for agent in found.workers] == [None, None]


def test_the_opener_is_who_the_recipe_says(plan):
    main = 'opening = { worker = "bob", message = "Begin." }'
    assert spoken(plan(main=main, ann='voice = "joe"', bob='voice = "joe-low"')) == [
        ("piper", "joe-low")
    ]


def test_with_a_tts_per_worker_each_has_its_voice_and_main_has_none(plan):
    main = 'tts_per_worker = true\nvoice = { piper = "joe", cartesia = "1" }'
    found = plan(main=main, bob='voice = { piper = "joe-low" }')
    assert (found.tts, found.voice) == (None, None)
    assert spoken(found) == [("piper", "joe"), ("piper", "joe-low")]


def test_main_can_speak_for_agents_with_voices_that_may_be_out_of_reach(plan):
    found = plan(main='tts_per_worker = true\nvoice = "joe-high"')
    away = found.main_alone(at="an engine")
    assert (away.tts, away.standby) == (None, (found.workers[0].tts, "joe-high"))
    assert spoken(away) == [("piper", "joe-high")]
    assert found.standby is found.linking().standby is away.without_voices().standby is None
    assert found.hosting(["ann"]).main_alone(at="an engine").standby is None
    linked = plan(main="tts_per_worker = true", bob='at = "ws://elsewhere/ws"').linking()
    assert linked.standby is not None


def test_a_voice_that_was_typed_is_everybodys(plan):
    services = ServiceOptions(profile=Profile.OFFLINE, tts="piper:joe-high")
    found = plan(main="tts_per_worker = true", ann='voice = "joe"', services=services)
    assert spoken(found) == [("piper", "joe-high")] * 2


def test_a_voice_counts_for_the_provider_that_speaks(plan):
    ann = 'voice = { piper = "joe", cartesia = "1" }'
    assert spoken(plan(ann=ann, services=CLOUD)) == [("cartesia", "1")]
    assert spoken(plan(ann=ann, services=OFFLINE)) == [("piper", "joe")]


def test_for_a_caller_who_reads_nobody_speaks_and_all_else_stays(plan):
    found = plan(main="tts_per_worker = true", ann='voice = "joe"')
    reading = found.without_voices()
    assert spoken(reading) == []
    assert reading.stt == found.stt
    assert llms(reading) == llms(found)
    assert [agent.recipe for agent in reading.workers] == [agent.recipe for agent in found.workers]


def test_an_agents_persona_is_its_table(plan):
    ann = 'prompt = "Be Ann."\nsummary = "knows prices"\nscript = [{ say = "Yes." }]'
    found = plan(ann=ann)
    first, second = (worker.persona for worker in found.workers)
    assert (first.name, first.prompt, first.summary) == ("ann", "Be Ann.", "knows prices")
    assert [rule.say for rule in first.script] == ["Yes."]
    assert (second.name, second.prompt, second.script) == ("bob", "", ())


def test_a_provider_that_does_not_exist_is_refused(plan):
    with pytest.raises(ConfigurationError, match="opena"):
        plan(services=ServiceOptions(llm="opena"))


KEYS = ("DEEPGRAM_API_KEY", "OPENAI_API_KEY", "CARTESIA_API_KEY")


@pytest.mark.parametrize("missing", KEYS)
def test_a_missing_key_is_named_before_anything_starts(missing, plan, monkeypatch):
    for key in KEYS:
        monkeypatch.setenv(key, "" if key == missing else "a-key")
    with pytest.raises(PmwError, match=missing):
        require_ready(plan(services=CLOUD))


def test_keys_that_are_there_are_enough(plan, monkeypatch):
    for key in KEYS:
        monkeypatch.setenv(key, "a-key")
    require_ready(plan(services=CLOUD))


def test_a_call_in_words_asks_for_no_key_of_a_voice(plan, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "a-key")
    require_ready(plan(services=CLOUD, speech=False))


@pytest.mark.parametrize("agent", ["ann", "bob"])
def test_every_voice_must_be_there(agent, plan):
    require_ready(plan(main="tts_per_worker = true"))
    with pytest.raises(PmwError, match="nobody"):
        require_ready(plan(main="tts_per_worker = true", **{agent: 'voice = "nobody"'}))
