"""A call at the console, as a person or a script would hold it."""

import json
import re
import signal
import subprocess
from pathlib import Path

import pytest

from tests.program import PMW

FULL = Path("/dev/full")
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
    assert not list(Path(pmw_env["XDG_RUNTIME_DIR"]).glob("pmw/*")), "it leaves no session"
    assert lines[0].startswith("greeter: ")
    assert lines[1] == "user: How much are the rocket boots?"
    assert lines[2].startswith("* tool transfer_to_agent(")
    assert lines[3] == "* transfer greeter -> support"
    assert lines[4].startswith("support: ")
    assert "$299" in lines[4]
    assert lines[5].startswith("* end ")
    assert len(lines) == 6
    assert not done.stderr


def test_json_lines_are_for_programs_and_turns_may_stand_in_a_file(pmw_env, tmp_path):
    (tmp_path / "turns.txt").write_text("paint?\n\nbye\n")
    done = talk(
        "run", "handoff", *OFFLINE, "-o", "json", "--say-file", "turns.txt",
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


@pytest.mark.parametrize(
    ("engine", "told"),
    [
        ("claude", "claude (as told), MAY RUN SHELL COMMANDS (--allow-bash)"),
        pytest.param(
            "search",
            "search (as told), has no shell all the same (--allow-bash)",
            marks=pytest.mark.long,
        ),
    ],
)
def test_what_a_script_grants_is_told_though_it_has_no_banner(engine, told, pmw_env, tmp_path):
    words = ("code", *OFFLINE, "--engine", engine, "--allow-bash", "--say", "Hello")
    env = pmw_env | {"ANTHROPIC_API_KEY": "any"}  # nothing is asked of it
    done = talk(*words, env=env, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stderr.rstrip().endswith(f"coder: {told}")


@pytest.mark.parametrize("words", [("--say-file", "-"), ("-t", "console")])
def test_turns_come_from_a_pipe_and_move_no_cursor(words, pmw_env, tmp_path):
    turns = "How much is the paint?\n\nthank \x1b[31myou\a\n"
    done = talk("handoff", *OFFLINE, *words, env=pmw_env, cwd=tmp_path, stdin=turns)
    users = [line for line in done.stdout.splitlines() if line.startswith("user: ")]
    assert [user.rstrip() for user in users] == [
        "user: How much is the paint?",
        "user: thank  [31myou",
    ]
    assert not {"\x1b", "\a"} & set(done.stdout)
    assert done.returncode == 0


@pytest.mark.parametrize(
    ("number", "code"),
    [(signal.SIGINT, 130), pytest.param(signal.SIGTERM, 0, marks=pytest.mark.long)],
)
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


def test_a_recipe_of_ones_own_runs_without_a_script_and_within_its_limit(pmw_env, tmp_path):
    (tmp_path / "mine.toml").write_text(
        'name = "mine"\n[main]\nopening = { message = "Welcome them." }\n'
        '[[workers]]\nname = "ann"\nsummary = "knows the weather"\ntransfers = ["bob"]\n'
        '[[workers]]\nname = "bob"\nsummary = "knows the tides"\n'
    )
    done = talk(
        "run", "./mine.toml", *OFFLINE, "--say", "may I speak to bob?", "--say", "bye",
        "--max-turn-ms", "3000",
        env=pmw_env, cwd=tmp_path,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    assert "* transfer ann -> bob" in done.stdout.splitlines()


def test_a_reader_that_has_seen_enough_ends_the_call_in_silence(pmw_env, tmp_path):
    done = subprocess.run(
        ["bash", "-c", '"$@" | head -n 1; exit ${PIPESTATUS[0]}', "-", *PMW, "handoff", *OFFLINE,
         "--say", "hello"],
        env=pmw_env, cwd=tmp_path, capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert done.stdout.startswith("greeter: ")
    assert (done.returncode, done.stderr) == (1, "")


@pytest.mark.skipif(not FULL.exists(), reason="only Linux has /dev/full")
def test_a_full_disk_is_told_in_two_lines(pmw_env, tmp_path):
    with FULL.open("w") as full:
        done = subprocess.run(
            [*PMW, "handoff", *OFFLINE, "--say", "hello"],
            env=pmw_env, cwd=tmp_path, stdout=full, stderr=subprocess.PIPE, text=True, timeout=60,
        )  # fmt: skip
    assert done.returncode == 1
    assert done.stderr == (
        "error: cannot write to stdout: No space left on device\n"
        "  try: make room, or write elsewhere\n"
    )


def test_a_line_too_long_for_a_turn_is_the_users_mistake(pmw_env, tmp_path):
    done = talk("handoff", *OFFLINE, "-t", "console", env=pmw_env, cwd=tmp_path, stdin="a" * 20_000)
    assert done.returncode == 2
    assert done.stderr == "error: a turn has more than 16384 bytes\n  try: break it into lines\n"


@pytest.mark.parametrize("closing", ["<&-", pytest.param("</dev/null", marks=pytest.mark.long)])
def test_a_closed_stdin_is_the_end_of_input(closing, pmw_env, tmp_path):
    done = subprocess.run(
        ["bash", "-c", f'"$@" {closing}', "-", *PMW, "handoff", *OFFLINE, "-t", "console"],
        env=pmw_env, cwd=tmp_path, capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines()[-1] == "* end the caller hung up"


def test_an_answer_over_the_limit_fails_the_command_once_the_call_is_over(pmw_env, tmp_path):
    (tmp_path / "slow.toml").write_text(
        'name = "slow"\n[[workers]]\nname = "snail"\n'
        'script = [{ match = "quick", say = "Quick." }, { say = "Late.", delay = 0.4 }]\n'
    )
    words = ("run", "./slow.toml", *OFFLINE, "--say", "be slow", "--say", "be quick")
    late = talk(*words, "--max-turn-ms", "300", env=pmw_env, cwd=tmp_path)
    assert late.returncode == 1
    assert "snail: Quick." in late.stdout.splitlines()
    what, mend = late.stderr.splitlines()
    assert re.fullmatch(r"error: answer 1, snail's, took 4\d\d ms, 4\d\d ms of it llm", what)
    assert "--max-turn-ms 300" in mend
