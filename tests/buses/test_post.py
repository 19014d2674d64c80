"""What a process's post promises, on a real engine and whatever happens to that."""

import asyncio
import itertools
import time
from contextlib import AsyncExitStack, asynccontextmanager

import pytest

from pipecat_workers_cli.buses import outbox, post
from pipecat_workers_cli.buses.network import BusDown
from pipecat_workers_cli.buses.outbox import WAITING_LETTERS, Bounds, Outbox
from pipecat_workers_cli.buses.post import open_post
from pipecat_workers_cli.wire import letter as wire
from pipecat_workers_cli.wire.letter import Letter, Parcel
from pipecat_workers_cli.wire.limits import MESSAGE_BYTES, PARCEL_BYTES, Refused
from tests.waiting import until

CALL, WORKER = "call", "ann"
on_redis = pytest.mark.parametrize("server", ["redis"], indirect=True)  # the engine is no matter


def letter(number, *, size=0):
    return Letter(CALL, WORKER, 1001, b"%d " % number + b"x" * size)


class Reader:
    """Takes the letters of the call in one process."""

    def __init__(self):
        self.letters: list[Letter] = []
        self.senders: set[str] = set()

    def __call__(self, sender, letter):
        self.senders.add(sender)
        self.letters.append(letter)

    @property
    def numbers(self):
        return [int(letter.body.split()[0]) for letter in self.letters]

    async def has(self, count):
        await until(lambda: len(self.letters) >= count)


@pytest.fixture
async def join_post(server, channel):
    """Opens a post that takes the call's letters, on a place of its own."""
    async with AsyncExitStack() as stack:

        async def join():
            network = await stack.enter_async_context(server.open_network(channel))
            joined = await stack.enter_async_context(open_post(network))
            reader = Reader()
            stack.enter_context(joined.taking(CALL, [WORKER], reader))
            return joined, reader

        yield join


async def test_letters_come_once_in_order_and_in_few_parcels(join_post):
    one, _ = await join_post()
    other, read = await join_post()
    for number in range(1000):
        one.send(other.address, letter(number))
    await read.has(1000)
    assert read.numbers == list(range(1000))
    assert read.senders == {one.address}
    assert (one.counts.sent, other.counts.taken, other.counts.twice) == (1000, 1000, 0)


async def test_connections_cut_under_load_lose_nothing_and_repeat_nothing(server, join_post):
    one, _ = await join_post()
    other, read = await join_post()
    for number in range(1500):
        one.send(other.address, letter(number))
        if number % 10 == 0:
            await asyncio.sleep(0.001)
        if number % 500 == 250:
            await asyncio.to_thread(server.cut)
    await read.has(1500)
    assert read.numbers == list(range(1500))
    assert (one.counts.lost, one.counts.shed) == (0, 0)


async def test_what_was_queued_while_the_engine_was_dead_arrives(server, join_post):
    one, _ = await join_post()
    other, read = await join_post()
    one.send(other.address, letter(0))
    await read.has(1)
    await asyncio.to_thread(server.stop)
    await until(lambda: one.failure and other.failure)
    for number in range(1, 50):
        one.send(other.address, letter(number))
    await asyncio.to_thread(server.start)
    back = time.monotonic()
    await read.has(50)
    assert read.numbers == list(range(50))
    assert time.monotonic() - back < 5
    await until(lambda: one.failure is other.failure is None)
    assert one.counts.failures == 1


async def test_letters_wait_for_an_inbox_that_an_empty_engine_is_yet_to_get(server, join_post):
    one, _ = await join_post()
    other, read = await join_post()
    await asyncio.to_thread(server.stop)
    await asyncio.to_thread(server.start, empty=True)
    for number in range(50):
        one.send(other.address, letter(number))
    await read.has(50)
    assert read.numbers == list(range(50))


@on_redis
async def test_beyond_the_bound_sound_is_dropped_first_and_the_oldest_of_it(server, join_post):
    one, _ = await join_post()
    other, read = await join_post()
    await asyncio.to_thread(server.stop)
    for number in range(WAITING_LETTERS + 10):
        one.send(other.address, letter(number), audio=number % 2 == 1)
    assert one.counts.shed in (9, 10)  # one parcel may be under way
    await asyncio.to_thread(server.start)
    await read.has(WAITING_LETTERS)
    gone = set(range(WAITING_LETTERS + 10)) - set(read.numbers)
    assert all(number % 2 == 1 and number < 25 for number in gone)
    assert read.numbers == sorted(read.numbers)
    assert one.counts.lost == 0


@on_redis
async def test_what_waits_is_bounded_without_sound_too(server, join_post):
    one, _ = await join_post()
    other, read = await join_post()
    await asyncio.to_thread(server.stop)
    queued = [one.send(other.address, letter(number, size=1024 * 1024)) for number in range(20)]
    assert one.counts.lost == queued.count(False)
    assert one.counts.lost in (4, 5)
    await asyncio.to_thread(server.start)
    assert await one.sent(other.address, within=10)
    await read.has(20 - one.counts.lost)
    assert read.numbers == list(range(20 - one.counts.lost))


@pytest.mark.parametrize(("most", "name", "body"), [(65_536, 39, 40), (1_048_576, 200, 60)])
def test_a_parcel_of_many_small_letters_is_no_larger_than_the_other_end_takes(most, name, body):
    outbox = Outbox("here", itertools.count(1), Bounds(parcel_bytes=most))
    for _ in range(WAITING_LETTERS):
        outbox.add(Letter("c" * 8, "\u20ac" * name, 2**40, b"x" * body), audio=False)
    assert most / 4 < len(outbox.parcel()) <= most


@on_redis
async def test_what_is_for_nobody_is_dropped_and_holds_up_nobody(monkeypatch, join_post):
    monkeypatch.setattr(outbox, "GONE_AFTER", 0.3)
    one, _ = await join_post()
    other, read = await join_post()
    for number in range(3):
        one.send("nobody", letter(number))
    assert not await one.sent("nobody", within=3)
    one.send(other.address, letter(0))
    assert await one.sent(other.address, within=3)
    await read.has(1)
    assert one.counts.lost == 3


@on_redis
async def test_an_inbox_that_was_gone_for_long_hears_all_that_comes_later(
    monkeypatch, server, channel, join_post
):
    monkeypatch.setattr(outbox, "GONE_AFTER", 0.3)
    one, _ = await join_post()
    async with server.open_network(channel) as network:
        for _ in range(3):
            one.send(network.address, letter(0))
            assert await one.sent(network.address, within=3)
        numbers = [wire.decode(parcel).seq for parcel in await network.receive()]
        one.send("nobody", letter(1))
        assert not await one.sent("nobody", within=3)  # and what is known of it is forgotten
        one.send(network.address, letter(2))
        await one.sent(network.address, within=3)
        numbers += [wire.decode(parcel).seq for parcel in await network.receive()]
    assert numbers == sorted(set(numbers))


@on_redis
async def test_nothing_is_kept_of_whoever_has_what_was_sent(join_post):
    one, _ = await join_post()
    other, _ = await join_post()
    one.send(other.address, letter(0))
    assert await one.sent(other.address, within=3)
    assert not one._outboxes


@on_redis
async def test_a_process_that_lives_is_heard_and_one_that_died_is_not(join_post, server, channel):
    one, _ = await join_post()
    other, _ = await join_post()
    with one.keeping(other.address), one.keeping("nobody"), other.keeping(one.address):
        await asyncio.sleep(2 * post.ALIVE_EVERY)
        assert one.silent_for(other.address) < 1.2 * post.ALIVE_EVERY
        assert one.silent_for("nobody") >= 1.9 * post.ALIVE_EVERY
    assert one.silent_for("nobody") == 0


@on_redis
async def test_while_the_engine_is_dead_nobody_is_taken_for_dead_once_it_is_back(server, join_post):
    one, _ = await join_post()
    other, _ = await join_post()
    with one.keeping(other.address), other.keeping(one.address):
        await asyncio.to_thread(server.stop)
        await until(lambda: one.silent_for(other.address) > 2)
        await asyncio.to_thread(server.start)
        await until(lambda: one.failure is None)
        assert one.silent_for(other.address) < 1


def parcels_that_are_none(sender):
    def parcel(seq, *letters):
        return wire._encode(Parcel(sender=sender, seq=seq, letters=letters))

    nested = b"\x91" * 10_000
    return {
        f"no parcel of version {wire.VERSION}": [
            b"", b"\x00", b"hello", nested, b"\xff" * 1000, b'{"__type__": "os.system"}',
            wire._encode([2, sender, 1, []]), parcel(1)[:-1],
        ],
        f"a parcel of over {PARCEL_BYTES:,} bytes": [b"x" * 20_000_000],
        "it was for no call that is here": [
            parcel(2, Letter("other", WORKER, 1, b"")),
            parcel(3, Letter(CALL, "bob", 1, b"")),
        ],
        "KeyError when it was taken": [parcel(4, letter(-1))],
        "it says more than it may": [parcel(5, letter(-2)), parcel(6, letter(-2))],
    }  # fmt: skip


@on_redis
async def test_what_is_no_letter_is_refused_counted_and_told_once_a_kind(
    server, channel, join_post, log_lines
):
    one, _ = await join_post()
    other, read = await join_post()

    def take(sender, letter):
        if letter.body == letter_of[-1]:
            raise KeyError("a bug")
        if letter.body == letter_of[-2]:
            raise Refused("it says more than it may")
        read(sender, letter)

    letter_of = {number: letter(number).body for number in (-1, -2)}
    wrong = parcels_that_are_none("stranger")
    with other.taking(CALL, [WORKER], take):
        for parcels in wrong.values():
            for parcel in parcels:
                await one.network.send({other.address: parcel})
        one.send(other.address, letter(1))
        await read.has(1)
    assert other.counts.refused == {why: len(parcels) for why, parcels in wrong.items()}
    told = [line for line in log_lines if "a letter was dropped" in line]
    assert len(told) == len(wrong)
    assert read.numbers == [1]


@on_redis
async def test_a_letter_larger_than_any_may_be_is_dropped_by_whoever_sends_it(join_post):
    one, _ = await join_post()
    other, read = await join_post()
    assert not one.send(other.address, letter(0, size=MESSAGE_BYTES))
    assert one.send(other.address, letter(1))
    await read.has(1)
    assert (read.numbers, one.counts.lost) == ([1], 1)


@asynccontextmanager
async def fails(network, method, error):
    """Let a method of a network fail as no engine makes it fail."""
    working = getattr(network, method)

    async def failing(*_):
        raise error

    setattr(network, method, failing)
    try:
        yield
    finally:
        setattr(network, method, working)


@on_redis
@pytest.mark.parametrize("method", ["send", "receive"])
@pytest.mark.parametrize("error", [ValueError("a bug"), BusDown("it is away", mend="wait")])
async def test_an_error_of_any_kind_is_told_once_and_outlived(method, error, join_post, log_lines):
    one, read = await join_post()
    other, _ = await join_post()
    async with fails(one.network, method, error):
        for number in range(5):
            one.send(other.address, letter(number))
            other.send(one.address, letter(number))
            await asyncio.sleep(0.1)
        assert one.failure
    await read.has(5)
    assert await one.sent(other.address, within=3)
    assert read.numbers == list(range(5))
    await until(lambda: one.failure is None)
    assert len([line for line in log_lines if "going on as soon as it is back" in line]) == 1
    assert one.counts.failures == 1


@on_redis
async def test_many_letters_at_once_let_others_have_their_turn(join_post):
    one, _ = await join_post()
    other, read = await join_post()
    for number in range(3000):
        one.send(other.address, letter(number))
    most = before = 0
    while before < 3000:
        await asyncio.sleep(0)
        most, before = max(most, len(read.letters) - before), len(read.letters)
    assert most <= post.LETTERS_AT_ONCE


@on_redis
@pytest.mark.parametrize("fault", ["stop", "freeze"])
async def test_leaving_takes_no_longer_than_three_seconds(fault, server, channel):
    async with server.open_network(channel) as network, open_post(network) as leaving:
        await asyncio.to_thread(getattr(server, fault))
        leaving.send("nobody", letter(0))
        began = time.monotonic()
    assert time.monotonic() - began < 3


@on_redis
async def test_what_waits_is_sent_before_a_process_leaves(server, channel, join_post):
    other, read = await join_post()
    async with server.open_network(channel) as network, open_post(network) as leaving:
        for number in range(10):
            leaving.send(other.address, letter(number))
    await read.has(10)
