"""The format as it is described: what its examples say is what the model holds."""

import pytest

from pipecat_workers_cli.recipe.load import load_recipe
from pipecat_workers_cli.recipe.model import Recipe
from tests.recipe.reading import EXAMPLES


def load(name: str, tmp_path) -> Recipe:
    path = tmp_path / f"{name}.toml"
    path.write_text(EXAMPLES[name], encoding="utf-8")
    return load_recipe(str(path)).recipe


@pytest.mark.parametrize("name", EXAMPLES)
def test_each_example_loads(name, tmp_path):
    assert load(name, tmp_path).name == name


def test_a_handoff_bridges_to_agents_that_hand_the_call_over(tmp_path):
    recipe = load("handoff", tmp_path)
    assert (recipe.main.name, recipe.opener.name) == ("acme", "greeter")
    assert [worker.kind for worker in recipe.workers] == ["agent", "agent"]
    assert recipe.worker("greeter").voice_for("piper") == "joe"
    assert recipe.worker("greeter").script[0].args["reason"] == "asks about {match}"


def test_a_debate_asks_three_at_once_and_fills_the_wait(tmp_path):
    recipe = load("debate", tmp_path)
    (job,) = recipe.main.jobs
    assert recipe.opener is recipe.main
    assert job.workers == ("advocate", "critic", "analyst")
    assert dict(job.takes) == {"topic": "the topic, as one question"}
    assert job.filler is not None
    assert (job.filler.say, job.filler.after, job.timeout) == ("Let me ask them.", 2, 30)
    assert recipe.worker("advocate").script[0].say == (
        "{text} Yes: it brings people together.",
        "{text} Again, yes.",
    )


def test_a_coder_has_options_with_a_variable_in_them(tmp_path, monkeypatch):
    monkeypatch.delenv("PROJECT_PATH", raising=False)
    recipe = load("code", tmp_path)
    assert recipe.main.jobs[0].timeout == 120
    assert recipe.worker("coder").options == {"path": ".", "model": "sonnet", "max_turns": 10}
    monkeypatch.setenv("PROJECT_PATH", "/srv/app")
    assert load("code", tmp_path).worker("coder").options["path"] == "/srv/app"


def test_a_controllers_script_calls_its_tools(tmp_path):
    recipe = load("sensor", tmp_path)
    assert dict(recipe.main.jobs[0].takes) == {"question": "in full"}
    assert recipe.worker("controller").options["rate"] == 0.05
    assert [rule.call for rule in recipe.worker("controller").script] == [
        "set_target",
        "read_temperature",
        None,
    ]


def test_an_assistant_has_a_tool_in_python(tmp_path):
    assert load("assistant", tmp_path).worker("assistant").tools == ("acme_tools:find_order",)
