"""What `pmw up` hands on of what was typed."""

import typer
from typer.testing import CliRunner

from pipecat_workers_cli.cli import up
from pipecat_workers_cli.cli.app import app
from pipecat_workers_cli.cli.call_arguments import takes_call_options_but
from pipecat_workers_cli.cli.detach import _without_secrets
from pipecat_workers_cli.cli.up import typed_words
from pipecat_workers_cli.options import CallOptions


def words_of(names: set[str], *typed: str) -> list[str]:
    """What is typed once more of a command that takes call options."""
    app = typer.Typer()
    handed_on: list[str] = []

    @app.command()
    @takes_call_options_but("bus", "channel")
    def probe(context: typer.Context, options: CallOptions, recipe: str) -> None:
        assert options.bus.bus is None
        handed_on.extend(typed_words(context, names))

    answer = CliRunner().invoke(app, ["handoff", *typed], catch_exceptions=False)
    assert answer.exit_code == 0, answer.output
    return handed_on


def test_options_are_typed_once_more_as_they_were():
    names = {"transport", "port", "services", "sets", "insecure", "idle_timeout", "record"}
    typed = (
        *("-t", "webrtc", "--port", "80", "--services", "offline", "--insecure"),
        *("--set", "a=1", "--set", "b=-x y", "--idle-timeout", "5", "--record", "r.jsonl"),
    )
    assert sorted(words_of(names, *typed)) == [
        "--idle-timeout=5.0", "--insecure", "--port=80", "--record=r.jsonl",
        "--services=offline", "--set=a=1", "--set=b=-x y", "--transport=webrtc",
    ]  # fmt: skip


def test_what_was_not_typed_or_is_not_wanted_is_left_out():
    assert words_of({"port", "services"}, "--llm", "scripted") == []


def test_an_option_that_is_left_out_of_a_command_is_none_of_its():
    app = typer.Typer()
    app.command()(takes_call_options_but("bus")(lambda options: None))
    answer = CliRunner().invoke(app, ["--bus", "redis"])
    assert answer.exit_code == 2


def test_a_worker_behind_a_proxy_is_given_no_host(monkeypatch):
    systems = []

    async def run_up(system, *_):
        systems.append(system)
        return 0

    monkeypatch.setattr(up, "run_up", run_up)
    at = 'workers.support.at="ws://localhost:1/ws"'
    answer = CliRunner().invoke(app, ["up", "handoff", "--set", at, "--services", "offline"])
    assert answer.exit_code == 0, answer.output
    assert list(systems[0].hosts) == ["greeter"]


def test_no_word_of_a_child_is_a_secret():
    typed = (
        "run",
        "x",
        "--page-token",
        "0123456789abcdef",
        "--port",
        "1",
        "--token=a",
        "--token",
        "b",
    )
    kept = ["run", "x", "--port", "1"]
    secrets = {"PMW_PAGE_TOKEN": "0123456789abcdef", "PMW_PROXY_TOKEN": "a b"}
    assert _without_secrets(typed) == (kept, secrets)
