"""A call at the console, as a person or a script would hold it."""

import json
import signal
import subprocess

import pytest

from tests.e2e.conftest import PMW

OFFLINE = ("--services", "offline")


def talk(*words: str, env, cwd, stdin: str | None = None) -> subprocess.CompletedProcess:
    return subprocess.run(
        [*PMW, *words], env=env, cwd=cwd, input=stdin, capture_output=True, text=True, timeout=60
    )


def test_one_command_prints_the_conversation_and_ends(pmw_env, tmp_path):
    done = talk(
        "handoff", *OFFLINE, "--say", "How much are the rocket boots?", env=pmw_env, cwd=tmp_path
    )
    lines = done.stdout.splitlines()
    assert done.returncode == 0, done.stderr
    assert lines[0].startswith("greeter: ")
    assert lines[1] == "user: How much are the rocket boots?"
    assert lines[2].startswith("* tool transfer_to_agent(")
    assert lines[3] == "* transfer greeter -> support"
    assert lines[4].startswith("support: ")
    assert "$299" in lines[4]
    assert lines[5].startswith("* end ")
    assert len(lines) == 6
    assert not done.stderr


def test_json_lines_are_for_programs(pmw_env, tmp_path):
    done = talk(
        "run", "handoff", *OFFLINE, "-o", "json", "--say", "paint?", "--say", "bye",
        env=pmw_env, cwd=tmp_path,
    )  # fmt: skip
    entries = [json.loads(line) for line in done.stdout.splitlines()]
    assert [entry["event"] for entry in entries] == [
        "bot", "user", "tool", "transfer", "bot", "user", "tool", "bot", "end",
    ]  # fmt: skip
    assert len({entry["call"] for entry in entries}) == 1
    assert [entry["turn"] for entry in entries if entry["event"] == "bot"] == [1, 2, 3]
    assert entries[3]["target"] == "support"
    assert entries[-1]["reason"] == "the caller said goodbye"
    times = [entry["at_ms"] for entry in entries]
    assert times == sorted(times)


@pytest.mark.parametrize("source", ["file", "stdin", "pipe"])
def test_turns_come_from_a_file_or_a_pipe(source, pmw_env, tmp_path):
    turns = "How much is the paint?\n\nthank you\n"
    (tmp_path / "turns.txt").write_text(turns)
    words = {
        "file": ("--say-file", "turns.txt"),
        "stdin": ("--say-file", "-"),
        "pipe": ("-t", "console"),
    }[source]
    done = talk("handoff", *OFFLINE, *words, env=pmw_env, cwd=tmp_path, stdin=turns)
    users = [line for line in done.stdout.splitlines() if line.startswith("user: ")]
    assert users == ["user: How much is the paint?", "user: thank you"]
    assert done.returncode == 0


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 0)])
def test_a_signal_ends_a_call_at_the_console(number, code, pmw, tmp_path):
    (tmp_path / "slow.toml").write_text(
        'name = "slow"\n[main]\nopening = { message = "go" }\n'
        '[[workers]]\nname = "snail"\nscript = [{ on = "opening", say = "Slow." },'
        ' { say = "late", delay = 30 }]\n'
    )
    call = pmw("run", "./slow.toml", *OFFLINE, "--say", "hello")
    call.wait_for_line("user: hello")
    exit_code, seconds = call.stop(number)
    assert exit_code == code
    assert seconds < 5
    assert not any("Traceback" in line for line in call.err)


def test_a_recipe_of_ones_own_runs_without_a_script(pmw_env, tmp_path):
    (tmp_path / "mine.toml").write_text(
        'name = "mine"\n[main]\nopening = { message = "Welcome them." }\n'
        '[[workers]]\nname = "ann"\nsummary = "knows the weather"\ntransfers = ["bob"]\n'
        '[[workers]]\nname = "bob"\nsummary = "knows the tides"\n'
    )
    done = talk(
        "run", "./mine.toml", *OFFLINE, "--say", "may I speak to bob?", "--say", "bye",
        env=pmw_env, cwd=tmp_path,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "* transfer ann -> bob" in done.stdout.splitlines()
