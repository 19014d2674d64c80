"""A session that serves callers: Pipecat's eval client, signals, what is refused at the start."""

import json
import os
import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.e2e.conftest import Server, connected, own_folders
from tests.ports import free_port

ROOT = Path(__file__).parents[2]
OFFLINE = ("handoff", "--services", "offline")

pytestmark = [
    pytest.mark.speech,
    pytest.mark.xdist_group("serving"),  # in one process, for the server is shared
]


@pytest.fixture(scope="module")
def running(tmp_path_factory) -> Iterator[Callable[[], Server]]:
    """Give a server for three callers, the one of the test before unless that has ended it."""
    folder = tmp_path_factory.mktemp("served")
    servers: list[Server] = []

    def serving() -> Server:
        if not servers or servers[-1].popen.poll() is not None:
            words = [*OFFLINE, "--traffic", "lines", "--max-calls", "3"]
            env = {**os.environ, **own_folders(str(folder))}
            servers.append(Server(words, port=free_port(), env=env, cwd=folder))
        return servers[-1]

    yield serving
    for server in servers:
        server.popen.kill()
        server.popen.wait(5)


@pytest.fixture
def server(running: Callable[[], Server]) -> Server:
    """A server of which nothing has been read yet, and whose callers are gone."""
    server = running()
    server.wait_for(lambda: told(server, "* end") == told(server, "greeter: Welcome"))
    server.err.clear()
    return server


def told(server: Server, text: str) -> int:
    """Count the lines that tell so."""
    return sum(text in line for line in list(server.err))


def test_pipecats_eval_client_holds_a_call_with_two_transfers_and_a_goodbye(server):
    done = subprocess.run(
        [*EVAL, "run", str(ROOT / "evals" / "handoff.yaml"), "--bot-url", f"ws://localhost:{server.port}/ws"],
        capture_output=True, text=True, timeout=110,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert server.popen.poll() is None


EVAL = [str(Path(sys.executable).with_name("pipecat")), "eval"]


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


def test_a_client_that_leaves_ends_its_call_and_no_other(server):
    with connected(server.port) as first:
        first.send(eval_hello())
        server.wait_for(lambda: told(server, "greeter: Welcome") == 1)
        with connected(server.port) as second:
            second.send(eval_hello())
            server.wait_for(lambda: told(server, "greeter: Welcome") == 2)
        server.wait_for(lambda: told(server, "* end") == 1)
        first.send(say("How much is the paint?"))
        server.wait_for_line("$49")
        assert told(server, "* end") == 1
    server.wait_for(lambda: told(server, "* end") == 2)


def say(text: str) -> str:
    return json.dumps(
        {"label": "rtvi-ai", "type": "send-text", "id": "1", "data": {"content": text}}
    )


def test_one_call_more_than_there_is_room_for_hears_that_it_is_busy(server):
    with ExitStack() as stack:
        for _ in range(3):
            stack.enter_context(connected(server.port)).send(eval_hello())
        request = urllib.request.Request(
            f"{server.url}/api/offer",
            data=json.dumps({"sdp": "v=0", "type": "offer"}).encode(),
            headers={"content-type": "application/json"},
        )
        with pytest.raises(urllib.error.HTTPError) as refused:
            urllib.request.urlopen(request, timeout=5)
        assert refused.value.code == 503
        assert set(json.load(refused.value)) == {"error", "mend"}
        server.wait_for(lambda: told(server, "greeter: Welcome") == 3)


def test_the_page_comes_first_and_pipecats_client_stays(server):
    assert "pmw" in server.get("/")
    assert server.get("/client/")


@pytest.mark.parametrize(
    ("number", "code", "in_a_call"),
    [
        (signal.SIGINT, 130, True),
        pytest.param(signal.SIGINT, 130, False, marks=pytest.mark.long),
        pytest.param(signal.SIGTERM, 0, True, marks=pytest.mark.long),  # which the next one sends
        pytest.param(signal.SIGTERM, 0, False, marks=pytest.mark.long),
    ],
)
def test_a_signal_ends_the_session_and_stdout_stays_clean(number, code, in_a_call, server):
    with ExitStack() as stack:
        if in_a_call:
            stack.enter_context(connected(server.port)).send(eval_hello())
            server.wait_for_line("greeter:", timeout=20)
        exit_code, seconds = server.stop(number)
    assert exit_code == code
    assert seconds < 5
    assert server.out == []
    assert not any("Traceback" in line or "ERROR" in line for line in server.err), server.err


def test_a_client_that_says_nothing_holds_up_no_end_in_a_call(server):
    with connected(server.port) as caller, connected(server.port), connected(server.port) as gone:
        caller.send(eval_hello())
        server.wait_for_line("greeter:", timeout=20)
        gone.close()
        server.wait_for_line("a call could not begin: ValueError")
        code, seconds = server.stop(signal.SIGTERM)
    assert code == 0
    assert seconds < 3
    assert server.out == []
    assert not any("Traceback" in line for line in server.err), server.err
    assert sum("ERROR" in line for line in server.err) <= 1, server.err  # of who is gone


def test_a_second_signal_leaves_at_once_whatever_holds_up_the_first(server):
    # Somebody who takes the connection and is never done: the server waits for them to end.
    with socket.create_connection(("localhost", server.port)) as slow:
        slow.sendall(b"POST /start HTTP/1.1\r\nHost: localhost\r\nContent-Length: 10\r\n\r\n")
        server.popen.send_signal(signal.SIGINT)
        with pytest.raises(subprocess.TimeoutExpired):
            server.popen.wait(1.5)
        code, seconds = server.stop(signal.SIGINT)
    assert code == 130
    assert seconds < 0.5


def test_a_server_that_cannot_end_well_is_out_within_five_seconds(server):
    with socket.create_connection(("localhost", server.port)) as slow:
        slow.sendall(b"POST /start HTTP/1.1\r\nHost: localhost\r\nContent-Length: 10\r\n\r\n")
        _, seconds = server.stop(signal.SIGTERM)
    assert seconds < 5.2


def test_a_taken_port_is_said_in_two_lines(pmw, free_port):
    with socket.create_server(("localhost", free_port)):
        process = pmw(*OFFLINE, "--port", str(free_port))
        assert process.popen.wait(30) == 1
    for reader in process._readers:
        reader.join(2)
    assert len(process.err) == 2, process.err
    assert str(free_port) in process.err[0]
