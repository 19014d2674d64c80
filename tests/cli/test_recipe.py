import json
import os
import subprocess
import sys

import pytest
from typer.testing import CliRunner

from pipecat_workers_cli.cli.recipe import recipe_app
from pipecat_workers_cli.errors import ConfigurationError
from pipecat_workers_cli.recipe.files import shipped_path
from pipecat_workers_cli.recipe.load import load_recipe
from pipecat_workers_cli.recipe.schema import render_schema
from tests.program import PMW

GOOD = 'name = "shop"\n[[workers]]\nname = "greeter"\n'
BAD = GOOD + 'transfers = ["nobody"]\nsumary = "x"\n'


@pytest.fixture(autouse=True)
def in_a_folder_of_its_own(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    # `check` reads .env and then switches dotenv off; both end with the test.
    monkeypatch.setenv("PYTHON_DOTENV_DISABLED", "1")
    (tmp_path / "good.toml").write_text(GOOD)
    (tmp_path / "bad.toml").write_text(BAD)


def invoke(*words):
    return CliRunner().invoke(recipe_app, words)


def objects(text):
    return [json.loads(line) for line in text.splitlines()]


def test_list_names_each_recipe_with_its_summary_on_a_plain_line():
    listed = invoke("list")
    assert listed.exit_code == 0
    row = next(line for line in listed.stdout.splitlines() if line.startswith("handoff "))
    assert row.split()[1] == load_recipe("handoff").hash
    assert row.endswith("hand one voice call to each other")
    assert "\x1b" not in listed.stdout


@pytest.mark.parametrize("option", [["-o", "json"], ["--output", "json"], ["--json"]])
def test_list_as_json_is_one_object_a_line(option):
    listed = invoke("list", *option)
    row = next(row for row in objects(listed.stdout) if row["name"] == "handoff")
    assert row == {
        "name": "handoff",
        "summary": "A greeter and a support agent hand one voice call to each other",
        "hash": load_recipe("handoff").hash,
        "path": str(shipped_path("handoff")),
    }


def test_show_prints_the_file_byte_by_byte():
    shown = invoke("show", "handoff")
    assert shown.exit_code == 0
    assert shown.stdout_bytes == shipped_path("handoff").read_bytes()


def test_show_prints_a_faulty_file_of_the_user_too():
    assert invoke("show", "./bad.toml").stdout == BAD


def test_show_of_an_unknown_name_is_an_error_with_a_near_miss():
    error = invoke("show", "handof").exception
    assert isinstance(error, ConfigurationError)
    assert "did you mean 'handoff'?" in error.mend


def test_check_of_good_recipes_says_ok():
    checked = invoke("check", "good.toml", "handoff")
    assert checked.exit_code == 0
    assert checked.stdout == "good.toml: ok\nhandoff: ok\n"


def test_check_prints_every_fault_of_every_file_and_exits_2():
    checked = invoke("check", "bad.toml", "good.toml", "nope.toml", "./nope.toml", ".")
    assert checked.exit_code == 2
    lines = checked.stdout.splitlines()
    assert lines[0].startswith("bad.toml:4: workers.greeter.transfers[0] = 'nobody': ")
    assert lines[1].startswith("bad.toml:5: workers.greeter.sumary = 'x': unknown key (did you ")
    assert lines[2] == "good.toml: ok"
    assert lines[3] == "nope.toml: there is no such file (look for a typo in the path)"
    assert lines[4].startswith("./nope.toml: there is no such file")
    assert len(lines) == 6


def test_check_as_json_is_one_object_a_file():
    checked = invoke("check", "-o", "json", "good.toml", "bad.toml", "/dev/zero", "nope")
    assert checked.exit_code == 2
    good, bad, device, unknown = objects(checked.stdout)
    assert good == {"path": "good.toml", "ok": True, "faults": []}
    assert bad["ok"] is False
    assert bad["faults"][1] == {
        "file": "bad.toml",
        "line": 5,
        "key": "workers.greeter.sumary",
        "what": "unknown key",
        "mend": "did you mean 'summary'? choose one of: at, jobs, kind, llm, name, options, "
        "prompt, prompt_file, script, summary, token, tools, transfers, tts, voice",
    }
    assert [fault["line"] for fault in (*device["faults"], *unknown["faults"])] == [None, None]


def test_check_imports_the_users_code_unless_it_is_told_not_to(tmp_path):
    text = f'{GOOD}kind = "porter:Porter"\ntools = ["acme_tools:find"]\n'
    (tmp_path / "own.toml").write_text(text)
    (tmp_path / "porter.py").write_text("import pathlib; pathlib.Path('was-here').touch(); 1 / 0")
    left_alone = invoke("check", "own.toml", "--no-import")
    assert (left_alone.exit_code, left_alone.stdout) == (0, "own.toml: ok\n")
    assert not (tmp_path / "was-here").exists()
    checked = invoke("check", "own.toml")
    assert checked.exit_code == 2
    assert (tmp_path / "was-here").exists()
    kind, tool = checked.stdout.splitlines()
    assert kind.startswith("own.toml:4: workers.greeter.kind = 'porter:Porter': porter can't be")
    assert tool.startswith("own.toml:5: workers.greeter.tools[0] = 'acme_tools:find': there is no")


def test_check_prints_nothing_but_what_it_found(tmp_path):
    command = [*PMW, "recipe", "check", "good.toml"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "good.toml: ok\n", "")


def test_check_needs_a_path():
    assert invoke("check").exit_code == 2


def test_check_takes_variables_from_the_env_file(tmp_path):
    (tmp_path / "vars.toml").write_text(GOOD + 'prompt = "${PMW_TEST_PROMPT}"')
    (tmp_path / "my.env").write_text("PMW_TEST_PROMPT=hello\n")
    program = (
        "import sys; from pipecat_workers_cli.cli.recipe import recipe_app; "
        "recipe_app(['check', *sys.argv[1:]])"
    )
    for options, code in (([], 2), (["--env-file", "my.env"], 0)):
        command = [sys.executable, "-c", program, "vars.toml", *options]
        done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
        assert done.returncode == code, done.stdout + done.stderr


def test_help_imports_neither_the_model_nor_the_framework():
    program = (
        "import sys; from pipecat_workers_cli.cli.recipe import recipe_app; "
        "sys.argv = ['recipe', 'check', '--help']\n"
        "heavy = ('pipecat', 'pipecat_workers_cli.recipe.model')\n"
        "try: recipe_app()\n"
        "finally: print([name for name in heavy if name in sys.modules])"
    )
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


# --- schema, graph ---


def test_schema_is_printed_as_a_file_holds_it():
    printed = invoke("schema")
    assert (printed.exit_code, printed.stdout) == (0, render_schema())


def test_graph_is_a_tree_without_colour_in_a_pipe():
    drawn = invoke("graph", "debate")
    assert drawn.exit_code == 0
    assert drawn.stdout.splitlines()[1:4] == [
        "└── moderator  main, has the call first",
        "    └── debate(topic)  asks all at once",
        "        ├── advocate  specialist: argues for it",
    ]
    assert "\x1b" not in drawn.stdout


def test_graph_is_ascii_where_the_locale_has_no_more(tmp_path):
    (tmp_path / "odd.toml").write_text(f'{GOOD}summary = "Käse"\n', encoding="utf-8")
    command = [*PMW, "recipe", "graph", "./odd.toml"]
    env = {**os.environ, "PYTHONIOENCODING": "ascii"}
    done = subprocess.run(command, capture_output=True, env=env, timeout=30, check=True)
    assert done.stdout.decode("ascii").splitlines() == [
        "shop",
        "`-- main  main",
        "    `-- greeter  agent, has the call first: K?se",
    ]


def test_graph_as_mermaid():
    drawn = invoke("graph", "handoff", "--format", "mermaid")
    assert drawn.exit_code == 0
    assert drawn.stdout.startswith("flowchart TD\n")
    assert drawn.stdout.endswith('w2 -->|"transfer"| w1\n')


@pytest.mark.parametrize("option", [["-o", "json"], ["--json"]])
def test_graph_as_json_is_one_object_of_nodes_and_edges(option):
    (graph,) = objects(invoke("graph", "./good.toml", *option).stdout)
    assert graph == {
        "name": "shop",
        "summary": "",
        "nodes": [
            {"name": "main", "kind": "main", "summary": "", "opens": False},
            {"name": "greeter", "kind": "agent", "summary": "", "opens": True},
        ],
        "edges": [{"source": "main", "target": "greeter", "tie": "bridge", "tool": None}],
    }


def test_graph_of_a_faulty_recipe_is_an_error_that_has_its_faults():
    error = invoke("graph", "./bad.toml").exception
    assert isinstance(error, ConfigurationError)
    assert error.exit_code == 2


def test_new_writes_into_the_working_folder_and_over_nothing():
    started = invoke("new", "shop")
    assert started.exit_code == 0
    assert invoke("check", "./shop.toml").stdout == "./shop.toml: ok\n"
    assert isinstance(invoke("new", "shop").exception, ConfigurationError)


OWN = """
from pipecat.workers.base_worker import BaseWorker

class Clerk(BaseWorker):
    def __init__(self, name, *, place=""):
        if place:
            raise ValueError(f"no database at {place}")
        super().__init__(name)
"""


def test_check_finds_what_a_run_would_fail_of_and_tells_no_value_of_a_variable(
    tmp_path, monkeypatch
):
    monkeypatch.setenv("PLACE", "db-with-hunter2")
    (tmp_path / "rehearsed.py").write_text(OWN)
    worker = 'name = "shop"\n[main]\nprompt = "Hi"\n[[workers]]\nname = "clerk"\n'
    (tmp_path / "raises.toml").write_text(
        f'{worker}kind = "rehearsed:Clerk"\noptions = {{ place = "${{PLACE}}" }}\n'
    )
    (tmp_path / "fine.toml").write_text(f'{worker}kind = "rehearsed:Clerk"\n')
    (tmp_path / "nowhere.toml").write_text(
        f'{worker}kind = "coder"\noptions = {{ path = "./nowhere" }}\n'
    )
    checked = invoke("check", "raises.toml", "fine.toml", "nowhere.toml")
    raises, fine, nowhere = checked.stdout.splitlines()
    assert checked.exit_code == 2
    assert raises.startswith("raises.toml:6: workers.clerk.kind")
    assert "ValueError: no database at ***" in raises
    assert "hunter2" not in checked.stdout
    assert fine == "fine.toml: ok"
    assert nowhere.startswith("nowhere.toml:7: workers.clerk.options.path = './nowhere': ")
    assert invoke("check", "raises.toml", "--no-import").exit_code == 0
