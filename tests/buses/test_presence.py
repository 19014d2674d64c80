"""Who is there on a channel, as hosts and sessions say it of themselves."""

import msgspec

from pipecat_workers_cli.buses.presence import (
    CALL,
    HOST,
    CallRow,
    HostRow,
    Present,
    Seen,
    SessionRow,
    look,
)


def host(worker: str, digest: str = "aaaa", *, name: str = "one-1") -> HostRow:
    return HostRow(name, "handoff", worker, 1, 10, "ready", "0.1.0", digest)


def session(digest: str = "aaaa") -> SessionRow:
    call = CallRow("c0ffee00", "handoff", digest, "greeter", 3, 12.5)
    return SessionRow("two-2", "0.1.0", (call,))


def present(*hosts: HostRow, calls: str = "aaaa") -> Present:
    return Present([Seen(row, 0.1) for row in hosts], [Seen(session(calls), 0.1)])


async def announce(network, kind: str, name: str, row, *, ttl: float = 30.0) -> None:
    body = row if isinstance(row, bytes) else msgspec.json.encode(row)
    await network.announce(kind, name, body, ttl=ttl)


async def test_hosts_and_calls_are_seen_with_how_long_ago_they_said_so(join):
    network = await join()
    await announce(network, HOST, "one-1/greeter", host("greeter"))
    await announce(network, CALL, "two-2", session())
    there = await look(await join())
    assert [seen.row for seen in there.hosts] == [host("greeter")]
    assert [seen.row for seen in there.sessions] == [session()]
    assert 0 <= there.hosts[0].age < 2


async def test_who_says_no_more_is_gone(join):
    network = await join()
    await announce(network, HOST, "one-1/greeter", host("greeter"), ttl=0.05)
    await announce(network, CALL, "two-2", session(), ttl=0.05)
    await announce(network, HOST, "one-1/support", host("support"))
    there = await look(network)
    while len(there.hosts) > 1 or there.sessions:
        there = await look(network)
    assert [seen.row.worker for seen in there.hosts] == ["support"]


async def test_what_no_pmw_says_is_passed_over(join):
    network = await join()
    await announce(network, HOST, "garbage", b"\xff{")
    await announce(network, HOST, "of another version", b'{"host": "x"}')
    await announce(network, HOST, "plays tricks", host("\x1b[2J"))
    await announce(network, CALL, "too many", session_of(201))
    assert await look(network) == Present([], [])


def session_of(calls: int) -> SessionRow:
    (call,) = session().calls
    return SessionRow("three-3", "0.1.0", (call,) * calls)


def test_a_hash_that_differs_from_most_is_odd():
    there = present(host("greeter"), host("support", "bbbb"))
    assert there.odd_hashes() == {("handoff", "bbbb")}


def test_one_recipe_for_all_is_not_odd():
    assert not present(host("greeter"), host("support")).odd_hashes()


def test_of_two_hashes_that_are_as_frequent_both_are_odd():
    there = present(host("greeter", "bbbb"), calls="aaaa")
    assert there.odd_hashes() == {("handoff", "aaaa"), ("handoff", "bbbb")}
