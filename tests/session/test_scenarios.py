"""Which scenarios a word of the command line means, what is wrong with a file, what they need."""

import socket
from pathlib import Path

import pytest
from loguru import logger

from pipecat_workers_cli.errors import ConfigurationError, PmwError
from pipecat_workers_cli.session.scenarios import (
    Scenario,
    load_scenarios,
    require_means,
    wants_speech,
)

GREETED = "    turns: [{expect: [{event: response, text_contains: Welcome}]}]\n"
TWO = f"name: mine\nscenarios:\n  - name: first\n{GREETED}  - name: second\n{GREETED}"


def write(folder: Path, text: str = TWO, *, name: str = "evals/mine.yaml") -> Path:
    path = folder / name
    path.parent.mkdir(exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


def names(scenarios: tuple[Scenario, ...]) -> list[str]:
    return [scenario.name for scenario in scenarios]


@pytest.fixture
def recipe(tmp_path: Path) -> str:
    """A recipe of the user's, as it is typed; it is never read here."""
    return str(tmp_path / "mine.toml")


def test_a_recipe_that_ships_has_the_scenarios_that_ship_with_it() -> None:
    assert names(load_scenarios("handoff")) == ["handoff/there_and_back"]


def test_a_recipe_of_the_users_has_those_in_evals_beside_it(tmp_path: Path, recipe: str) -> None:
    write(tmp_path)
    assert names(load_scenarios(recipe)) == ["mine/first", "mine/second"]


def test_a_word_without_a_slash_is_a_scenario_of_the_recipes_own_file(tmp_path, recipe) -> None:
    write(tmp_path)
    assert names(load_scenarios(recipe, ["second", "first"])) == ["mine/second", "mine/first"]


@pytest.mark.parametrize("named", ["./other.yaml", "other.yaml", "./other.yml"])
def test_a_slash_or_a_yaml_at_the_end_is_a_file(named, tmp_path, recipe, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    write(tmp_path, TWO.replace("mine", "other"), name=named)
    assert names(load_scenarios(recipe, [named])) == ["other/first", "other/second"]


def test_a_file_in_the_old_shape_is_read_and_said_to_be_old(tmp_path, recipe) -> None:
    path = write(tmp_path, "name: old\nturns: [{user: Hello}]\n")
    lines: list[str] = []
    sink = logger.add(lines.append, level="WARNING", format="{message}")
    try:
        assert names(load_scenarios(recipe, [str(path)])) == ["old"]
    finally:
        logger.remove(sink)
    assert "deprecated" in lines[0]
    assert str(path) in lines[0]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("name: x\nscenarios:\n  - name: [a\n", "mine.yaml:4: expected"),
        ("name: x\nscenarios:\n  - name: a\n    turns: 5\n", "mine.yaml: 'turns:' must be"),
        ("scenarios: [{name: a, turns: []}]", "mine.yaml: missing or invalid 'name:'"),
        ("", "mine.yaml: top level must be a mapping"),
        ("name: x\nuser: !include gone.yaml\nturns: []\n", "mine.yaml: "),
        ("name: x\nscenarios: [{name: a}]\n", "mine.yaml: a scenario needs 'turns:'"),
    ],
)
def test_a_wrong_file_is_told_of_in_a_line_that_begins_with_it(
    text: str, told: str, tmp_path: Path, recipe: str
) -> None:
    path = write(tmp_path, text)
    with pytest.raises(ConfigurationError) as refused:
        load_scenarios(recipe)
    assert refused.value.what.startswith(str(path))
    assert told in refused.value.what
    assert "\n" not in refused.value.what
    assert refused.value.what.count(str(path)) == 1


EVERY_KEY = """
name: x
user: {modality: audio, speech: {service: kokoro, voice: af, anything: 1}}
judge: {modality: text, eval: {service: ollama, anything: 1}, transcription: {anything: 1}}
context: [{role: system, content: Be brief}]
stop_on_failure: false
simulator: {service: ollama, anything: 1}
scenarios:
  - name: script
    turns:
      - &said {user: Hello, audio: hello.wav, image: cat.png, send_after: {event: e, delay_ms: 1}}
      - {<<: *said, expect: [{event: function_call, name: f, args: {anything: 1}, within_ms: 1}]}
      - user: [Well, {pause_ms: 10}]
        expect:
          - {event: function_call, calls: [{name: f, args: {anything: 1}}, g], eval: it fits}
          - {event: llm_marker, marker: short, marker_first: true, markers: 1, text_after: true}
          - {event: response, text_contains: a, text_excludes: b, check_from: turn_start}
          - {event: response, absent: true}
      - {dtmf: "1#"}
  - {name: sim, persona: Jo, goal: to buy, success: it sold, max_turns: 3, max_duration_s: 9,
     max_silence_s: 9, runs: 2, metrics: [{name: m, criterion: c, min_score: 1},
     {measure: turns, min_value: 1, max_value: 2}, {measure: function_calls, calls: [{name: f}]}]}
"""


def test_every_key_that_pipecat_reads_may_be_there(tmp_path: Path, recipe: str) -> None:
    (tmp_path / "evals").mkdir()
    for name in ("hello.wav", "cat.png"):
        (tmp_path / "evals" / name).touch()
    write(tmp_path, EVERY_KEY)
    assert names(load_scenarios(recipe)) == ["x/script", "x/sim"]


@pytest.mark.parametrize(
    ("right", "wrong", "near"),
    [
        ("judge: {", "juge: {", "judge"),
        ("speech: {", "speach: {", "speech"),
        ("eval: {", "evel: {", "eval"),
        ("turns:\n", "trns:\n", "turns"),
        ("send_after:", "sendafter:", "send_after"),
        ("delay_ms:", "delay:", "delay_ms"),
        ("expect: [", "expct: [", "expect"),
        ("absent: true", "abscent: true", "absent"),
        ("g], eval", "{nme: g}], eval", "name"),
        ("persona:", "personna:", "persona"),
        ("criterion: c", "criterium: c", "criterion"),
    ],
)
def test_a_key_that_nothing_reads_is_refused_with_its_line_and_the_key_that_was_meant(
    right: str, wrong: str, near: str, tmp_path: Path, recipe: str
) -> None:
    text = EVERY_KEY.replace(right, wrong, 1)
    path = write(tmp_path, text)
    line = text[: text.index(wrong)].count("\n") + 1
    key = wrong.partition(":")[0].rpartition("{")[2]
    with pytest.raises(ConfigurationError) as refused:
        load_scenarios(recipe)
    assert refused.value.what == f"{path}:{line}: {key}: unknown key"
    assert refused.value.mend.startswith(f"did you mean '{near}'? ")


def test_unknown_keys_are_found_in_included_files_and_counted(tmp_path: Path, recipe: str) -> None:
    write(tmp_path, EVERY_KEY.replace("user: {", "user: !include own.yaml\nodd: {", 1))
    own = write(tmp_path, "# mine\nmodalty: text\nsince: 2026\n", name="evals/own.yaml")
    with pytest.raises(ConfigurationError) as refused:
        load_scenarios(recipe)
    assert refused.value.what == f"{own}:2: modalty: unknown key (and 2 more)"


@pytest.mark.parametrize(
    "text",
    ["&a [*a]\n", "<<: &a {<<: *a}\nname: x\n", "[" * 1000],
    ids=["a list in itself", "a merge of itself", "too deep"],
)
def test_yaml_that_turns_in_on_itself_is_refused_in_a_line(text, tmp_path, recipe) -> None:
    path = write(tmp_path, text)
    with pytest.raises(ConfigurationError) as refused:
        load_scenarios(recipe)
    assert refused.value.what.startswith(str(path))


def test_a_file_that_is_not_there_is_named(recipe: str) -> None:
    with pytest.raises(ConfigurationError, match=r"gone\.yaml: there is no such file"):
        load_scenarios(recipe, ["./gone.yaml"])


def test_a_recipe_without_scenarios_says_where_they_were_looked_for(tmp_path, recipe) -> None:
    with pytest.raises(ConfigurationError) as refused:
        load_scenarios(recipe)
    assert str(tmp_path / "evals" / "mine.yaml") in refused.value.what


def test_a_mistyped_scenario_gets_its_near_miss(tmp_path: Path, recipe: str) -> None:
    write(tmp_path)
    with pytest.raises(ConfigurationError) as refused:
        load_scenarios(recipe, ["secnd"])
    assert "did you mean 'second'?" in refused.value.mend


def test_a_recipe_that_does_not_ship_is_refused_as_everywhere() -> None:
    with pytest.raises(ConfigurationError, match="handof"):
        load_scenarios("handof")


# --- what they need --------------------------------------------------------------------


def scenario_with(folder: Path, head: str, expect: str = "event: response") -> tuple[Scenario, ...]:
    text = f"name: x\n{head}\nscenarios: [{{name: a, turns: [{{expect: [{{{expect}}}]}}]}}]\n"
    return load_scenarios("handoff", [str(write(folder, text))])


def test_words_alone_need_nothing(tmp_path: Path) -> None:
    scenarios = scenario_with(tmp_path, "user: {modality: text}")
    require_means(scenarios)
    assert not wants_speech(scenarios)


AUDIO = "user: {modality: audio, speech: {service: kokoro, voice: af}}"
HEARD = "judge: {modality: audio, transcription: {service: whisper}}"
OWN_VOICE = "user: {modality: audio, speech: {factory: pipecat_workers_cli.session.speech.voice}}"


@pytest.mark.parametrize(("head", "package"), [(AUDIO, "kokoro"), (HEARD, "whisper")])
def test_speech_that_is_not_installed_is_named_with_its_package(head, package, tmp_path) -> None:
    scenarios = scenario_with(tmp_path, head)
    assert wants_speech(scenarios)
    with pytest.raises(PmwError) as refused:
        require_means(scenarios)
    assert f"x/a needs {package}" in refused.value.what
    assert f"pipecat-ai[{package}]" in refused.value.mend


def test_a_factory_is_left_to_itself(tmp_path: Path) -> None:
    require_means(scenario_with(tmp_path, OWN_VOICE))


def test_a_judge_needs_its_key_only_where_it_judges(tmp_path: Path) -> None:
    head = "judge: {eval: {service: openai}}"
    require_means(scenario_with(tmp_path, head))
    with pytest.raises(PmwError, match="x/a needs openai as its judge, and OPENAI_API_KEY"):
        require_means(scenario_with(tmp_path, head, "event: response, eval: it greets"))


def test_a_judge_on_this_machine_must_answer(tmp_path: Path, free_port: int) -> None:
    head = f'judge: {{eval: {{service: ollama, endpoint: "http://localhost:{free_port}/v1"}}}}'
    judged = scenario_with(tmp_path, head, "event: response, eval: it greets")
    with pytest.raises(PmwError, match=f"nothing answers on port {free_port}"):
        require_means(judged)
    with socket.create_server(("localhost", free_port)):
        require_means(judged)


def test_a_simulation_needs_its_caller_and_its_judge(tmp_path: Path, free_port: int) -> None:
    endpoint = f'{{endpoint: "http://localhost:{free_port}/v1"}}'
    text = (
        f"name: x\nsimulator: {endpoint}\njudge: {{eval: {endpoint}}}\n"
        "scenarios: [{name: a, persona: Jo, goal: to buy, success: it sold}]\n"
    )
    scenarios = load_scenarios("handoff", [str(write(tmp_path, text))])
    with pytest.raises(PmwError, match="x/a needs ollama as the caller"):
        require_means(scenarios)
