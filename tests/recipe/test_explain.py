"""What is wrong is said in a recipe author's words, whatever stands there."""

import inspect
import re

import pytest

from pipecat_workers_cli.recipe import asking, explain, fitting
from pipecat_workers_cli.recipe.model import (
    Filler,
    JobTool,
    MainRecipe,
    Opening,
    Recipe,
    Rule,
    Service,
    WorkerRecipe,
)
from tests.recipe.reading import faults_in

ODD = (
    "5", "-1", "1e999", "nan", "true", '""', '"A b\\n"', '"${NOPE}"', "1979-05-27", "07:32:00",
    "[]", "[5]", '[[""]]', "[{}]", "{}", '{ "a b" = [1979-05-27] }', "{ use = 5 }", '"x:y:z"',
    "99999999999999999999999999",
)  # fmt: skip
PLACES = {
    Recipe: "{}\n[[workers]]\nname = 'a'",
    MainRecipe: "[main]\n{}\n[[workers]]\nname = 'a'",
    Opening: "[main.opening]\n{}\n[[workers]]\nname = 'a'",
    WorkerRecipe: "[[workers]]\n{}",
    JobTool: "[[workers]]\nname = 'a'\n[[workers.jobs]]\n{}",
    Filler: "[[workers]]\nname = 'a'\n[[workers.jobs]]\n[workers.jobs.filler]\n{}",
    Rule: "[[workers]]\nname = 'a'\n[[workers.script]]\n{}",
    Service: "[[workers]]\nname = 'a'\n[workers.llm]\n{}",
}
KEYS = [(table, key) for table in PLACES for key in table.model_fields]


@pytest.mark.parametrize(("table", "key"), KEYS)
def test_whatever_stands_at_a_key_each_fault_has_a_mend_of_its_own(table, key, tmp_path):
    for odd in ODD:
        form = "{}" if key == "workers" and table is Recipe else PLACES[table]
        text = form.format(f"{key} = {odd}") + "\n"
        if table is not Recipe:
            text = f"name = 'x'\n{text}"
        for fault in faults_in(text, tmp_path):
            assert "pmw recipe show" not in fault
            assert "Input should" not in fault
            assert "\n" not in fault
            assert re.fullmatch(r"mine\.toml:\d+: .+ \(.+\)", fault), fault


@pytest.mark.parametrize("module", [asking, fitting])
def test_each_misfit_has_a_mend(module):
    kinds = set(re.findall(r'misfit\(\s*"(\w+)"', inspect.getsource(module)))
    assert len(kinds) > 5
    assert kinds <= {*explain._MENDS, *explain._LISTED, "ring"}
