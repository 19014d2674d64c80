"""`pmw eval` as its user meets it: a real process, a real session, Pipecat's own eval client."""

import json
import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from xml.etree import ElementTree as Xml

import psutil
import pytest

from tests.program import PMW, run_here

CHECKOUT = Path(__file__).parents[2]
HANDOFF = (CHECKOUT / "recipes" / "handoff.toml").read_text(encoding="utf-8")

GREETING = "expect: [{event: response, text_contains: Welcome}]"
SCENARIOS = f"""
name: mine
scenarios:
  - name: greets
    turns: [{{{GREETING}}}]
  - name: price
    turns:
      - {GREETING}
      - user: How much is the paint?
        expect: [{{event: response, text_contains: "$50", within_ms: 1000}}]
  - name: calls
    stop_on_failure: false
    turns:
      - {GREETING}
      - user: How much are the rocket boots?
        expect:
          - event: function_call
            within_ms: 1000
            calls: [{{name: transfer_to_agent, args: {{agent: greeter}}}}]
      - user: Thank you, goodbye
        expect: [{{event: function_call, calls: [{{name: end_conversation}}]}}]
"""
NEVER = f"""
name: never
scenarios:
  - name: waits
    turns: [{{{GREETING}}}, {{user: Hello, expect: [{{event: response, text_contains: nonesuch}}]}}]
  - name: after
    turns: [{{{GREETING}}}]
"""


@pytest.fixture
def mine(tmp_path: Path) -> Path:
    """A folder with a recipe of the user's and its scenarios."""
    (tmp_path / "evals").mkdir()
    (tmp_path / "mine.toml").write_text(HANDOFF, encoding="utf-8")
    (tmp_path / "evals" / "mine.yaml").write_text(SCENARIOS, encoding="utf-8")
    (tmp_path / "never.yaml").write_text(NEVER, encoding="utf-8")
    return tmp_path


def start(*words: str, cwd: Path, **variables: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [*PMW, "eval", *words],
        env={**os.environ, **variables},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=cwd,
    )


def evaluate(*words: str, cwd: Path, **variables: str) -> tuple[int, list[str], list[str]]:
    """Run `pmw eval` to its end; returns its exit code and the lines of stdout and stderr."""
    process = start(*words, cwd=cwd, **variables)
    try:
        out, err = process.communicate(timeout=60)
    finally:
        process.kill()
    return process.returncode, out.splitlines(), err.splitlines()


def test_the_shipped_handoff_holds_what_its_scenario_asks(tmp_path: Path) -> None:
    # With the usual port taken: an eval needs none in particular.
    with socket.socket() as usual:
        usual.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        usual.bind(("localhost", 7860))
        usual.listen()
        code, out, err = evaluate("handoff", cwd=tmp_path)
    assert code == 0, err
    assert len(out) == 1
    assert out[0].startswith("✓ handoff/there_and_back  ")
    assert err == [
        "handoff: 1 scenario · llm: scripted (--services offline)",
        "1 of 1 scenario passed",
    ]


def test_what_fails_says_what_was_expected_and_what_came(mine: Path) -> None:
    code, out, err = evaluate("mine.toml", "--junit", "report.xml", cwd=mine)
    assert code == 1
    assert [line.split("  ")[0] for line in out if not line.startswith(" ")] == [
        "✓ mine/greets",
        "✗ mine/price",
        "✗ mine/calls",
    ]
    told = [line.strip() for line in out]
    assert "turn 2: How much is the paint?" in told
    assert 'expected: llm_response with "$50" within 1000 ms' in told
    assert any("$49" in line for line in told)
    assert "expected: function_call transfer_to_agent(agent='greeter') within 1000 ms" in told
    # Its last turn went on, as the scenario wants it, and failed neither it nor the turn before.
    assert not any(line.startswith("turn 3") for line in told)
    assert err[-1] == "1 of 3 scenarios passed"

    root = Xml.parse(mine / "report.xml").getroot()
    assert (root.get("tests"), root.get("failures")) == ("3", "2")
    kinds = {
        case.get("name"): [failure.get("type") for failure in case]
        for case in root.iter("testcase")
    }
    assert kinds == {
        "greets": [],
        "price": ["text_mismatch"],
        "calls": ["function_args_mismatch"],
    }


def test_for_a_program_there_is_an_object_a_scenario_of_what_was_chosen_and_is_late(
    mine: Path,
) -> None:
    never = NEVER[NEVER.index("  - name: waits") :]
    scenarios = (SCENARIOS + never).replace("Welcome", "Moin")
    (mine / "evals" / "mine.yaml").write_text(scenarios, encoding="utf-8")
    (mine / "names.env").write_text("GREETING=Moin", encoding="utf-8")
    script = '[{ on = "opening", say = "${GREETING}" }, { say = "It is $49." }]'
    chosen = ("greets", "price", "waits", "after")
    changed = ("--set", f"workers.greeter.script={script}", "--env-file", "names.env")
    words = ("./mine.toml", *chosen, *changed, "--timeout", "6", "-o", "json", "-q")
    code, out, err = evaluate(*words, cwd=mine)
    assert (code, err) == (1, []), out
    greets, price, waits, after = map(json.loads, out)
    assert {name: greets[name] for name in ("scenario", "passed", "turns", "failures")} == {
        "scenario": "mine/greets",
        "passed": True,
        "turns": 1,
        "failures": [],
    }
    (failure,) = price["failures"]
    assert failure["turn"] == 2
    assert failure["kind"] == "text_mismatch"
    assert failure["user"] == "How much is the paint?"
    assert any("$49" in entry.get("text", "") for entry in failure["came"])
    for outcome in (waits, after):
        assert not outcome["passed"]
        assert [failure["kind"] for failure in outcome["failures"]] == ["timeout"]
    assert any(entry["event"] == "user" for entry in waits["failures"][0]["came"])
    assert 1 < waits["seconds"] < 7
    assert after["seconds"] == 0


@pytest.mark.parametrize(
    ("words", "code", "told"),
    [
        (("./mine.toml", "./typo.yaml"), 2, "typo.yaml:3: expct: unknown key"),
        (("./mine.toml", "--junit", "nowhere/report.xml"), 2, "nowhere/report.xml"),
        (("./mine.toml", "--llm", "openai"), 1, "OPENAI_API_KEY"),
    ],
)
def test_what_is_wrong_or_missing_is_said_in_two_lines(
    words, code, told, mine: Path, monkeypatch, capsys
) -> None:
    typo = "name: t\nscenarios:\n  - {name: a, turns: [{user: Hello, expct: []}]}\n"
    (mine / "typo.yaml").write_text(typo, encoding="utf-8")
    monkeypatch.chdir(mine)
    exit_code = run_here("eval", *words, "-q")
    out, err = capsys.readouterr()
    assert (exit_code, out) == (code, ""), err
    error, _ = err.splitlines()
    assert error.startswith("error: ")
    assert told in err


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("./factory.yaml",), "can't be built"),
        (("--bus", "redis://127.0.0.1:1"), "nothing listens at 127.0.0.1:1"),
    ],
)
def test_what_turns_out_as_it_starts_is_said_in_two_lines(words, told, mine: Path) -> None:
    factory = "name: f\nuser: {modality: audio, speech: {factory: no.such.thing}}\n"
    factory += "scenarios: [{name: a, turns: [{user: Hello}]}]\n"
    (mine / "factory.yaml").write_text(factory, encoding="utf-8")
    code, out, err = evaluate("./mine.toml", *words, "-q", cwd=mine)
    assert (code, out, len(err)) == (1, [], 2), err
    assert err[0].startswith("error: ")
    assert told in " ".join(err)


def serving_port(process: subprocess.Popen[str]) -> int | None:
    for connection in psutil.Process(process.pid).net_connections(kind="tcp"):
        if connection.status == psutil.CONN_LISTEN:
            return connection.laddr.port
    return None


def in_a_call(process: subprocess.Popen[str]) -> bool:
    """Say whether the eval client is connected to its own process, and stays so."""
    connections = psutil.Process(process.pid).net_connections(kind="tcp")
    return any(one.status == psutil.CONN_ESTABLISHED for one in connections)


def wait_until(seen: Callable[[], object], *, timeout: float = 20) -> None:
    deadline = time.monotonic() + timeout
    while not seen():
        assert time.monotonic() < deadline
        time.sleep(0.01)


@pytest.mark.parametrize(
    "moment",
    [
        pytest.param(serving_port, id="as it serves", marks=pytest.mark.long),
        pytest.param(in_a_call, id="as the client calls"),
    ],
)
def test_an_interrupt_ends_all_of_it_whenever_it_comes(moment, mine: Path) -> None:
    process = start("handoff", "./never.yaml", cwd=mine)
    try:
        wait_until(lambda: serving_port(process))
        port = serving_port(process)
        wait_until(lambda: moment(process))
        began = time.monotonic()
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=10)
        assert time.monotonic() - began < 5
    finally:
        process.kill()
    assert process.returncode == 130, err
    assert out == ""
    assert "Traceback" not in err
    assert port is not None
    with socket.socket() as probe:
        assert probe.connect_ex(("127.0.0.1", port)) != 0


def test_being_stopped_from_outside_is_no_success(mine: Path) -> None:
    process = start("handoff", "./never.yaml", cwd=mine)
    try:
        wait_until(lambda: in_a_call(process))
        process.terminate()
        out, err = process.communicate(timeout=10)
    finally:
        process.kill()
    assert process.returncode == 1
    assert out == ""
    assert "stopped before it was done" in err


def test_a_reader_who_has_seen_enough_ends_it_quietly(mine: Path) -> None:
    process = start("./mine.toml", "greets", "-q", cwd=mine)
    try:
        assert process.stdout is not None
        process.stdout.close()
        assert process.stderr is not None
        err = process.stderr.read()
        assert process.wait(30) == 1
    finally:
        process.kill()
    assert err == ""


@pytest.mark.speech
@pytest.mark.aloud
def test_a_scenario_that_speaks_and_listens_does_so_by_the_offline_voice_and_ears(
    tmp_path: Path,
) -> None:
    speech = "pipecat_workers_cli.session.speech"
    (tmp_path / "aloud.yaml").write_text(
        f"""
name: aloud
user: {{modality: audio, speech: {{factory: {speech}.voice}}}}
judge: {{modality: audio, transcription: {{factory: {speech}.ears}}}}
scenarios:
  - name: price
    turns:
      - expect: [{{event: response, text_contains: Welcome}}]
      - user: How much are the rocket boots?
        expect: [{{event: response, text_contains: miles, within_ms: 30000}}]
""",
        encoding="utf-8",
    )
    cache = {"PIPECAT_EVALS_CACHE_DIR": str(tmp_path / "cache")}
    code, out, err = evaluate("handoff", "./aloud.yaml", cwd=tmp_path, **cache)
    assert code == 0, [*out, *err]
    assert len(err) == 2, err  # and no complaint of a library as Python ends
