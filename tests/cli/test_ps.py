"""`pmw ps` on a shared bus."""

import json
import subprocess
import time
from contextlib import asynccontextmanager

import msgspec
import pytest

from pipecat_workers_cli.buses.presence import CALL, HOST, CallRow, HostRow, SessionRow
from tests.buses.servers import RedisServer
from tests.program import PMW

pytestmark = pytest.mark.timeout(60)


def ps(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*PMW, "ps", *words],
        capture_output=True, text=True, timeout=30, stdin=subprocess.DEVNULL,
    )  # fmt: skip


@asynccontextmanager
async def fleet(valkey: RedisServer, channel: str):
    """Two hosts of which one has another recipe, and a call."""
    rows = (
        (HOST, "one-1/greeter", HostRow("one-1", "handoff", "greeter", 1, 9, "ready", "1", "aa")),
        (HOST, "two-2/support", HostRow("two-2", "handoff", "support", 0, 9, "full", "1", "bb")),
        (CALL, "six-6", SessionRow("six-6", "1", (call("c0ffee00"),), unlisted=2)),
    )
    async with valkey.open_network(channel) as network:
        for kind, name, row in rows:
            await network.announce(kind, name, msgspec.json.encode(row), ttl=30)
        yield


def call(name: str) -> CallRow:
    return CallRow(name, "handoff", "aa", "greeter", 3, 65.0)


async def test_hosts_and_calls_of_a_channel_follow_the_sessions(valkey, monkeypatch):
    async with fleet(valkey, "acme"):
        listed = ps("--bus", valkey.url, "--channel", "acme")
        monkeypatch.setenv("PMW_BUS", valkey.url)
        monkeypatch.setenv("PMW_CHANNEL", "acme")
        from_env = ps("-q")
    assert listed.returncode == 0
    blocks = [[line.split() for line in block.splitlines()] for block in blocks_of(listed)]
    assert blocks[0][0][0] == "SESSION"
    assert blocks[1] == [["CHANNEL", "BUS"], ["acme", valkey.url]]
    assert blocks[2][0] == ["HOST", "WORKER", "CALLS/MAX", "STATE", "SEEN", "VERSION", "RECIPE"]
    (one, two) = blocks[2][1:]
    assert (one[:4], one[5:]) == (["one-1", "greeter", "1/9", "ready"], ["1", "handoff@aa"])
    assert (two[:4], two[5:]) == (["two-2", "support", "0/9", "full"], ["1", "handoff@bb!"])
    assert blocks[3][0] == ["CALL", "WORKER", "TURN", "AGE"]
    assert blocks[3][1][:3] == ["c0ffee00", "greeter", "3"]
    assert blocks[3][1][3].startswith("1:")
    assert listed.stderr.splitlines() == [
        "! differs from the recipe that most run by this name",
        "2 more calls are not listed",
    ]
    assert [line.split()[0] for line in blocks_of(from_env)[2].splitlines()][1:] == [
        "one-1",
        "two-2",
    ]
    assert from_env.stderr == ""


def blocks_of(listed: subprocess.CompletedProcess[str]) -> list[str]:
    return listed.stdout.rstrip().split("\n\n")


async def test_as_json_each_line_says_what_it_is(valkey):
    async with fleet(valkey, "json"):
        listed = ps("--bus", valkey.url, "--channel", "json", "-o", "json")
    told = [json.loads(line) for line in listed.stdout.splitlines()]
    assert [row["is"] for row in told] == ["host", "host", "call"]
    assert [row.get("differs") for row in told] == [False, True, None]
    assert {row["channel"] for row in told} == {"json"}
    assert told[2]["session"] == "six-6"
    assert listed.stderr == ""


def test_a_channel_with_nobody_says_how_to_begin(valkey):
    listed = ps("--bus", valkey.url, "--channel", "empty")
    assert listed.returncode == 0
    assert listed.stderr == "no host and no call is there; start a host: pmw worker NAME\n"


def test_stock_peers_are_not_asked_who_is_there():
    listed = ps("--bus", "redis+pubsub://localhost:1")
    assert listed.returncode == 0
    assert listed.stderr == "stock Pipecat's processes don't tell who is there\n"


def test_own_sessions_are_listed_though_the_bus_is_dead(free_port):
    listed = ps("--bus", f"redis://:secret-word@localhost:{free_port}")
    assert listed.returncode == 1
    assert listed.stdout.startswith("SESSION ")
    assert len(listed.stderr.splitlines()) == 2
    assert "secret-word" not in listed.stdout + listed.stderr


def test_watching_stays_on_its_connections_and_leaves_nothing(valkey):
    words = ("ps", "--watch", "--bus", valkey.url, "--channel", "watched", "-o", "json")
    watching = subprocess.Popen([*PMW, *words], stdin=subprocess.DEVNULL)
    try:
        until(lambda: len(valkey.inboxes("watched")) == 1)
        first = valkey.inboxes("watched")
        time.sleep(3)
        assert valkey.inboxes("watched") == first
        watching.terminate()
        assert watching.wait(5) == 0
    finally:
        watching.kill()
    assert valkey.inboxes("watched") == []


def until(true) -> None:
    deadline = time.monotonic() + 20
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.05)
