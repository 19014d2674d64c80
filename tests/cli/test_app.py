"""The program as its user meets it: help, exit codes, two lines of error, options everywhere."""

import errno
import io
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import typer

from pipecat_workers_cli.cli import app as program
from pipecat_workers_cli.cli.terminal import Terminal
from pipecat_workers_cli.errors import ConfigurationError, PmwError
from tests.program import PMW

CHECKOUT = Path(__file__).parents[2]
KEY = "sk-live-0123456789abcdef"

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    """Run `pmw` in this process; returns its exit code, stdout and stderr."""

    def run_words(*words: str) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as left:
            program.main(words)
        said = capsys.readouterr()
        return int(left.value.code or 0), said.out, said.err

    return run_words


def run_process(*words: str, **variables: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*PMW, *words],
        env={**os.environ, **variables},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


# --- help and version ------------------------------------------------------------------


@pytest.mark.parametrize("words", [(), ("--help",), ("-h",)])
def test_help_groups_the_commands_by_panel(run: Run, words: tuple[str, ...]) -> None:
    code, out, err = run(*words)
    assert (code, err) == (0, "")
    titles = re.findall(r"─ (\w+) ─", out)
    panels = [title for title in titles if title not in {"Options", "Logs"}]
    assert panels == ["Patterns", "Recipes", "Distributed", "Sessions", "Traffic", "Tools"]
    for panel, commands in {
        "Patterns": ("handoff", "debate", "code", "sensor"),
        "Recipes": ("run", "eval", "recipe"),
        "Distributed": ("worker", "up"),
        "Sessions": ("ps", "say", "stop"),
        "Traffic": ("bus",),
        "Tools": ("doctor", "voices", "completions"),
    }.items():
        inside = out.split(f"─ {panel} ─")[1].split("╰")[0]
        for command in commands:
            assert re.search(rf"│ {command} ", inside), f"{command} is not in {panel}"


@pytest.mark.parametrize("group", ["recipe", "bus"])
def test_a_group_alone_shows_its_help(run: Run, group: str) -> None:
    code, out, err = run(group)
    assert (code, err) == (0, "")
    assert f"pmw {group}" in out


@pytest.mark.parametrize(
    "command",
    [
        "handoff",
        "debate",
        "code",
        "sensor",
        "run",
        "eval",
        "recipe",
        "worker",
        "up",
        "ps",
        "say",
        "stop",
        "bus",
        "doctor",
        "voices",
        "completions",
    ],
)
def test_every_command_has_a_help_that_names_itself(run: Run, command: str) -> None:
    code, out, err = run(command, "--help")
    assert (code, err) == (0, "")
    assert f"Usage: pmw {command}" in out


def test_help_says_what_a_left_out_option_means(run: Run) -> None:
    _, out, _ = run("handoff", "--help")
    said = " ".join(re.sub(r"[│╭╮╰╯─]", " ", out).split())
    assert "7860" in said
    assert "slowest" in said, "the default of --max-calls"
    assert "off a terminal" in said or "else off" in said, "the default of --traffic"


@pytest.mark.parametrize("flag", ["--version", "-V"])
def test_version_names_pmw_and_pipecat(run: Run, flag: str) -> None:
    code, out, err = run(flag)
    assert (code, err) == (0, "")
    assert re.fullmatch(r"pmw \d+\.\d+\.\d+ \(pipecat-ai 1\.14\.\d+\)\n", out)


def test_help_imports_no_framework() -> None:
    loaded = subprocess.run(
        [
            sys.executable,
            "-c",
            "import atexit, sys\n"
            "atexit.register(lambda: print(*sys.modules, file=sys.stderr))\n"
            "from pipecat_workers_cli.__main__ import main\n"
            "sys.argv = ['pmw', '--help']\n"
            "main()",
        ],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    ).stderr.split()
    heavy = {"pipecat", "pydantic", "numpy", "loguru", "msgspec", "aiohttp", "asyncio"}
    assert not heavy & set(loaded)
    ours = {name for name in loaded if name.startswith("pipecat_workers_cli.")}
    rooms = {name.split(".")[1] for name in ours}
    assert rooms <= {"__main__", "cli", "options", "errors"}


# --- what was typed is wrong -----------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "about", "hint"),
    [
        (("handof",), "handof", "handoff"),
        (("recipe", "shw"), "shw", "show"),
        (("xyzzy",), "xyzzy", "pmw --help"),
        (("--verison",), "--verison", "--version"),
        (("handoff", "--servces", "offline"), "--servces", "--services"),
        (("handoff", "-x"), "-x", "pmw handoff --help"),
        (("handoff", "stray"), "stray", "pmw handoff --help"),
        (("recipe", "list", "stray"), "stray", "pmw recipe list --help"),
        (("handoff", "--services", "clod"), "clod", "cloud"),
        (("handoff", "--traffic", "tabel"), "tabel", "table"),
        (("handoff", "-o", "jsno"), "jsno", "json"),
        (("handoff", "--log-level", "debgu"), "debgu", "debug"),
        (("completions", "fsh"), "fsh", "fish"),
        (("handoff", "--port"), "--port", "pmw handoff --help"),
        (("handoff", "--port", "many"), "--port", "pmw handoff --help"),
        (("handoff", "--port", "99999"), "--port", "pmw handoff --help"),
        (("handoff", "--idle-timeout", "0"), "must be 1 or more", "pmw handoff --help"),
        (("handoff", "stray"), "handoff takes no argument 'stray'", "pmw handoff --help"),
        (("handoff", "--say", ""), "there is no turn to say", "--say TEXT"),
        (("handoff", "--say-file", os.devnull), "there is no turn to say", "--say TEXT"),
        (("handoff", "--say", "hi", "--log-file", "/"), "log file /: Is a directory", "another"),
        (("--env-file", "/", "handoff", "--say", "hi"), "it is a folder", "text file"),
        (("run",), "RECIPE", "pmw run --help"),
        (("run", "handof"), "handof", "handoff"),
        (("recipe", "show"), "NAME", "pmw recipe show --help"),
        (("recipe", "show", "handof"), "handof", "handoff"),
        (("handoff", "--say", "hi", "-t", "webrtc"), "--say", "--transport"),
        (("handoff", "--say-file", "/nonesuch"), "/nonesuch", "text file"),
        (("handoff", "--llm", "openia"), "openia", "openai"),
        (("handoff", "-t", "webrct"), "webrct", "webrtc"),
        (("handoff", "--set", "main.idel=1"), "main.idel", "KEY|choose one of"),
        (("doctor", "handof"), "handof", "handoff"),
        (("--env-file", "/nonesuch", "handoff", "--say", "hi"), "/nonesuch", "text file"),
    ],
)
def test_a_mistake_in_what_was_typed_is_two_lines_on_stderr(
    run: Run, words: tuple[str, ...], about: str, hint: str
) -> None:
    code, out, err = run(*words)
    assert (code, out) == (2, "")
    said = re.fullmatch(r"error: (.*)\n  try: (.*)\n", err)
    assert said, f"not two lines: {err!r}"
    assert about in said[1]
    assert re.search(hint, said[2])


# --- what went wrong -------------------------------------------------------------------


def failing(monkeypatch: pytest.MonkeyPatch, error: BaseException) -> None:
    """Let the program have one command, which fails."""
    stand_in = typer.Typer(pretty_exceptions_enable=False)

    @stand_in.callback()
    def everywhere(context: typer.Context, verbose: bool = typer.Option(False, "-v")) -> None:
        Terminal.of(context).verbose = verbose

    @stand_in.command()
    def fail() -> None:
        raise error

    monkeypatch.setattr(program, "app", stand_in)


def test_a_failure_of_the_world_exits_with_1_and_says_what_to_do(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    failing(monkeypatch, PmwError("port 7860 is taken", mend="--port 7861"))
    assert run("fail") == (1, "", "error: port 7860 is taken\n  try: --port 7861\n")


def test_a_configuration_error_exits_with_2(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    failing(monkeypatch, ConfigurationError("no such file", mend="name another"))
    assert run("fail") == (2, "", "error: no such file\n  try: name another\n")


def test_an_interrupt_exits_with_130_and_is_silent(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    failing(monkeypatch, KeyboardInterrupt())
    assert run("fail") == (130, "", "")


def test_what_task_groups_wrap_is_unwrapped(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    inner = PmwError("no Redis answers there", mend="start one")
    failing(monkeypatch, ExceptionGroup("tasks", [ExceptionGroup("tasks", [inner])]))
    assert run("fail") == (1, "", "error: no Redis answers there\n  try: start one\n")


def test_the_text_of_an_unexpected_error_may_hold_a_key_and_is_not_shown(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    failing(monkeypatch, ValueError(f"wrong key {KEY}"))
    assert run("fail") == (1, "", "error: unexpected ValueError\n  try: see it all with -v\n")


def test_what_is_told_of_an_error_moves_no_cursor(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    failing(monkeypatch, PmwError("it said: a\nb\x1b]0;title\x07", mend="mend\x9bit"))
    assert run("fail") == (1, "", "error: it said: a b ]0;title \n  try: mend it\n")


def test_a_full_disk_and_a_directory_that_is_gone_are_told(
    run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    failing(monkeypatch, OSError(errno.ENOSPC, "No space left on device"))
    told = "error: cannot write: No space left on device\n  try: make room, or write elsewhere\n"
    assert run("fail") == (1, "", told)
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    failing(monkeypatch, FileNotFoundError(errno.ENOENT, "No such file or directory"))
    code, _, err = run("fail")
    assert (code, err.partition("\n")[0]) == (
        1,
        "error: the directory that this was started in is gone",
    )


def test_verbose_shows_where_an_unexpected_error_came_from_without_the_key(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    failing(monkeypatch, ValueError(f"wrong key {KEY}"))
    code, out, err = run("-v", "fail")
    assert (code, out) == (1, "")
    assert "Traceback" in err
    assert "test_app.py" in err
    assert "ValueError: wrong key ***" in err
    assert KEY not in err


def test_ctrl_c_ends_a_real_process_with_130_and_no_traceback() -> None:
    process = subprocess.Popen(
        [
            sys.executable,
            "-c",
            "import time\n"
            "from pipecat_workers_cli.cli import app as program\n"
            "from pipecat_workers_cli.cli import recipe\n"
            "import pipecat_workers_cli.recipe.files as files\n"
            "def slow():\n"
            "    print('running', flush=True)\n"
            "    time.sleep(60)\n"
            "files.shipped_recipes = slow\n"
            "program.main(['recipe', 'list'])",
        ],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "running\n"
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=20)
    finally:
        process.kill()
    assert (process.returncode, out, err) == (130, "", "")


def test_a_reader_that_has_seen_enough_brings_no_traceback() -> None:
    pmw = f"{sys.executable} -m pipecat_workers_cli"
    answer = subprocess.run(
        ["bash", "-c", f"{pmw} recipe show handoff | head -n 1; {pmw} --help | head -n 1"],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert answer.stderr == ""


# --- options that work everywhere ------------------------------------------------------


def terminal_after(run: Run, monkeypatch: pytest.MonkeyPatch, *words: str) -> Terminal:
    """Return what a command knows about its terminal after these words."""
    seen: list[Terminal] = []
    from pipecat_workers_cli.cli import patterns

    monkeypatch.setattr(patterns, "hold_calls", lambda terminal, *_: seen.append(terminal))
    code, _, err = run(*words)
    assert (code, err) == (0, "")
    return seen[0]


def test_what_follows_two_dashes_is_for_pipecats_runner(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    terminal = terminal_after(
        run, monkeypatch, "handoff", "--port", "7861", "--", "--proxy", "example.org", "--", "-v"
    )
    assert terminal.runner_args == ("--proxy", "example.org", "--", "-v")
    assert not terminal.verbose


def test_of_the_proxys_two_ends_the_callers_has_a_runner(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = ("-t", "twilio", "--", "--proxy", "example.org")
    terminal = terminal_after(run, monkeypatch, "proxy", "call", *words)
    assert terminal.runner_args == ("--proxy", "example.org")
    code, _, err = run("proxy", "serve", "--", "--proxy", "example.org")
    assert code == 2
    assert err.startswith("error: pmw proxy serve takes nothing after '--'")


@pytest.mark.parametrize("words", [("-v", "handoff"), ("handoff", "-v")])
def test_verbose_is_log_level_debug_before_and_after_the_command(
    run: Run, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...]
) -> None:
    terminal = terminal_after(run, monkeypatch, *words)
    assert (terminal.verbose, terminal.log_level) == (True, "debug")


@pytest.mark.parametrize(
    "words",
    [("recipe", "list"), ("recipe", "show", "handoff"), ("completions", "bash")],
)
def test_options_that_work_everywhere_may_follow_commands_that_hold_no_call(
    run: Run, words: tuple[str, ...]
) -> None:
    code, out, err = run(*words, "-q", "-v", "--log-level", "info", "--log-file", "unused.log")
    assert (code, err) == (0, "")
    assert out


@pytest.mark.parametrize(
    "words",
    [
        ("--log-level", "trace", "--log-file", "a.log", "--env-file", "my.env", "-q", "handoff"),
        ("handoff", "--log-level", "trace", "--log-file", "a.log", "--env-file", "my.env", "-q"),
        ("--log-level", "trace", "-q", "handoff", "--log-file", "a.log", "--env-file", "my.env"),
    ],
)
def test_options_that_work_everywhere_may_stand_on_either_side(
    run: Run, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...]
) -> None:
    terminal = terminal_after(run, monkeypatch, *words)
    assert terminal.quiet
    assert terminal.log_level == "trace"
    assert terminal.log_file == Path("a.log")
    assert terminal.env_file == Path("my.env")


def test_a_stray_argument_after_two_dashes_is_refused_where_no_runner_is(run: Run) -> None:
    code, out, err = run("recipe", "list", "--", "stray")
    assert (code, out) == (2, "")
    assert "stray" in err


# --- recipes ---------------------------------------------------------------------------


def test_recipe_list_is_lines_in_a_pipe_and_objects_as_json(run: Run) -> None:
    code, out, _ = run("recipe", "list")
    assert code == 0
    assert {"debate", "handoff"} <= {line.split()[0] for line in out.splitlines()}
    for words in (("--json",), ("-o", "json"), ("--output", "json")):
        code, out, err = run("recipe", "list", *words)
        assert (code, err) == (0, "")
        assert any('"name": "handoff"' in line for line in out.splitlines())


def test_recipe_show_prints_the_file_to_the_byte(capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    with pytest.raises(SystemExit):
        program.main(["recipe", "show", "handoff"])
    assert capfdbinary.readouterr().out == (CHECKOUT / "recipes" / "handoff.toml").read_bytes()


def test_what_stdout_has_no_sign_for_is_told_by_its_number(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mine = tmp_path / "price-in-€.toml"
    mine.write_bytes((CHECKOUT / "recipes" / "handoff.toml").read_bytes())
    written = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(written, encoding="latin-1"))
    with pytest.raises(SystemExit) as left:
        program.main(["recipe", "check", "--no-import", str(mine)])
    assert left.value.code == 0
    assert b"price-in-\\u20ac.toml" in written.getvalue()


def test_no_colour_and_no_terminal_mean_no_escape_codes() -> None:
    for words in (("--help",), ("recipe", "list"), ("doctor", "eval")):
        answer = run_process(*words, NO_COLOR="1")
        assert "\x1b" not in answer.stdout + answer.stderr
