"""One trace a call, over all processes that have part in it."""

import re
import shutil
import subprocess
import sys
from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.fleet import Fleet
from tests.fakes.collector import Collector, SpanSeen, collecting
from tests.installing import CHECKOUT

RECIPE = Path(__file__).parents[1] / "tracing" / "desk.toml"
CALLS = 20
SECRET = "s3cr3t-k3y-0f-mine"


@pytest.fixture
def collector() -> Iterator[Collector]:
    with collecting() as collector:
        yield collector


@pytest.fixture
def traced(fleet: Fleet, collector: Collector, tmp_path: Path) -> Fleet:
    """A fleet whose processes send their spans soon."""
    shutil.copy(RECIPE, tmp_path / "desk.toml")
    fleet.env |= {
        "OTEL_EXPORTER_OTLP_ENDPOINT": collector.url,
        "OTEL_EXPORTER_OTLP_HEADERS": f"x-team={SECRET}",
        "OTEL_BSP_SCHEDULE_DELAY": "100",
        "OPENAI_BASE_URL": f"http://user:{SECRET}@nowhere.example",
    }
    return fleet


def tree(spans: list[SpanSeen]) -> list[str]:
    """The spans of a trace as paths from its root, those that are alike told once."""
    by_id = {span.id: span for span in spans}

    def path(span: SpanSeen) -> str:
        above = f"{path(by_id[span.parent])} > " if span.parent else ""
        number = span.attributes.get("pmw.turn.number", "")
        return f"{above}{span.name}{f' {number}' if number != '' else ''}"

    return sorted({path(span) for span in spans})


CALL = "invoke_workflow desk"
SHAPE = [
    CALL,
    f"{CALL} > turn 0",
    f"{CALL} > turn 0 > chat scripted",
    f"{CALL} > turn 1",
    f"{CALL} > turn 1 > chat scripted",
    f"{CALL} > turn 1 > invoke_agent bob",
    f"{CALL} > turn 1 > invoke_agent bob > chat scripted",
    f"{CALL} > turn 2",
    f"{CALL} > turn 2 > chat scripted",
    f"{CALL} > turn 2 > execute_tool ask_expert",
    f"{CALL} > turn 2 > execute_tool ask_expert > invoke_agent expert",
    f"{CALL} > turn 2 > execute_tool ask_expert > invoke_agent expert > chat scripted",
]


def hosting(traced: Fleet, *hosts: tuple[str, ...]) -> None:
    """Let processes host the three workers, and wait until they do."""
    for names in hosts:
        traced.host(*names, recipe="./desk.toml")
    for host in traced.hosts:
        host.wait_for_line("Ctrl-C", timeout=60)


def test_a_call_in_three_processes_is_one_trace(traced: Fleet, collector: Collector) -> None:
    hosting(traced, ("ann", "expert"), ("bob",))
    call = traced.talk(recipe="./desk.toml")
    assert call.told("bot")["text"] == "Welcome."
    assert call.ask("the price, please")["text"].startswith("Bob heard")
    asked = "ask the expert of word-0815"
    assert call.ask(asked)["text"] == f"The expert says: It is {asked}."
    id = call.entries[0]["call"]
    assert call.hang_up() == 0
    collector.wait_for(lambda spans: len({span.id for span in spans}) >= 13)

    spans = collector.spans
    assert len({span.trace for span in spans}) == 1
    assert tree(spans) == SHAPE
    assert {span.attributes["gen_ai.conversation.id"] for span in spans} == {id}
    assert not any(span.failed for span in spans)

    main = {span.process for span in spans if span.kind in {"call", "turn", "handoff"}}
    by_agent = {
        name: {
            span.process
            for span in spans
            if span.kind == "llm" and span.attributes["gen_ai.agent.name"] == name
        }
        for name in ("ann", "bob", "expert")
    }
    assert len(main) == 1
    assert by_agent["ann"] == by_agent["expert"] != by_agent["bob"]
    assert len(main | by_agent["ann"] | by_agent["bob"]) == 3

    by_id = {span.id: span for span in spans}
    for span in spans:
        assert span.began_ns <= span.ended_ns
        if span.parent:  # on one machine there is one clock
            assert span.began_ns >= by_id[span.parent].began_ns
    (turn,) = (span for span in spans if span.attributes.get("pmw.turn.number") == 2)
    parts = {name: value for name, value in turn.attributes.items() if ".parts." in name}
    assert sum(parts.values()) == turn.attributes["pmw.turn.latency_ms"]

    everything = "".join(span.raw for span in spans)
    for word in ("word-0815", "price, please", "prompt-4711", "Welcome", "what is asked", SECRET):
        assert word not in everything
    assert {headers["x-team"] for headers in collector.headers} == {SECRET}


def test_twenty_calls_at_once_are_twenty_traces(traced: Fleet, collector: Collector) -> None:
    """With all words in them, at the wish of whoever started it, none is in another's."""
    traced.env["OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT"] = "true"
    hosting(traced, ("ann", "bob", "expert"))
    words = [str(RECIPE), traced.server.url, traced.channel, str(CALLS)]
    held = subprocess.run(
        [sys.executable, "-m", "tests.tracing.calls", *words],
        cwd=CHECKOUT,
        env=traced.env,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert held.returncode == 0, held.stderr
    secret_of = dict(line.split() for line in held.stdout.splitlines())
    assert len(secret_of) == CALLS
    collector.wait_for(lambda spans: Counter(s.kind for s in spans)["llm"] >= 7 * CALLS)

    traces = defaultdict[str, list[SpanSeen]](list)
    for span in collector.spans:
        traces[span.trace].append(span)
    assert len(traces) == CALLS
    for spans in traces.values():
        (id,) = {span.attributes["gen_ai.conversation.id"] for span in spans}
        assert tree(spans) == [*SHAPE, f"{CALL} > turn 3", f"{CALL} > turn 3 > chat scripted"]
        everything = "".join(span.raw for span in spans)
        assert set(re.findall(r"secret\d\d", everything)) == {secret_of[id]}
        assert len({span.process for span in spans}) == 2
