import json
import subprocess
import sys

import pytest
from typer.testing import CliRunner

from pipecat_workers_cli.cli.recipe import recipe_app
from pipecat_workers_cli.errors import ConfigurationError
from pipecat_workers_cli.recipe.load import shipped_path

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
    assert row.endswith("hand one voice call to each other")
    assert "\x1b" not in listed.stdout


@pytest.mark.parametrize("option", [["-o", "json"], ["--output", "json"], ["--json"]])
def test_list_as_json_is_one_object_a_line(option):
    listed = invoke("list", *option)
    row = next(row for row in objects(listed.stdout) if row["name"] == "handoff")
    assert row == {
        "name": "handoff",
        "summary": "A greeter and a support agent hand one voice call to each other",
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
        "mend": "did you mean 'summary'? there is jobs, kind, llm, name, options, prompt, "
        "prompt_file, script, summary, tools, transfers, tts, voice",
    }
    assert [fault["line"] for fault in (*device["faults"], *unknown["faults"])] == [None, None]


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
