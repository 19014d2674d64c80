"""What a call over a shared engine does when that fails, in processes of their own."""

import os
import shutil
import signal
import subprocess
import time

import pytest

from pipecat_workers_cli.wire import letter as wire
from pipecat_workers_cli.wire.letter import Letter, Parcel
from pipecat_workers_cli.wire.notice import Leave, encode_notice
from tests.buses.servers import RedisServer
from tests.e2e.conftest import EITHER, Process, connected
from tests.e2e.fleet import OFFLINE, Fleet, Talk, resident
from tests.e2e.test_serving import eval_hello

BACK_WITHIN = 5.0  # seconds from an engine's return to an answer
OUT_WITHIN = 5.0  # seconds from a signal to the end of the process
QUESTION, ANSWER = "How much is the tornado kit?", "$199"


def outlive(fleet: Fleet, talk: Talk, *, away: float, empty: bool) -> None:
    """Kill the engine, ask something meanwhile, and see that it is answered once it is back."""
    before = answers(talk)
    fleet.server.kill()
    time.sleep(away / 2)
    talk.say(QUESTION)
    time.sleep(away / 2)
    fleet.server.start(empty=empty)
    talk.wait_for(lambda: answers(talk) > before, timeout=BACK_WITHIN)
    assert "$49" in talk.ask("What about the paint?", within=BACK_WITHIN)["text"]
    assert answers(talk) == before + 1


def answers(talk: Talk) -> int:
    return sum(entry["event"] == "bot" and ANSWER in entry["text"] for entry in talk.entries)


def test_a_call_outlives_a_redis_that_is_killed_and_leaves_one_that_says_nothing(fleet):
    host = fleet.host("greeter", "support")
    talk, local = fleet.talk(), fleet.talk("--bus", "local")
    talk.told("bot", worker="greeter", within=40)
    local.told("bot")
    outlive(fleet, talk, away=0.5, empty=False)
    fleet.server.kill()
    local.ask(QUESTION, within=3)
    fleet.server.start()
    outlive(fleet, talk, away=2, empty=True)
    assert host.popen.poll() is None
    assert local.hang_up() == 0
    fleet.server.freeze()
    for process in (talk, host):
        leaves_at_the_second_signal(process)


def leaves_at_the_second_signal(process: Process) -> None:
    process.popen.send_signal(signal.SIGINT)
    time.sleep(0.3)
    assert process.popen.poll() is None
    code, seconds = process.stop(signal.SIGINT)
    assert code == 130
    assert seconds < 0.5


@pytest.mark.long
@EITHER
@pytest.mark.parametrize("empty", [False, True])
def test_a_call_outlives_an_engine_that_was_away_for_long(fleet, empty):
    host = fleet.host("greeter", "support")
    talk = fleet.talk()
    talk.told("bot", worker="greeter", within=40)
    outlive(fleet, talk, away=8, empty=empty)
    assert host.popen.poll() is None
    assert talk.hang_up() == 0


@pytest.mark.long
@pytest.mark.timeout(180)
@EITHER
def test_a_call_outlives_an_engine_that_is_frozen_for_a_minute(fleet):
    host = fleet.host("greeter", "support")
    talk = fleet.talk()
    talk.told("bot", worker="greeter", within=40)
    talk.ask("What do you sell?")
    fleet.server.freeze()
    talk.say(QUESTION)
    talk.told("bot", worker="acme")  # who asks for patience
    time.sleep(60)
    fleet.server.thaw()
    talk.wait_for(lambda: answers(talk), timeout=BACK_WITHIN)
    assert "$49" in talk.ask("What about the paint?", within=BACK_WITHIN)["text"]
    assert answers(talk) == 1
    assert talk.hang_up() == 0
    assert host.popen.poll() is None


@pytest.fixture
def far_away():
    """A network of its own, beside this machine's, joined by a cable: its name and two ends."""
    if os.geteuid() or shutil.which("ip") is None:
        pytest.skip("a network of its own takes root and iproute2")
    name = f"pmw{os.getpid() % 10_000}"
    here, there = "10.213.7.1", "10.213.7.2"

    def ip(*words: str) -> None:
        subprocess.run(["ip", *words], check=True)

    ip("netns", "add", name)
    try:
        ip("link", "add", name, "type", "veth", "peer", "name", "eth0", "netns", name)
        ip("addr", "add", f"{here}/30", "dev", name)
        ip("link", "set", name, "up")
        ip("-n", name, "addr", "add", f"{there}/30", "dev", "eth0")
        ip("-n", name, "link", "set", "eth0", "up")
        ip("-n", name, "link", "set", "lo", "up")
        yield name, here, there
    finally:
        ip("netns", "del", name)


@pytest.mark.long
@pytest.mark.timeout(180)
def test_a_call_outlives_a_network_that_swallows_everything_for_a_minute(
    far_away, pmw_env, tmp_path
):
    name, here, there = far_away
    server = RedisServer(tmp_path / "valkey", host=here)
    server.start()
    inside = ("ip", "netns", "exec", name)
    fleet = Fleet(server, env=pmw_env, cwd=tmp_path, inside=inside)
    try:
        fleet.host("greeter", "support")
        talk = fleet.talk()
        talk.told("bot", worker="greeter", within=40)
        talk.ask("What do you sell?")
        # What is sent from there still arrives here; nobody there hears anything.
        subprocess.run(["ip", "route", "add", "blackhole", f"{there}/32"], check=True)
        talk.say(QUESTION)
        talk.told("bot", worker="acme")  # who asks for patience
        time.sleep(60)
        subprocess.run(["ip", "route", "del", "blackhole", f"{there}/32"], check=True)
        talk.wait_for(lambda: answers(talk), timeout=BACK_WITHIN)
        assert "$49" in talk.ask("What about the paint?", within=BACK_WITHIN)["text"]
        assert answers(talk) == 1
        assert talk.hang_up() == 0
    finally:
        subprocess.run(["ip", "route", "del", "blackhole", f"{there}/32"], capture_output=True)
        fleet.kill_all()
        server.stop()


def garbage(channel: str, call: str) -> list[bytes]:
    """What no process of ours would send, or would not send now."""

    def parcel(number: int, *letters: Letter) -> bytes:
        return wire._encode(Parcel(sender="stranger", seq=number, letters=letters))

    old = encode_notice(Leave("an earlier claim"))
    return [
        b"\x00" * 100,
        b"x" * 20_000_000,
        b"\x91" * 10_000,
        b'{"__type__": "os.system", "__data__": {}}',
        parcel(1, Letter(call, "greeter", 1, b"\x91" * 10_000)),
        parcel(2, Letter(call, "greeter", 1, b'{"__type__": "os.system"}')),
        parcel(3, Letter(call, "greeter", 1, old, notice=True)),
        parcel(4, Letter(call, "greeter", 1, b"\x82\xa4type\xa4left\xa3why\xa2\xff\xfe", True)),
        parcel(5, Letter("other", "greeter", 1, b"")),
    ]


@EITHER
def test_garbage_in_the_inboxes_of_live_processes_is_refused_and_a_call_goes_on(fleet):
    host, talk = fleet.host("greeter", "support"), fleet.talk()
    call = talk.told("bot", worker="greeter", within=40)["call"]
    pids = (host.popen.pid, talk.popen.pid)
    inboxes = fleet.server.inboxes(fleet.channel)
    assert len(inboxes) == 2

    def pour() -> None:
        for inbox in inboxes:
            for parcel in garbage(fleet.channel, call):
                fleet.server.put(inbox, parcel)
            put_what_is_no_parcel(fleet.server, inbox)
        talk.ask(QUESTION, within=8)

    pour()
    before = [resident(pid) for pid in pids]
    for _ in range(5):
        pour()
    grown = [resident(pid) - was for pid, was in zip(pids, before, strict=True)]
    # Two of the largest at once, which Postgres gives as text.
    assert max(grown) < (45e6 if isinstance(fleet.server, RedisServer) else 90e6)
    assert answers(talk) == 6
    assert talk.hang_up() == 0
    for process in (host, talk):
        told = [line for line in process.err if "was dropped" in line]
        assert len(told) == len(set(told)) >= 3
        assert not any("Traceback" in line for line in process.err)


def put_what_is_no_parcel(server, inbox: str) -> None:
    """Put something there that isn't even the engine's way of holding bytes."""
    if isinstance(server, RedisServer):
        with server.client() as client:
            client.xadd(inbox, {"a": "1", "b": "2"})
        return
    for junk in ('"no Base64!"', '{"a": 1}', "null"):
        server.ask("SELECT pgmq.send(%s, %s::jsonb)", inbox, junk)


def out(process: Process, number: signal.Signals) -> int:
    """Send a signal; return the exit code, once it has been out in time and without a fuss."""
    code, seconds = process.stop(number)
    assert seconds < OUT_WITHIN
    assert not any("Traceback" in line or "ERROR" in line for line in process.err), process.err
    return code


@pytest.mark.parametrize(
    ("fault", "number"),
    [
        ("kill", signal.SIGTERM),
        pytest.param("kill", signal.SIGINT, marks=pytest.mark.long),
        pytest.param("freeze", signal.SIGTERM, marks=pytest.mark.long),
        pytest.param("freeze", signal.SIGINT, marks=pytest.mark.long),
    ],
)
@EITHER
def test_a_signal_ends_every_process_while_its_engine_is_dead(fault, number, fleet, serve):
    host, talk = fleet.host("greeter", "support"), fleet.talk()
    server = serve("handoff", *OFFLINE, "--traffic", "lines", env=fleet.env)
    with connected(server.port) as caller:
        caller.send(eval_hello())
        server.wait_for_line("greeter:")
        talk.told("bot", worker="greeter", within=40)
        getattr(fleet.server, fault)()
        talk.say(QUESTION)
        talk.wait_for(lambda: any("as soon as it is back" in line for line in talk.out))
        clean = 130 if number == signal.SIGINT else 0
        codes = [out(process, number) for process in (talk, server)]
        assert codes == [clean, clean]
    assert out(host, number) == 1
    (cut_off,) = [line for line in host.err if line.startswith("error:")]
    assert "calls were cut off" in cut_off


def test_a_session_that_cannot_reach_its_bus_says_so_in_two_lines(pmw_here, free_port):
    unreachable = f"redis://127.0.0.1:{free_port}"
    session = pmw_here("handoff", *OFFLINE, "--bus", unreachable, "--port", str(free_port))
    assert session.returncode == 1
    assert session.stderr.splitlines() == [
        f"error: nothing listens at 127.0.0.1:{free_port}",
        "  try: start Redis or Valkey there, or correct the URL",
    ]
    assert session.stdout == ""


@pytest.mark.long
@EITHER
@pytest.mark.parametrize("fault", ["kill", "freeze"])
@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 0), (signal.SIGINT, 130)])
def test_a_host_without_calls_leaves_cleanly_while_its_engine_is_dead(fault, number, code, fleet):
    (host,) = fleet.hosting("greeter")
    getattr(fleet.server, fault)()
    time.sleep(0.5)
    assert out(host, number) == code
