"""What is printed of a call, line by line."""

import re

import pytest

from pipecat_workers_cli.cli.turns import TurnPrinter, render_latency
from pipecat_workers_cli.options import Output
from pipecat_workers_cli.traffic.entry import Entry

STYLED = re.compile(r"\x1b\[\d+m")


def answer(ms: int | None, **parts: int) -> Entry:
    fields = {} if ms is None else {"latency_ms": ms, "parts": parts}
    return Entry(event="bot", call="c1", at_ms=0, worker="ann", text="Hello.", **fields)


def test_a_latency_names_its_largest_parts_first_and_marks_what_is_slow():
    assert render_latency(812, {"turn": 52, "llm": 640, "tts": 120}) == (
        "  812 ms: llm 640, tts 120, turn 52"
    )
    assert render_latency(1_000, {"llm": 1_000}) == "! 1000 ms: llm 1000"
    assert render_latency(0, {}) == "  0 ms"


@pytest.mark.parametrize(("ms", "style"), [(999, "\x1b[2m"), (1_000, "\x1b[31m")])
def test_at_a_terminal_a_line_after_an_answer_says_how_long_it_took(ms, style, capsys, monkeypatch):
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    TurnPrinter(Output.TEXT, latency=True)(answer(ms, llm=ms))
    words, took = capsys.readouterr().out.splitlines()
    assert words == "ann: Hello."
    assert took.startswith(style)
    assert STYLED.sub("", took) == render_latency(ms, {"llm": ms})


@pytest.mark.parametrize(("name", "value"), [("NO_COLOR", "1"), ("TERM", "dumb")])
def test_without_colour_the_line_is_plain(name, value, capsys, monkeypatch):
    monkeypatch.setenv(name, value)
    TurnPrinter(Output.TEXT, latency=True)(answer(1_500, llm=1_500))
    assert capsys.readouterr().out == "ann: Hello.\n! 1500 ms: llm 1500\n"


def test_there_is_no_such_line_for_an_opening_in_a_pipe_or_in_json(capsys):
    TurnPrinter(Output.TEXT, latency=True)(answer(None))
    TurnPrinter(Output.TEXT)(answer(812, llm=812))
    assert capsys.readouterr().out == "ann: Hello.\nann: Hello.\n"
    TurnPrinter(Output.JSON, latency=True)(answer(812, llm=812))
    out = capsys.readouterr().out
    assert out.count("\n") == 1
    assert '"latency_ms":812,"parts":{"llm":812}' in out


def test_a_tool_that_ended_is_told_apart_from_one_that_begins(capsys):
    called = Entry(event="tool", call="c1", at_ms=0, name="look", args={"at": "it"})
    TurnPrinter(Output.TEXT)(called)
    ended = Entry(event="tool", call="c1", at_ms=9, name="look", state="completed", result=["é"])
    TurnPrinter(Output.TEXT)(ended)
    assert capsys.readouterr().out == '* tool look(at="it")\n* tool look completed: ["é"]\n'


def test_what_many_calls_complain_of_at_once_is_said_once_and_told_programs_of_each(capsys):
    def trouble(call: str, text: str = "nobody hosts ann") -> Entry:
        return Entry(event="error", call=call, at_ms=0, text=text)

    for_people = TurnPrinter(Output.TEXT)
    for entry in (trouble("c1"), trouble("c2"), trouble("c3"), trouble("c3", "nobody hosts bob")):
        for_people(entry)
    assert capsys.readouterr().err == "* error nobody hosts ann\n* error nobody hosts bob\n"
    for_programs = TurnPrinter(Output.JSON)
    for call in ("c1", "c2"):
        for_programs(trouble(call))
    assert capsys.readouterr().out.count("nobody hosts ann") == 2
