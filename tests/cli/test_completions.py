"""Completions: the shipped scripts, what is offered, and real shells with a real Tab."""

import os
import pty
import re
import select
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from pipecat_workers_cli.buses.urls import BUS_KINDS, SHORT
from pipecat_workers_cli.cli import complete
from pipecat_workers_cli.cli.completions import FILES, Shell, shipped_script
from pipecat_workers_cli.cli.listing import render_words
from pipecat_workers_cli.cli.tab import offer, split_line
from pipecat_workers_cli.cli.words import completions_file, read_rows
from pipecat_workers_cli.services.providers import PROVIDERS, Role
from pipecat_workers_cli.session.address import claim
from pipecat_workers_cli.transports.params import TRANSPORTS

CHECKOUT = Path(__file__).parents[2]
PROGRAMS = Path(sys.executable).parent  # pmw lies beside the Python that has it
PATIENCE = 20.0  # seconds; a Tab takes a tenth of one on a machine with nothing else to do
INIT = {
    Shell.BASH: ("bash", "--norc", "--noprofile", "-i"),
    Shell.ZSH: ("zsh", "-f", "-i"),
    Shell.FISH: ("fish", "--no-config", "-i"),
}
CONTROL = re.compile(r"\x1b(?:\[[0-9;?>=]*[a-zA-Z]|[()].|[=>]|\][^\x07\x1b]*(?:\x07|\x1b\\))")


def run(home: Path, *words: str, **variables: str) -> subprocess.CompletedProcess[str]:
    environment = {"HOME": str(home), "PATH": f"{PROGRAMS}:/usr/bin:/bin", **variables}
    return subprocess.run(
        words, env=environment, capture_output=True, text=True, timeout=60, check=False
    )


def offered(home: Path, line: str) -> list[str]:
    """Return what bash would be offered for the last word of a line."""
    answer = run(home, "pmw", line, _PMW_COMPLETE="bash")
    assert (answer.returncode, answer.stderr) == (0, "")
    return answer.stdout.split()


class Screen:
    """A shell behind a terminal of its own."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._seen = ""

    def type(self, text: str) -> None:
        os.write(self._descriptor, text.encode())

    def wait_for(self, text: str) -> None:
        """Read until a text has been written, then forget all up to it."""
        deadline = time.monotonic() + PATIENCE
        while text not in CONTROL.sub("", self._seen):
            left = deadline - time.monotonic()
            if left <= 0 or not select.select([self._descriptor], [], [], left)[0]:
                pytest.fail(f"{text!r} did not come; there is {CONTROL.sub('', self._seen)!r}")
            self._seen += os.read(self._descriptor, 4096).decode(errors="replace")
        self._seen = CONTROL.sub("", self._seen).split(text, 1)[1]


@contextmanager
def open_shell(shell: Shell, home: Path, *, rc: bool = False) -> Iterator[Screen]:
    """Run a shell until the block ends; with `rc`, it reads its user's files."""
    program, *flags = INIT[shell]
    runtime = os.environ["XDG_RUNTIME_DIR"]
    pid, descriptor = pty.fork()
    if pid == 0:
        os.environ.clear()
        os.environ |= {
            "HOME": str(home),
            "PATH": f"{PROGRAMS}:/usr/bin:/bin",
            "TERM": "xterm",
            "PS1": "ready> ",
            "LC_ALL": "C.UTF-8",
            "XDG_RUNTIME_DIR": runtime,
        }
        os.execvp(program, [program, "-i"] if rc else [program, *flags])
    try:
        yield Screen(descriptor)
    finally:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        os.close(descriptor)


@pytest.fixture(params=list(Shell))
def shell(request: pytest.FixtureRequest) -> Shell:
    """Each shell that is installed here."""
    if shutil.which(request.param) is None:
        pytest.skip(f"{request.param} isn't installed: apt-get install {request.param}")
    return request.param


def test_the_shipped_words_are_those_of_the_program_today() -> None:
    shipped = Path(completions_file("words.tsv")).read_text(encoding="utf-8")
    assert shipped == render_words(), "run python -m pipecat_workers_cli.cli.completions"


def test_whatever_an_option_takes_is_known() -> None:
    known = {"", "flag", "path", "any", *complete.COMPLETERS}
    for row in read_rows():
        if row.kind in ("option", "argument"):
            assert row.takes in known or row.takes.startswith("one of "), row


def test_the_names_offered_are_those_of_their_tables() -> None:
    by_role = {
        role: tuple(sorted(name for held, name in PROVIDERS if held is role)) for role in Role
    }
    assert by_role == {
        Role.LLM: complete.LLMS,
        Role.STT: complete.STTS,
        Role.TTS: complete.TTSS,
    }
    assert tuple(sorted(TRANSPORTS)) == complete.TRANSPORTS
    assert (*SHORT, *(f"{scheme}://" for scheme in BUS_KINDS)) == complete.BUSES


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("pmw ha", ["handoff"]),
        ("pmw run ha", ["handoff"]),
        ("pmw recipe sh", ["show"]),
        ("pmw recipe sc", ["schema"]),
        ("pmw recipe show ha", ["handoff"]),
        ("pmw recipe check handoff ha", ["handoff"]),
        ("pmw recipe check --no", ["--no-import"]),
        ("pmw recipe graph deb", ["debate"]),
        ("pmw recipe graph debate --format ", ["tree", "mermaid"]),
        ("pmw recipe new ", []),
        ("pmw handoff --serv", ["--services"]),
        ("pmw handoff --services ", ["auto", "cloud", "offline"]),
        ("pmw handoff --transport web", ["webrtc", "websocket"]),
        ("pmw handoff -t con", ["console"]),
        ("pmw handoff --llm o", ["ollama", "openai"]),
        ("pmw handoff --stt ", ["deepgram", "moonshine"]),
        ("pmw doctor --tts c", ["cartesia"]),
        ("pmw run handoff --traffic ", ["table", "lines", "off"]),
        ("pmw handoff -o ", ["text", "json"]),
        ("pmw --log-level w", ["warning"]),
        ("pmw completions ", ["bash", "zsh", "fish"]),
        ("pmw handoff --llm=o", ["ollama", "openai"]),
        ("pmw handoff --bus postgres", ["postgresql://", "postgres://"]),
        ("pmw handoff --bus redis:", ["//"]),  # bash keeps what stands before a colon
        ("pmw -v handoff -t console --services of", ["offline"]),
        ("pmw worker s", ["support"]),
        ("pmw worker --recipe debate a", ["advocate", "analyst"]),
        ("pmw proxy serve a", ["assistant"]),
        ("pmw up se", ["sensor"]),
        ("pmw handoff --record ", [":files"]),
        ("pmw run ./mine", []),
        ("pmw handoff --set ", []),
    ],
)
def test_bash_is_offered(tmp_path: Path, line: str, words: list[str]) -> None:
    assert offered(tmp_path, line) == words


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("pmw 'ha", ["pmw", "ha"]),
        ('pmw say "two words" ', ["pmw", "say", "two words", ""]),
        ("pmw say two\\ words", ["pmw", "say", "two words"]),
        ("pmw say ''  x", ["pmw", "say", "", "x"]),
        ("  pmw", ["pmw"]),
    ],
)
def test_a_line_is_broken_as_a_shell_breaks_it(line: str, words: list[str]) -> None:
    assert split_line(line) == words


def test_recipes_of_the_user_are_offered_beside_those_that_ship(
    tmp_path: Path, monkeypatch
) -> None:
    (tmp_path / "home").mkdir()
    for name in ("mine.toml", "pyproject.toml", ".hidden.toml", "notes.md", "home/other.toml"):
        (tmp_path / name).write_text("", encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert [word for word, _ in offer(["run"], "") or ()][-1] == "mine.toml"
    assert offer(["run"], "m") == [("mine.toml", "")]
    assert offer(["run"], "ho") == [("home/", "")]
    assert offer(["run"], "home/") == [("home/other.toml", "")]
    assert offer(["run"], "./m") == [("./mine.toml", "")]
    assert offer(["run"], "~/") == [("~/other.toml", "")]
    assert offer(["run"], "nowhere/") == []


def test_workers_are_those_of_the_recipe_that_was_typed(tmp_path: Path, monkeypatch) -> None:
    mine = 'name = "mine"\n[[workers]]\nname = "tides"\n[[workers]]\nname = "desk"\n'
    (tmp_path / "mine.toml").write_text(mine, encoding="utf-8")
    (tmp_path / "torn.toml").write_text("[[", encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    assert offer(["worker"], "") == [("greeter", ""), ("support", "")]
    assert offer(["worker", "greeter", "--recipe=debate"], "a") == [
        ("advocate", ""),
        ("analyst", ""),
    ]
    assert offer(["worker", "--recipe", "./mine.toml"], "t") == [("tides", "")]
    assert offer(["worker", "--recipe", "torn.toml"], "") == []


def test_what_is_for_another_program_is_left_to_the_shell() -> None:
    assert offer(["bus", "watch", "--", "python"], "bot") is None
    assert offer(["handoff", "--record"], "") is None
    assert offer(["nonsense"], "") == []


def test_a_tab_imports_neither_typer_nor_what_a_call_needs(tmp_path: Path) -> None:
    program = (
        "import atexit, sys\n"
        "atexit.register(lambda: print(*sorted(sys.modules), sep='\\n', file=sys.stderr))\n"
        "from pipecat_workers_cli.__main__ import main\n"
        "main()\n"
    )
    for line in ("pmw run ha", "pmw handoff --llm op", "pmw worker gre"):
        answer = run(tmp_path, sys.executable, "-c", program, line, _PMW_COMPLETE="bash")
        ours = {name for name in answer.stderr.split() if name.startswith("pipecat_workers_cli.")}
        assert answer.stdout.strip() in {"handoff", "openai", "greeter"}
        rooms = {"__main__", "cli", "cli.complete", "cli.tab", "cli.words"}
        assert ours == {f"pipecat_workers_cli.{name}" for name in rooms}
        loaded = set(answer.stderr.split())
        assert not loaded & {"pipecat", "typer", "pydantic", "json", "pathlib", "asyncio"}


def test_the_command_prints_the_shipped_script(tmp_path: Path, shell: Shell) -> None:
    answer = run(tmp_path, "pmw", "completions", shell)
    assert (answer.returncode, answer.stderr) == (0, "")
    assert answer.stdout == shipped_script(shell)


PLACES = {
    Shell.BASH: ".local/share/bash-completion/completions/pmw.bash",
    Shell.ZSH: ".zfunc/_pmw",
    Shell.FISH: ".config/fish/completions/pmw.fish",
}


@pytest.mark.parametrize("shell", list(Shell))
def test_installing_writes_the_users_file_once(tmp_path: Path, shell: Shell) -> None:
    path = tmp_path / PLACES[shell]
    first = run(tmp_path, "pmw", "completions", shell, "--install")
    assert (first.returncode, first.stdout) == (0, f"completions for {shell} are in {path}\n")
    assert "open a new shell" in first.stderr
    assert path.read_text(encoding="utf-8") == shipped_script(shell)
    written = path.stat().st_mtime_ns
    assert run(tmp_path, "pmw", "completions", shell, "--install").returncode == 0
    assert path.stat().st_mtime_ns == written


@pytest.mark.parametrize("shell", list(Shell))
def test_installing_replaces_an_older_script_of_pmws(tmp_path: Path, shell: Shell) -> None:
    path = tmp_path / PLACES[shell]
    path.parent.mkdir(parents=True)
    path.write_text(shipped_script(shell) + "# of an older pmw\n", encoding="utf-8")
    assert run(tmp_path, "pmw", "completions", shell, "--install").returncode == 0
    assert path.read_text(encoding="utf-8") == shipped_script(shell)


@pytest.mark.parametrize("shell", list(Shell))
def test_installing_leaves_a_foreign_file_alone(tmp_path: Path, shell: Shell) -> None:
    path = tmp_path / PLACES[shell]
    path.parent.mkdir(parents=True)
    path.write_text("# somebody else's\n", encoding="utf-8")
    answer = run(tmp_path, "pmw", "completions", shell, "--install")
    assert (answer.returncode, answer.stdout) == (1, "")
    assert answer.stderr == (
        f"error: {path} is there and isn't pmw's\n"
        f"  try: move it away, or write yours elsewhere: pmw completions {shell} > FILE\n"
    )
    assert path.read_text(encoding="utf-8") == "# somebody else's\n"


def test_installing_where_nothing_can_be_written_says_so(tmp_path: Path) -> None:
    (tmp_path / ".zfunc").write_text("a file where a folder is needed", encoding="utf-8")
    answer = run(tmp_path, "pmw", "completions", "zsh", "--install")
    assert (answer.returncode, answer.stdout) == (1, "")
    assert answer.stderr.startswith(f"error: cannot write {tmp_path}/.zfunc/_pmw: ")
    assert "Traceback" not in answer.stderr


def test_installing_heeds_the_variables_that_move_the_users_folders(tmp_path: Path) -> None:
    moved = tmp_path / "moved"
    for shell, variable, path in (
        (Shell.BASH, "XDG_DATA_HOME", moved / "bash-completion/completions/pmw.bash"),
        (Shell.BASH, "BASH_COMPLETION_USER_DIR", moved / "completions/pmw.bash"),
        (Shell.ZSH, "ZDOTDIR", moved / ".zfunc/_pmw"),
        (Shell.FISH, "XDG_CONFIG_HOME", moved / "fish/completions/pmw.fish"),
    ):
        answer = run(tmp_path, "pmw", "completions", shell, "--install", **{variable: str(moved)})
        assert answer.stdout.strip().endswith(f"are in {path}")
        assert path.is_file()


LOADING = {
    Shell.BASH: "source {file}",
    Shell.ZSH: "autoload -Uz compinit; compinit -u -D; source {file}",
    Shell.FISH: "source {file}",
}


def test_a_real_tab_completes_what_may_stand_there(tmp_path: Path, shell: Shell) -> None:
    (tmp_path / "mine.toml").write_text("", encoding="utf-8")
    (tmp_path / "a b.wav").write_text("", encoding="utf-8")
    session = claim("porridge")
    try:
        with open_shell(shell, tmp_path) as screen:
            script = CHECKOUT / "completions" / FILES[shell]
            screen.type(f"cd; {LOADING[shell].format(file=script)}; echo loa''ded\r")
            screen.wait_for("loaded")
            for typed, completed in (
                ("pmw ha", "handoff "),
                ("pmw recipe show ha", "handoff "),
                ("pmw run mi", "mine.toml "),
                ("pmw run ./mi", "mine.toml "),
                ("pmw handoff --serv", "--services "),
                ("pmw handoff --services of", "offline "),
                ("pmw handoff --llm an", "anthropic "),
                ("pmw handoff -t tel", "telnyx "),
                ("pmw handoff --bus rediss:", "rediss://"),
                ("pmw worker --recipe debate adv", "advocate "),
                ("pmw say -s por", "porridge "),
                ("pmw stop por", "porridge "),
                ("pmw handoff --record a", "a\\ b.wav"),
            ):
                screen.type(f"{typed}\t")
                screen.wait_for(completed)
                screen.type("\x15")  # Ctrl-U empties the line
    finally:
        session.leave()


def test_the_first_tab_of_a_new_zsh_completes_from_the_installed_file(tmp_path: Path) -> None:
    if shutil.which("zsh") is None:
        pytest.skip("zsh isn't installed: apt-get install zsh")
    answer = run(tmp_path, "pmw", "completions", "zsh", "--install")
    advice = answer.stderr.split("~/.zshrc: ")[1]
    (tmp_path / ".zshrc").write_text(
        advice.replace("compinit\n", "compinit -u\necho loaded\n"), encoding="utf-8"
    )
    with open_shell(Shell.ZSH, tmp_path, rc=True) as screen:
        screen.wait_for("loaded")
        screen.type("pmw hand\t")
        screen.wait_for("handoff ")
