"""Calls with stock Pipecat processes at the other end, over a real server."""

import json
import subprocess
import sys
import time
from uuid import uuid4

import pytest

from tests.buses.servers import RedisServer
from tests.e2e.conftest import ROOT, Process

PROMPT = 2.0  # seconds in which an answer is there; a flush that is waited for takes ten


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    server = RedisServer(tmp_path_factory.mktemp("valkey"))
    server.start()
    yield server
    server.stop()


@pytest.fixture
def channel():
    return f"pipecat:{uuid4().hex[:8]}"


class Peer(Process):
    """A stock process of `tests/peers`."""

    def __init__(self, name, server, channel):
        self.popen = subprocess.Popen(
            [sys.executable, "-m", f"tests.peers.{name}", server.url, channel],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=ROOT,
        )
        self.follow()

    def say(self, line, *, told):
        """Say a line; return the seconds until something is told that holds a text."""
        seen, began = len(self.out), time.monotonic()
        self.popen.stdin.write(f"{line}\n")
        self.popen.stdin.flush()
        self.wait_for(lambda: any(told in line for line in self.out[seen:]))
        return time.monotonic() - began


@pytest.fixture
def peer(server, channel):
    """Start a stock process; what still runs at the end is killed."""
    running = []

    def start(name):
        running.append(Peer(name, server, channel))
        return running[-1]

    yield start
    for process in running:
        process.popen.kill()
        process.popen.wait(5)


@pytest.fixture
def on_the_channel(server, channel):
    return ["--bus", server.url.replace("://", "+pubsub://"), "--channel", channel]


def test_a_stock_greeter_and_a_stock_support_hold_our_call_to_its_goodbye(
    peer, pmw, on_the_channel
):
    agents = peer("agents")
    agents.wait_for_line("ready")
    says = ["--say", "How much is the kit?", "--say", "And the boots?", "--say", "goodbye"]
    ours = pmw("handoff", "--services", "offline", "-o", "json", *on_the_channel, *says)
    agents.wait_for_line("over", timeout=60)  # a goodbye ends every stock process on the channel
    assert ours.popen.wait(10) == 0
    entries = [json.loads(line) for line in ours.out]
    said = [(entry["worker"], entry["text"]) for entry in entries if entry["event"] == "bot"]
    assert said == [
        ("greeter", "Welcome to the stock Acme Corp! We sell kits and paint."),
        ("support", "This is stock support: the kit is $199."),
        ("support", "Boots are $299."),
        ("support", "Thank you, goodbye!"),
    ]
    assert [(one["worker"], one["target"]) for one in entries if one["event"] == "transfer"] == [
        ("greeter", "support")
    ]
    took = [entry["latency_ms"] for entry in entries if "latency_ms" in entry]
    assert max(took) < 1000 * PROMPT
    assert entries[-1]["reason"] == "goodbye"


def test_our_greeter_and_our_support_hold_a_stock_desks_calls_one_after_the_other(
    peer, pmw, on_the_channel
):
    served = ("--services", "offline", *on_the_channel)
    hosts = [pmw("worker", name, *served) for name in ("greeter", "support")]
    for host in hosts:
        host.wait_for_line("Ctrl-C")
    for leaving in ("/leave", "goodbye"):
        desk = peer("desk")
        desk.wait_for_line("bot: Hello!")
        assert desk.say("How much is the tornado kit?", told="bot: The Acme Tornado") < PROMPT
        desk.say("/noise", told="a sound")  # which the agent hands on, as a stock one does
        desk.say(leaving, told="over")
        assert desk.popen.wait(10) == 0
    assert "bot: Thank you for calling. Goodbye!" in desk.out
    for host in hosts:
        assert host.stop()[0] == 0
