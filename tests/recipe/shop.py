"""A small recipe to be broken, and what is said of it then."""

import pytest

from pipecat_workers_cli.recipe.load import RecipeError, load_recipe

GOOD = """\
name = "shop"
[main]
name = "acme"

[[workers]]
name = "greeter"
transfers = ["support"]

[[workers]]
name = "support"
prompt = "You know prices."
llm = "openai:gpt-4.1"
"""


def write(tmp_path, text, name="mine.toml"):
    path = tmp_path / name
    path.write_text(text, encoding="utf-8")
    return path


def faults_of(text, tmp_path, **sets):
    write(tmp_path, text)
    with pytest.raises(RecipeError) as raised:
        load_recipe("./mine.toml", **sets)
    assert raised.value.exit_code == 2
    assert "\n" not in raised.value.what + raised.value.mend
    return raised.value.faults


def fault_of(text, tmp_path, **sets):
    faults = faults_of(text, tmp_path, **sets)
    assert len(faults) == 1, list(map(str, faults))
    return str(faults[0])
