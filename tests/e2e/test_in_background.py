"""What serves other processes' calls, in the background: found, used and stopped by its name."""

import json
from pathlib import Path

import pytest

from tests.e2e.fleet import OFFLINE, Fleet

SAY = ("--say", "How much are the rocket boots?")
PRICE = "Acme Rocket Boots cost $299"
TOKEN = "c2f1e0b94d7a4f0e8c55"


@pytest.fixture
def stopping(pmw_here):
    """Stop what a test has started and not stopped."""
    yield
    pmw_here("stop", "--all")


def test_a_host_in_the_background_serves_until_it_is_stopped(fleet: Fleet, pmw_here, stopping):
    bus = ("--bus", fleet.bus.url, "--channel", fleet.channel)
    started = pmw_here("worker", "--all", *OFFLINE, *bus, "--detach")
    assert (started.returncode, started.stderr) == (0, "")
    assert started.stdout.startswith(f"handoff at {fleet.bus.told}\nlog: /")
    told = pmw_here("handoff", *OFFLINE, *bus, *SAY)
    assert PRICE in told.stdout
    assert pmw_here("stop", "handoff").returncode == 0
    assert "no host" in pmw_here("ps", *bus).stderr


def test_no_word_of_a_proxy_in_the_background_is_its_token(pmw_here, stopping, free_port):
    serve = ("proxy", "serve", *OFFLINE, "--port", str(free_port), "--token", TOKEN)
    started = pmw_here(*serve, "--detach")
    url = f"ws://localhost:{free_port}/ws"
    assert started.stdout.startswith(f"assistant at {url}\n")
    session = json.loads(pmw_here("ps", "-o", "json").stdout)
    assert TOKEN.encode() not in Path(f"/proc/{session['pid']}/cmdline").read_bytes()
    asked = ("proxy", "call", *OFFLINE, "--remote-url", url, *SAY)
    assert pmw_here(*asked).returncode == 1
    assert PRICE in pmw_here(*asked, "--token", TOKEN).stdout
