import json
import os
import pty
import re
import socket
import subprocess
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest

from pipecat_workers_cli.checks import State
from pipecat_workers_cli.session.health import Extra, check_extra
from tests.program import PMW, run_here

CLOUD_KEYS = ("DEEPGRAM_API_KEY", "OPENAI_API_KEY", "CARTESIA_API_KEY")
SECRET = "sk-not-to-be-seen-0123456789"
DEADLINE = 60
ROOT = Path(__file__).parents[2]


def environment(**variables: str) -> dict[str, str]:
    plain = {k: v for k, v in os.environ.items() if not re.search("API_KEY|BASE_URL|DAILY_", k)}
    return plain | {"COLUMNS": "80"} | variables


Doctor = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def doctor(monkeypatch, capfd) -> Doctor:
    """Run it in this process; without the loop through the offline speech, which takes seconds."""

    def run(
        folder: Path, *words: str, speech: tuple[str, ...] = ("--no-speech",), **variables: str
    ) -> "subprocess.CompletedProcess[str]":
        with monkeypatch.context() as patch:
            patch.chdir(folder)
            for name in os.environ.keys() - environment().keys():
                patch.delenv(name)
            for name, value in environment(**variables).items():
                patch.setenv(name, value)
            code = run_here("doctor", *speech, *words)
        return subprocess.CompletedProcess(words, code, *capfd.readouterr())

    return run


def findings(done: subprocess.CompletedProcess[str]) -> dict[str, dict[str, str]]:
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    assert all(row.keys() == {"name", "state", "found", "mend", "variables"} for row in rows)
    assert {row["state"] for row in rows} <= {"ok", "warning", "wrong"}
    assert all(row["mend"] for row in rows if row["state"] != "ok")
    return {row["name"]: row for row in rows}


def test_without_keys_it_says_what_is_played_offline_and_is_content(
    doctor: Doctor, tmp_path, free_port
):
    done = doctor(tmp_path, "-o", "json", "--port", str(free_port))
    found = findings(done)
    assert (done.returncode, done.stderr) == (0, "")
    for name in ("python", "pipecat-ai", f"port {free_port}", "extra offline"):
        assert found[name]["state"] == "ok"
    for name in CLOUD_KEYS:
        assert found[name]["state"] == "warning"
    assert found["llm by scripted"]["state"] == "ok"
    assert found["ANTHROPIC_API_KEY"]["state"] == "ok"


def test_keys_are_reported_and_never_shown(doctor: Doctor, tmp_path, free_port):
    (tmp_path / ".env").write_text(f"OPENAI_API_KEY={SECRET}\nCARTESIA_API_KEY=\n")
    for words in (["-o", "json"], []):
        done = doctor(tmp_path, *words, "--port", str(free_port), DEEPGRAM_API_KEY=SECRET)
        assert SECRET not in done.stdout + done.stderr
    found = findings(doctor(tmp_path, "--json", "--port", str(free_port), DEEPGRAM_API_KEY=SECRET))
    assert found["OPENAI_API_KEY"]["state"] == "ok"
    assert found["DEEPGRAM_API_KEY"]["state"] == "ok"
    assert found["CARTESIA_API_KEY"]["state"] == "warning"
    assert found["llm by openai"]["state"] == "ok"


def test_what_was_asked_for_and_lacks_its_key_is_wrong(doctor: Doctor, tmp_path, free_port):
    done = doctor(tmp_path, "--services", "cloud", "-o", "json", "--port", str(free_port))
    found = findings(done)
    assert done.returncode == 1
    for name, key in zip(
        ("stt by deepgram", "llm by openai", "tts by cartesia"), CLOUD_KEYS, strict=True
    ):
        assert found[name]["state"] == "wrong"
        assert key in found[name]["found"] + found[name]["mend"]
    done = doctor(tmp_path, "--llm", "anthropic", "-o", "json", "--port", str(free_port))
    assert done.returncode == 1
    assert findings(done)["llm by anthropic"]["state"] == "wrong"


def test_a_key_that_nothing_waits_for_is_no_warning(doctor: Doctor, tmp_path, free_port):
    words = ("--llm", "anthropic", "-o", "json", "--port", str(free_port))
    done = doctor(tmp_path, *words, ANTHROPIC_API_KEY=SECRET)
    assert done.returncode == 0
    assert findings(done)["OPENAI_API_KEY"]["state"] == "ok"


def test_a_port_that_is_taken_is_wrong(doctor: Doctor, tmp_path):
    with socket.create_server(("localhost", 0)) as taken:
        port = str(taken.getsockname()[1])
        done = doctor(tmp_path, "handoff", "-o", "json", "--port", port)
    found = findings(done)[f"port {port}"]
    assert done.returncode == 1
    assert (found["state"], found["found"]) == ("wrong", "taken on localhost")
    assert f"--port {int(port) + 1}" in found["mend"]


def test_a_bind_beyond_loopback_is_told_what_it_will_want(doctor: Doctor, tmp_path, free_port):
    done = doctor(tmp_path, "--host", "0.0.0.0", "--port", str(free_port), "-o", "json")
    found = findings(done)[f"port {free_port}"]
    assert found["state"] == "warning"
    assert "--page-token" in found["mend"]
    done = doctor(tmp_path, "--host", "192.0.2.77", "--port", str(free_port), "-o", "json")
    assert findings(done)[f"port {free_port}"]["state"] == "wrong"


def test_a_named_command_gets_its_own_needs_only(doctor: Doctor, tmp_path, free_port):
    found = findings(doctor(tmp_path, "handoff", "-o", "json", "--port", str(free_port)))
    assert {"llm by scripted", f"port {free_port}"} <= found.keys()
    assert not {"extra daily", "DAILY_API_KEY", "ANTHROPIC_API_KEY"} & found.keys()


def test_an_unknown_command_gets_its_near_miss(doctor: Doctor, tmp_path):
    done = doctor(tmp_path, "handof")
    assert (done.returncode, done.stdout) == (2, "")
    assert "did you mean 'handoff'?" in done.stderr


def test_an_unknown_provider_is_a_typing_error(doctor: Doctor, tmp_path):
    assert doctor(tmp_path, "--llm", "opnai").returncode == 2


def test_off_a_terminal_each_finding_is_a_line_and_each_mend_another(
    doctor: Doctor, tmp_path, free_port
):
    done = doctor(tmp_path, "--port", str(free_port))
    lines = done.stdout.splitlines()
    assert re.match(r"ok +python +3\.", lines[0])
    at = next(i for i, line in enumerate(lines) if re.match(r"warning +OPENAI_API_KEY", line))
    assert lines[at + 1].strip().startswith("try: ")
    assert "\x1b" not in done.stdout


def test_on_a_terminal_it_is_a_table_that_fits(tmp_path, free_port):
    controller, terminal = pty.openpty()
    process = subprocess.Popen(
        [
            *PMW,
            "doctor",
            "--no-speech",
            "--port",
            str(free_port),
        ],
        stdout=terminal,
        stderr=subprocess.PIPE,
        cwd=tmp_path,
        env=environment(NO_COLOR="1"),
    )
    os.close(terminal)
    seen = b""
    try:
        while chunk := os.read(controller, 65536):
            seen += chunk
    except OSError:  # the other end is closed
        pass
    finally:
        os.close(controller)
    assert process.wait(timeout=DEADLINE) == 0
    process.stderr.close()
    text = re.sub(r"\x1b\[[0-9;]*m", "", seen.decode())
    assert "✓  python" in text
    assert re.search(r"0 wrong, \d to know about", text)
    assert max(len(line.rstrip()) for line in text.splitlines()) <= 80


def test_it_looks_without_importing_pipecat_or_a_speech_package(tmp_path, free_port):
    program = (
        "import sys\n"
        "from pipecat_workers_cli.cli.app import main\n"
        f"try: main(['doctor', '--no-speech', '--json', '--port', '{free_port}'])\n"
        "except SystemExit: pass\n"
        "heavy = {'pipecat', 'piper', 'moonshine_voice', 'numpy', 'openai'} & sys.modules.keys()\n"
        "print(sorted(heavy), file=sys.stderr)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        timeout=DEADLINE,
        cwd=tmp_path,
        env=environment(),
        check=True,
    )
    assert done.stderr.strip() == "[]"


def test_every_variable_it_knows_is_explained_in_the_example_and_none_has_a_value():
    from pipecat_workers_cli.session.health import VARIABLES

    lines = (ROOT / "env.example").read_text().splitlines()
    names = [line.removesuffix("=") for line in lines if line and not line.startswith("#")]
    assert {row.name for row in VARIABLES} <= set(names)
    assert all(re.fullmatch(r"[A-Z_]+", name) for name in names)


def test_every_variable_that_is_read_is_in_the_example():
    from pipecat_workers_cli.buses.urls import BUS_KINDS
    from pipecat_workers_cli.services.providers import PROVIDERS
    from pipecat_workers_cli.transports.params import TRANSPORTS

    sources = (path.read_text() for path in (ROOT / "pipecat_workers_cli").rglob("*.py"))
    read = {name for text in sources for name in re.findall(r'variable\("([A-Z_]+)"\)', text)}
    read |= {name for row in PROVIDERS.values() for name in (row.key, row.url)}
    read |= {kind.channel_from for kind in BUS_KINDS.values()}
    read |= {name for kind in TRANSPORTS.values() for name in kind.variables}
    read -= {"DISPLAY", "WAYLAND_DISPLAY", "", None}
    lines = (ROOT / "env.example").read_text().splitlines()
    assert {f"{name}=" for name in read} <= set(lines)


def test_every_extra_is_looked_at(doctor: Doctor, tmp_path, free_port):
    found = findings(doctor(tmp_path, "-o", "json", "--port", str(free_port)))
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    for extra in extras["optional-dependencies"]:
        assert found[f"extra {extra}"]["state"] in ("ok", "warning")


def test_an_extra_that_lies_in_a_package_which_is_not_there_is_missing():
    absent = Extra("none", ("nobody.has.this",), "nothing")
    assert check_extra(absent).state is State.WARNING


@pytest.mark.speech
def test_the_offline_speech_says_a_sentence_and_hears_it_back(doctor: Doctor, tmp_path, free_port):
    done = subprocess.run(
        [*PMW, "doctor", "handoff", "-o", "json", "--port", str(free_port)],
        capture_output=True,
        text=True,
        timeout=DEADLINE,
        cwd=tmp_path,
        env=environment(),
        check=False,
    )
    found = findings(done)["offline speech"]
    assert (done.returncode, found["state"]) == (0, "ok")
    assert re.search("quick|brown|lazy", found["found"]), "the words that were heard"
    console = doctor(tmp_path, "handoff", "-t", "console", "-o", "json", speech=())
    assert console.returncode == 0
    assert not {"offline speech", "browser"} & findings(console).keys()


def test_what_is_missing_is_listed_ready_to_paste(doctor: Doctor, tmp_path, free_port):
    words = ("handoff", "--services", "cloud", "--port", str(free_port))
    done = doctor(tmp_path, *words, OPENAI_API_KEY=SECRET)
    lines = done.stdout.splitlines()
    assert lines[-2:] == ["export DEEPGRAM_API_KEY=", "export CARTESIA_API_KEY="]
    (tmp_path / ".env").write_text("\n".join(f"{line}{SECRET}" for line in lines[-2:]))
    mended = doctor(tmp_path, *words, OPENAI_API_KEY=SECRET)
    assert (mended.returncode, "export" in mended.stdout) == (0, False)


def test_a_key_of_another_provider_is_noticed_unless_the_server_is_another_too(
    doctor: Doctor, tmp_path
):
    words = ("eval", "--llm", "openai", "-o", "json")
    key = {"OPENAI_API_KEY": "sk-ant-0123456789"}
    found = findings(doctor(tmp_path, *words, **key))["llm by openai"]
    assert (found["state"], "anthropic" in found["found"]) == ("warning", True)
    key["OPENAI_BASE_URL"] = "https://api.example.com/v1"
    assert findings(doctor(tmp_path, *words, **key))["llm by openai"]["state"] == "ok"


@pytest.mark.parametrize(
    ("words", "there", "not_there"),
    [
        (("eval",), {"llm by scripted"}, {"port 7860", "network", "stt by moonshine", "redis"}),
        (("up",), {"extra up", "microphone"}, {"redis"}),
        (("worker",), {"llm by scripted", "redis"}, {"network", "stt by moonshine"}),
        (("handoff", "--redis-url", "redis://localhost:1"), {"redis"}, {"llm by scripted"}),
        (("run", "-t", "daily"), {"transport daily"}, {"browser", "redis"}),
        (("proxy", "--remote-url", "ws://localhost:1/ws"), {"proxy"}, {"llm by scripted"}),
    ],
)
def test_each_command_is_asked_for_what_it_needs_and_no_more(
    doctor: Doctor, tmp_path, words, there, not_there
):
    names = findings(doctor(tmp_path, *words, "-o", "json")).keys()
    assert there <= names
    assert not not_there & names


def test_a_bus_that_is_not_there_is_wrong_and_its_password_is_not_told(doctor: Doctor, tmp_path):
    done = doctor(tmp_path, "ps", "--redis-url", f"redis://me:{SECRET}@localhost:1", "-o", "json")
    assert done.returncode == 1
    assert findings(done)["redis"]["found"] == "nothing listens at localhost:1"
    assert SECRET not in done.stdout + done.stderr


def test_a_recipe_of_ones_own_is_looked_at_with_its_services(doctor: Doctor, tmp_path):
    recipe = 'name = "mine"\n[[workers]]\nname = "clerk"\nprompt = "Help."\nllm = "anthropic"\n'
    (tmp_path / "mine.toml").write_text(recipe)
    done = doctor(tmp_path, "eval", "mine.toml", "--services", "auto", "-o", "json")
    assert done.returncode == 0, done.stderr
    done = doctor(tmp_path, "run", "-t", "console", "mine.toml", "-o", "json")
    found = findings(done)["llm by anthropic"]
    assert (done.returncode, found["variables"]) == (1, ["ANTHROPIC_API_KEY"])
    (tmp_path / "mine.toml").write_text(recipe + "whatever = 1\n")
    assert doctor(tmp_path, "mine.toml").returncode == 2
    assert doctor(tmp_path, "handoff", "mine.toml").returncode == 2
