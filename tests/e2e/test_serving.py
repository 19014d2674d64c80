"""A session that serves callers: Pipecat's eval client, signals, what is refused at the start."""

import json
import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.e2e.conftest import connected

ROOT = Path(__file__).parents[2]
OFFLINE = ("handoff", "--services", "offline")

pytestmark = pytest.mark.speech


def test_pipecats_eval_client_holds_a_call_with_two_transfers_and_a_goodbye(serve):
    server = serve(*OFFLINE)
    done = subprocess.run(
        [*EVAL, "run", str(ROOT / "evals" / "handoff.yaml"), "--bot-url", f"ws://localhost:{server.port}/ws"],
        capture_output=True, text=True, timeout=110,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert server.popen.poll() is None


EVAL = [str(Path(sys.executable).with_name("pipecat")), "eval"]


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 0)])
@pytest.mark.parametrize("in_a_call", [pytest.param(False, marks=pytest.mark.long), True])
def test_a_signal_ends_the_session_and_stdout_stays_clean(number, code, in_a_call, serve):
    server = serve(*OFFLINE, "--traffic", "lines")
    with ExitStack() as stack:
        if in_a_call:
            stack.enter_context(connected(server.port)).send(eval_hello())
            server.wait_for_line("greeter:", timeout=20)
        exit_code, seconds = server.stop(number)
    assert exit_code == code
    assert seconds < 5
    assert server.out == []
    assert not any("Traceback" in line or "ERROR" in line for line in server.err), server.err


def test_a_client_that_says_nothing_holds_up_no_end(serve):
    server = serve(*OFFLINE)
    with connected(server.port), connected(server.port) as gone:
        gone.close()
        server.wait_for_line("a call could not begin: ValueError")
        code, seconds = server.stop(signal.SIGTERM)
    assert code == 0
    assert seconds < 3
    assert not any("Traceback" in line for line in server.err), server.err


def test_a_second_signal_leaves_at_once_whatever_holds_up_the_first(serve):
    server = serve(*OFFLINE, "--traffic", "lines")
    # Somebody who takes the connection and is never done: the server waits for them to end.
    with socket.create_connection(("localhost", server.port)) as slow:
        slow.sendall(b"POST /start HTTP/1.1\r\nHost: localhost\r\nContent-Length: 10\r\n\r\n")
        server.popen.send_signal(signal.SIGINT)
        with pytest.raises(subprocess.TimeoutExpired):
            server.popen.wait(1.5)
        code, seconds = server.stop(signal.SIGINT)
    assert code == 130
    assert seconds < 0.5


def test_a_server_that_cannot_end_well_is_out_within_five_seconds(serve):
    server = serve(*OFFLINE)
    with socket.create_connection(("localhost", server.port)) as slow:
        slow.sendall(b"POST /start HTTP/1.1\r\nHost: localhost\r\nContent-Length: 10\r\n\r\n")
        _, seconds = server.stop(signal.SIGTERM)
    assert seconds < 5.2


def eval_hello() -> str:
    """The first message of Pipecat's eval client, asking for text alone."""
    return json.dumps(
        {
            "label": "rtvi-ai",
            "type": "client-message",
            "id": "eval-connect",
            "data": {"t": "eval-connect", "d": {"skip_tts": True}},
        }
    )


def test_a_client_that_leaves_ends_its_call_and_no_other(serve):
    server = serve(*OFFLINE, "-o", "json")
    with connected(server.port) as first:
        first.send(eval_hello())
        server.wait_for(lambda: len(events(server, "bot")) == 1)
        with connected(server.port) as second:
            second.send(eval_hello())
            server.wait_for(lambda: len(events(server, "bot")) == 2)
        server.wait_for(lambda: len(events(server, "end")) == 1)
        first.send(say("How much is the paint?"))
        server.wait_for(lambda: any("$49" in e["text"] for e in events(server, "bot")))
        assert len(events(server, "end")) == 1
    server.wait_for(lambda: len(events(server, "end")) == 2)


def events(server, kind: str) -> list[dict]:
    return [e for e in map(json.loads, list(server.out)) if e["event"] == kind]


def say(text: str) -> str:
    return json.dumps(
        {"label": "rtvi-ai", "type": "send-text", "id": "1", "data": {"content": text}}
    )


def test_one_call_more_than_there_is_room_for_hears_that_it_is_busy(serve):
    server = serve(*OFFLINE, "--max-calls", "1")
    with connected(server.port) as first:
        first.send(eval_hello())
        request = urllib.request.Request(
            f"{server.url}/api/offer",
            data=json.dumps({"sdp": "v=0", "type": "offer"}).encode(),
            headers={"content-type": "application/json"},
        )
        with pytest.raises(urllib.error.HTTPError) as refused:
            urllib.request.urlopen(request, timeout=5)
        assert refused.value.code == 503
        assert set(json.load(refused.value)) == {"error", "mend"}


def test_the_page_comes_first_and_pipecats_client_stays(serve):
    server = serve(*OFFLINE)
    assert "pmw" in server.get("/")
    assert server.get("/client/")


@pytest.mark.parametrize(
    ("words", "code", "told"),
    [
        (("handoff", "--services", "cloud"), 1, "DEEPGRAM_API_KEY"),
        (("handoff", "-t", "carrier-pigeon"), 2, "carrier-pigeon"),
        (("handoff", "-t", "webrtx"), 2, "'webrtc'"),
        (("handoff", "-t", "daily"), 1, "daily"),
        (("handoff", "--llm", "opena"), 2, "'openai'"),
        (("handoff", "--services", "offlin"), 2, "offline"),
        (("run", "handof"), 2, "'handoff'"),
        (("run", "./missing.toml"), 2, "missing.toml"),
        (("handoff", "stray"), 2, "stray"),
        (("handoff", "--set", "main.nam=x"), 2, "main.nam"),
        (("handoff", "--tts", "piper:nobody", "--services", "offline"), 1, "nobody"),
        (("handoff", "--host", "0.0.0.0"), 2, "--page-token"),
        (("handoff", "--", "--no-such-thing"), 2, "--no-such-thing"),
        (("handoff", "--env-file", "nowhere.env"), 2, "nowhere.env"),
    ],
)
def test_what_is_wrong_is_said_in_two_lines_before_anything_starts(words, code, told, pmw):
    process = pmw(*words)
    exit_code = process.popen.wait(30)
    for reader in process._readers:
        reader.join(2)
    assert exit_code == code, process.err
    assert process.out == []
    assert len(process.err) == 2, process.err
    assert process.err[0].startswith("error: ")
    assert process.err[1].startswith("  try: ")
    assert told in " ".join(process.err)


def test_a_taken_port_is_said_in_two_lines(pmw, free_port):
    with socket.create_server(("localhost", free_port)):
        process = pmw(*OFFLINE, "--port", str(free_port))
        assert process.popen.wait(30) == 1
    for reader in process._readers:
        reader.join(2)
    assert len(process.err) == 2, process.err
    assert str(free_port) in process.err[0]
