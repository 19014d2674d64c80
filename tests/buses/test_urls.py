"""Which bus is meant by what was typed and by the environment."""

from contextlib import suppress

import pytest

from pipecat_workers_cli.addresses import shown_url
from pipecat_workers_cli.buses.urls import SharedBus, choose_bus, examine, open_network
from pipecat_workers_cli.errors import ConfigurationError, PmwError
from pipecat_workers_cli.options import BusOptions

VARIABLES = ("PMW_BUS", "PMW_CHANNEL", "DATABASE_URL", "PGMQ_CHANNEL")
POSTGRES = "postgresql://pmw:secret@db:5432/calls"


@pytest.fixture(autouse=True)
def clean(monkeypatch: pytest.MonkeyPatch):
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)


@pytest.mark.parametrize(
    ("options", "environment", "chosen"),
    [
        (BusOptions(), {}, None),
        (BusOptions(), {"DATABASE_URL": POSTGRES}, None),
        (BusOptions(), {"PMW_BUS": "redis"}, ("redis://localhost:6379", "pipecat:acme")),
        (BusOptions(bus="local"), {"PMW_BUS": "redis"}, None),
        (BusOptions(redis_url="rediss://r"), {}, ("rediss://r", "pipecat:acme")),
        (BusOptions(bus="pgmq"), {"DATABASE_URL": POSTGRES}, (POSTGRES, "pipecat_acme")),
        (BusOptions(database_url=POSTGRES), {"PGMQ_CHANNEL": "calls"}, (POSTGRES, "calls")),
        (BusOptions(bus=POSTGRES), {"PMW_CHANNEL": "a", "PGMQ_CHANNEL": "b"}, (POSTGRES, "a")),
        (BusOptions(bus="redis", channel="c"), {"PMW_CHANNEL": "a"}, (None, "c")),
        (BusOptions(bus="redis+pubsub://r"), {}, ("redis+pubsub://r", "pipecat:acme")),
    ],
)
def test_the_bus_is_chosen_by_what_was_typed_then_by_the_environment(
    options, environment, chosen, monkeypatch
):
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    bus = choose_bus(options)
    if chosen is None:
        assert bus is None
        return
    url, channel = chosen
    assert bus is not None
    assert bus.channel == channel
    assert url in (None, bus.url)


@pytest.mark.parametrize(
    ("options", "what", "mend"),
    [
        (BusOptions(bus="lokal://user:secret@host/0"), "'lokal'", "did you mean 'local'?"),
        (BusOptions(bus="//user:secret@host"), "no bus", "redis://"),
        (BusOptions(bus="redis", redis_url="redis://r"), "--bus and --redis-url", "leave"),
        (BusOptions(redis_url="redis+pubsub://r"), "--redis-url names no such bus", "--bus"),
        (BusOptions(redis_url=POSTGRES), "--redis-url names no such bus", "--bus"),
        (BusOptions(bus="pgmq"), "$DATABASE_URL", "--database-url"),
        (BusOptions(bus="redis", channel="x" * 81), "80 characters", "--channel"),
    ],
)
def test_what_names_no_bus_is_refused_without_its_password(options, what, mend):
    with pytest.raises(ConfigurationError) as caught:
        choose_bus(options)
    assert what in caught.value.what
    assert mend in caught.value.mend
    assert "secret" not in caught.value.what + caught.value.mend


def test_a_bus_is_shown_without_its_password_and_its_query():
    assert SharedBus(POSTGRES, "c").shown == "postgresql://pmw:***@db:5432/calls"
    assert SharedBus("redis://h:1/2?password=secret", "c").shown == "redis://h:1/2"
    assert SharedBus("postgresql://pmw@db/calls", "c").shown == "postgresql://pmw@db/calls"


@pytest.mark.parametrize("sign", "/#?@[")
@pytest.mark.parametrize("scheme", ["redis", "postgresql"])
async def test_a_password_in_which_nothing_is_escaped_is_not_shown(scheme, sign):
    bus = SharedBus(f"{scheme}://pmw:4711{sign}0815@127.0.0.1:1/0", "c")
    shown = [bus.shown, bus.told, shown_url(bus.url)]
    with pytest.raises(PmwError) as caught:
        async with open_network(bus):
            pass
    shown += [caught.value.what, caught.value.mend]
    with suppress(ConfigurationError):
        shown += [str(check) for check in await examine(bus)]
    assert not [text for text in shown if "4711" in text or "0815" in text]


def test_a_bus_whose_query_may_be_part_of_a_password_is_hardly_shown():
    assert SharedBus("redis://h:1/2?password=a@b", "c").shown == "redis://***"


def test_a_bus_of_stock_pipecats_carries_one_call_a_channel():
    stock, ours = SharedBus("redis+pubsub://r", "c"), SharedBus("redis://r", "c")
    assert stock.room(None, otherwise=20) == stock.room(1, otherwise=20) == 1
    assert (ours.room(None, otherwise=20), ours.room(3, otherwise=20)) == (20, 3)
    with pytest.raises(ConfigurationError, match="one call a channel"):
        stock.room(2, otherwise=20)
