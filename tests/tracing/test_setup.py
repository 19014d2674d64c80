"""Tracing is on where OpenTelemetry's variables say so; it delays nobody, and off it is free."""

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipecat_workers_cli.cli.app import main
from pipecat_workers_cli.tracing.setup import asked_for
from tests.fakes.collector import collecting

pytestmark = pytest.mark.xdist_group("tracing")  # one untraced call serves two tests

SAYS = ["-t", "console", "--services", "offline", "--traffic", "off", "--say", "hello"]
ENDPOINT = "OTEL_EXPORTER_OTLP_ENDPOINT"
REPORT = """
import atexit, sys, threading
from pipecat_workers_cli.cli.app import main
def told():
    print("otel:", *sorted(name for name in sys.modules if name.startswith("opentelemetry")))
    print("threads:", *(thread.name for thread in threading.enumerate()))
atexit.register(told)
main(sys.argv[1:])
"""


Call = tuple[subprocess.CompletedProcess[str], float]


@pytest.fixture(autouse=True, scope="module")
def untraced() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        for name in list(os.environ):
            if name.startswith("OTEL_"):
                patch.delenv(name)
        yield


def call(*inside: str, **env: str) -> Call:
    """Hold a call of one turn in a process of its own; return it and the seconds that it took."""
    began = time.monotonic()
    words = [sys.executable, *(inside or ("-m", "pipecat_workers_cli")), "handoff", *SAYS]
    ran = subprocess.run(
        words, env={**os.environ, **env}, capture_output=True, text=True, timeout=60, check=False
    )
    return ran, time.monotonic() - began


@pytest.fixture(scope="module")
def without(untraced: None, tmp_path_factory: pytest.TempPathFactory) -> Call:
    """An untraced call that reports what it imported; and the seconds that it took."""
    folder = str(tmp_path_factory.mktemp("own"))
    return call("-c", REPORT, XDG_STATE_HOME=folder, XDG_RUNTIME_DIR=folder)


@pytest.fixture
def black_hole() -> Iterator[str]:
    """A collector that takes connections and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"


@pytest.mark.parametrize(
    ("env", "asks"),
    [
        ({}, None),
        ({ENDPOINT: ""}, None),
        ({ENDPOINT: "http://x"}, ENDPOINT),
        ({"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://x"}, "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"),
        ({"OTEL_EXPORTER_OTLP_METRICS_ENDPOINT": "http://x"}, None),
        ({ENDPOINT: "http://x", "OTEL_SDK_DISABLED": "True"}, None),
        ({ENDPOINT: "http://x", "OTEL_SDK_DISABLED": "false"}, ENDPOINT),
        ({ENDPOINT: "http://x", "OTEL_TRACES_EXPORTER": "none"}, None),
    ],
)
def test_an_endpoint_asks_for_traces_unless_they_are_forbidden(
    monkeypatch: pytest.MonkeyPatch, env: dict[str, str], asks: str | None
) -> None:
    for name, value in env.items():
        monkeypatch.setenv(name, value)
    assert asked_for() == asks


def test_untraced_calls_import_nothing_of_it_and_start_no_thread(without: Call) -> None:
    ran, _ = without
    assert ran.returncode == 0, ran.stderr
    otel, threads = ran.stdout.splitlines()[-2:]
    assert otel == "otel:"
    assert set(threads.split()) <= {"threads:", "MainThread", "patience"}


def test_a_collector_that_never_answers_delays_neither_a_call_nor_the_end(
    black_hole: str, without: Call
) -> None:
    untraced, took = without
    patient = {"OTEL_EXPORTER_OTLP_TIMEOUT": "55", "OTEL_BSP_SCHEDULE_DELAY": "50"}
    traced, took_traced = call(**{ENDPOINT: black_hole, **patient})
    assert traced.returncode == untraced.returncode == 0, traced.stderr
    assert traced.stdout.splitlines() == untraced.stdout.splitlines()[:-2]  # its report
    assert took_traced < 2 * took + 3  # what is imported, and a second to send the last


def test_a_collector_that_is_not_there_is_told_of_once(free_port: int) -> None:
    ran, _ = call(
        **{
            ENDPOINT: f"http://user:hunter2@127.0.0.1:{free_port}",
            "OTEL_EXPORTER_OTLP_TIMEOUT": "0.1",
            "OTEL_BSP_SCHEDULE_DELAY": "20",
        }
    )
    assert ran.returncode == 0
    told = f"WARNING traces are lost: http://***@127.0.0.1:{free_port} takes none; calls go on"
    assert ran.stderr.splitlines() == [told]


def test_a_protocol_that_there_is_not_is_told_in_two_lines(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv(ENDPOINT, "http://x")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_PROTOCOL", "http/json")
    with pytest.raises(SystemExit) as left:
        main(["handoff", *SAYS])
    assert left.value.code == 2
    what, mend = "there is no OTLP protocol 'http/json' here", "one of http/protobuf, grpc"
    assert capsys.readouterr().err == f"error: {what}\n  try: {mend}\n"


def test_a_package_that_traces_need_and_is_not_there_is_told_in_two_lines(tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text(
        "import sys\nsys.modules['opentelemetry.exporter'] = None\n"
    )
    ran, _ = call(**{ENDPOINT: "http://x", "PYTHONPATH": str(tmp_path)})
    what = f"{ENDPOINT} asks for traces, but what sends them isn't installed"
    mend = "uv sync --extra tracing, or pip install 'pipecat-workers-cli[tracing]'; or unset it"
    assert (ran.returncode, ran.stderr) == (1, f"error: {what}\n  try: {mend}\n")


def test_what_is_said_of_the_process_gives_way_to_what_the_environment_says() -> None:
    with collecting() as collector:
        env = {ENDPOINT: collector.url, "OTEL_SERVICE_NAME": "calls"}
        env["OTEL_RESOURCE_ATTRIBUTES"] = "service.instance.id=mine,team=a"
        ran, _ = call(**env)
        assert ran.returncode == 0, ran.stderr
        collector.wait_for(lambda spans: any(span.kind == "call" for span in spans))
    assert {span.process for span in collector.spans} == {"mine"}
    assert {(span.service, span.resource["team"]) for span in collector.spans} == {("calls", "a")}
