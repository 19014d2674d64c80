import asyncio
from contextlib import asynccontextmanager

import msgspec
import pytest
from pipecat.bus import (
    BusFrameMessage,
    BusJobRequestMessage,
    BusJobResponseMessage,
    BusJobUpdateMessage,
)
from pipecat.frames.frames import LLMTextFrame
from pipecat.pipeline.job_context import JobError, JobGroupParams, JobParams, JobStatus
from pipecat.pipeline.job_decorator import job
from pipecat.processors.frame_processor import FrameDirection
from pipecat.workers.base_worker import BaseWorker
from pipecat.workers.runner import WorkerRunner

from pipecat_workers_cli.buses.local import RECENT_MESSAGES, LocalBus, open_bus
from pipecat_workers_cli.traffic.entry import Entry
from pipecat_workers_cli.traffic.kinds import Kind
from pipecat_workers_cli.traffic.tap import RECENT_ENTRIES, Tap
from tests.waiting import until


class Specialist(BaseWorker):
    """Answers when told to, so that a test can look in between."""

    def __init__(self, name):
        super().__init__(name)
        self.asked = asyncio.Event()
        self.answer = asyncio.Event()

    @job(name="think")
    async def on_think(self, message: BusJobRequestMessage) -> None:
        self.asked.set()
        await self.answer.wait()
        status = JobStatus.FAILED if message.payload else JobStatus.COMPLETED
        await self.send_job_response(message.job_id, {}, status=status)


@asynccontextmanager
async def running(*workers):
    """Run workers on a bus of their own, watched by a tap as the call "c1"."""
    tap = Tap()
    async with asyncio.timeout(10), open_bus() as bus:
        names = [worker.name for worker in workers]
        tap.open_call("c1", bus, recipe="test", workers=names[1:], main=names[0])
        runner = WorkerRunner(bus=bus, handle_sigint=False)
        await runner.add_workers(*workers)
        ready = asyncio.Event()

        @runner.event_handler("on_ready")
        async def on_ready(_runner):
            ready.set()

        run = asyncio.create_task(runner.run(auto_end=False))
        await ready.wait()
        try:
            yield tap, bus
        finally:
            await runner.cancel("the test is over")
            await run


def bot(text, *, call="c1", worker="greeter", at_ms=0):
    return Entry(event="bot", call=call, at_ms=at_ms, worker=worker, text=text)


def edge(snapshot, kind, source, target):
    found = [e for e in snapshot.edges if (e.kind, e.source, e.target) == (kind, source, target)]
    assert len(found) == 1, f"{kind} {source} -> {target}: {found}"
    return found[0]


async def test_a_job_is_followed_from_request_to_answer():
    main, critic = BaseWorker("main"), Specialist("critic")
    async with running(main, critic) as (tap, _):
        async with main.job("critic", params=JobParams(name="think", timeout=5)):
            await critic.asked.wait()
            (view,) = tap.snapshot().jobs
            assert (view.call, view.requester, view.worker) == ("c1", "main", "critic")
            assert (view.state, view.running) == ("started", True)
            await critic.send_job_update(view.id, {"half": True})
            assert tap.snapshot().jobs[0].state == "update"
            critic.answer.set()
        (view,) = tap.snapshot().jobs
        assert (view.state, view.running) == ("completed", False)
        assert edge(tap.snapshot(), Kind.JOB_REQUEST, "main", "critic").count == 1
        assert edge(tap.snapshot(), Kind.JOB_RESPONSE, "critic", "main").count == 1


async def test_a_job_without_an_answer_in_time_is_a_timeout_and_stays_one():
    main, critic = BaseWorker("main"), Specialist("critic")
    async with running(main, critic) as (tap, bus):
        with pytest.raises(JobError):
            async with main.job("critic", params=JobParams(name="think", timeout=0.05)):
                pass
        # Pipecat lets the cancelled worker answer as well.
        await until(lambda: any(isinstance(m, BusJobResponseMessage) for _, m in bus.recent))
        assert [view.state for view in tap.snapshot().jobs] == ["timeout"]


async def test_the_workers_of_a_group_are_jobs_of_their_own_though_they_share_an_id():
    main, critic, analyst = BaseWorker("main"), Specialist("critic"), Specialist("analyst")
    async with running(main, critic, analyst) as (tap, _):
        params = JobGroupParams(name="think", timeout=5)
        async with main.job_group("critic", "analyst", params=params):
            await critic.asked.wait()
            await analyst.asked.wait()
            critic.answer.set()
            await until(lambda: not tap.snapshot().jobs[-1].running)
            states = {view.worker: view.state for view in tap.snapshot().jobs}
            assert states == {"critic": "completed", "analyst": "started"}
            analyst.answer.set()
        assert len({view.id for view in tap.snapshot().jobs}) == 1


async def test_whoever_was_activated_and_not_deactivated_is_active():
    main = BaseWorker("main")
    greeter, support = BaseWorker("greeter", active=False), BaseWorker("support", active=False)
    async with running(main, greeter, support) as (tap, _):
        assert tap.snapshot().calls[0].active == ()
        await main.activate_worker("greeter")
        assert tap.snapshot().calls[0].active == ("greeter",)
        for one, other in ((greeter, support), (support, greeter), (greeter, support)):
            # It hands over only once it has heard that it may.
            await until(lambda one=one: one.active)
            await one.activate_worker(other.name, deactivate_self=True)
        snapshot = tap.snapshot()
        assert snapshot.calls[0].active == ("support",)
        active = [(w.name, w.main, w.active_in) for w in snapshot.workers]
        assert active == [("main", True, 0), ("greeter", False, 0), ("support", False, 1)]


async def test_the_runner_of_each_call_goes_by_one_name():
    async with running(BaseWorker("main")) as (tap, _):
        await until(lambda: any(e.kind is Kind.REGISTRY for e in tap.snapshot().edges))
        assert {e.source for e in tap.snapshot().edges} == {"main", "runner"}


async def test_an_ended_call_stays_in_the_sums_and_leaves_nothing_else():
    tap = Tap()
    for number in range(1, 101):
        bus = LocalBus()
        call = f"c{number}"
        tap.open_call(call, bus, recipe="test", workers=["greeter"], main="main")
        frame = LLMTextFrame("hello")
        down = FrameDirection.DOWNSTREAM
        await bus.send(BusFrameMessage(source="greeter", frame=frame, direction=down))
        tap.add(bot("hello", call=call))
        tap.close_call(call)
        tap.close_call(call)
    snapshot = tap.snapshot()
    assert (snapshot.calls, snapshot.jobs, snapshot.ended) == ((), (), 100)
    assert [(e.kind, e.source, e.count) for e in snapshot.edges] == [(Kind.TEXT, "greeter", 100)]
    assert snapshot.workers[1].turns == 100


async def test_a_call_that_ends_between_two_snapshots_changes_no_count():
    tap, bus = Tap(), LocalBus()
    tap.open_call("c1", bus, recipe="test", workers=[], main="main")
    await bus.send(BusJobRequestMessage(source="main", target="critic", job_id="1"))
    before = edge(tap.snapshot(), Kind.JOB_REQUEST, "main", "critic").count
    tap.close_call("c1")
    assert edge(tap.snapshot(), Kind.JOB_REQUEST, "main", "critic").count == before == 1


async def test_entries_reach_subscribers_at_once_until_they_leave():
    tap = Tap()
    one: list[Entry] = []
    other: list[Entry] = []
    leave = tap.subscribe(one.append)
    tap.subscribe(other.append)
    tap.add(bot("first"))
    leave()
    leave()
    tap.add(bot("second"))
    assert [entry.text for entry in one] == ["first"]
    assert [entry.text for entry in other] == ["first", "second"]


async def test_a_subscriber_that_fails_stops_nobody():
    tap = Tap()
    got: list[Entry] = []

    def fail(entry):
        raise RuntimeError("the page is gone")

    tap.subscribe(fail)
    tap.subscribe(got.append)
    tap.add(bot("still here"))
    assert [entry.text for entry in got] == ["still here"]


async def test_turns_and_last_words_are_kept_by_worker_and_by_call():
    tap = Tap()
    tap.open_call("c1", LocalBus(), recipe="test", workers=["greeter"], main="main")
    tap.open_call("c2", LocalBus(), recipe="test", workers=["greeter"], main="main")
    tap.add(bot("one", call="c1"))
    tap.add(bot("two " * 1000, call="c2"))
    tap.add(bot("three", call="c2"))
    tap.add(Entry(event="user", call="c2", at_ms=1, text="and?"))
    snapshot = tap.snapshot()
    assert [(w.name, w.turns, w.words) for w in snapshot.workers] == [
        ("main", 0, ""),
        ("greeter", 3, "three"),
    ]
    assert [(call.call, call.turns) for call in snapshot.calls] == [("c1", 1), ("c2", 2)]
    assert len(snapshot.recent) == 4


async def test_trouble_of_the_session_is_an_error_of_no_call():
    tap = Tap()
    got: list[Entry] = []
    tap.subscribe(got.append)
    tap.open_call(
        "c1", LocalBus(), recipe="test", workers=[], main="main", recipe_hash="c39ad302a3ce"
    )
    tap.tell_trouble("mine.toml:3: there is no such worker")
    (entry,) = got
    assert (entry.event, entry.call) == ("error", "")
    assert entry.text == "mine.toml:3: there is no such worker"
    (call,) = tap.snapshot().calls
    assert (call.turns, call.hash) == (0, "c39ad302a3ce")


async def test_what_is_kept_has_bounds():
    tap = Tap()
    for number in range(RECENT_ENTRIES + 50):
        tap.add(bot("x", worker=f"worker {number}"))
    snapshot = tap.snapshot()
    assert len(snapshot.recent) == RECENT_ENTRIES
    assert len(snapshot.workers) <= 200


async def test_jobs_whose_messages_came_too_fast_are_left_out_and_counted():
    tap, bus = Tap(), LocalBus()
    tap.open_call("c1", bus, recipe="test", workers=["critic"], main="main")
    await bus.send(BusJobRequestMessage(source="main", target="critic", job_id="old"))
    assert [view.id for view in tap.snapshot().jobs] == ["old"]
    for _ in range(RECENT_MESSAGES + 10):
        await bus.send(BusJobUpdateMessage(source="critic", target="main", job_id="busy"))
    snapshot = tap.snapshot()
    assert snapshot.left_out == 10
    assert [(v.id, v.requester, v.worker, v.state) for v in snapshot.jobs] == [
        ("busy", "main", "critic", "update")
    ]
    assert edge(snapshot, Kind.JOB_UPDATE, "critic", "main").count == RECENT_MESSAGES + 10


def test_a_worker_keeps_how_long_its_latest_answers_took():
    def said(**fields) -> Entry:
        return Entry(event="bot", call="c1", at_ms=0, **fields)

    tap = Tap()
    tap.add(said(worker="support", text="Yes."))
    for ms in (*[9_000] * 100, *[100] * 99, 300):
        tap.add(said(worker="support", text="Yes.", latency_ms=ms))
    [support] = tap.snapshot().workers
    assert (support.latency_ms, support.median_ms, support.turns) == (300, 100, 201)
    tap.add(said(worker="greeter", text="Hello."))
    greeter = tap.snapshot().workers[-1]
    assert (greeter.latency_ms, greeter.median_ms) == (None, None)


async def test_jobs_of_calls_that_ended_tell_how_long_jobs_usually_take():
    tap = Tap()
    for call in ("c1", "c2"):
        bus = LocalBus()
        timeouts = {("main", "critic"): 8.0}
        tap.open_call(call, bus, recipe="test", workers=[], main="main", timeouts=timeouts)
        await bus.send(BusJobRequestMessage(source="main", target="critic", job_id="1"))
        assert tap.snapshot().jobs[0].timeout == 8.0
        status = JobStatus.COMPLETED
        answer = BusJobResponseMessage(
            source="critic", target="main", job_id="1", status=status, response={}
        )
        await bus.send(answer)
        tap.close_call(call)
    asked = edge(tap.snapshot(), Kind.JOB_REQUEST, "main", "critic")
    assert asked.p50 is not None
    assert 0.0 <= asked.p50 <= asked.p95 < 5.0


async def test_what_came_too_late_is_counted_while_the_call_goes_on_and_after_it():
    tap = Tap()
    dropped: dict[str, int] = {}
    tap.open_call("c1", LocalBus(), recipe="t", workers=["old"], main="main", dropped=dropped)
    dropped["old"] = 7
    assert [worker.dropped for worker in tap.snapshot().workers] == [0, 7]
    tap.close_call("c1")
    assert [worker.dropped for worker in tap.snapshot().workers] == [0, 7]


HALF = "\ud83d"  # of a surrogate pair, as a model's JSON may have it


async def test_half_a_surrogate_pair_in_what_a_model_said_stops_nobody():
    tap, bus = Tap(), LocalBus()
    told: list[Entry] = []
    tap.open_call("c1", bus, recipe="test", workers=["ann"], main="main")
    tap.watch(told.extend)
    down = FrameDirection.DOWNSTREAM
    frame = LLMTextFrame(f"boots {HALF}")
    await bus.send(BusFrameMessage(source="ann", frame=frame, direction=down))
    payload = {f"key {HALF}": [f"boots {HALF}"]}
    await bus.send(BusJobRequestMessage(source="ann", target="x", job_id="1", payload=payload))
    tap.add(bot(f"boots {HALF}"))
    assert [entry.event for entry in told] == ["message", "message", "bot"]
    assert "boots ?" in msgspec.json.encode(told).decode()
    assert [*tap.remembered()] == told


async def test_a_message_that_cannot_be_told_is_left_out_and_the_next_ones_are_told():
    class Odd:
        def __str__(self):
            raise RuntimeError("not today")

    tap, bus = Tap(), LocalBus()
    told: list[Entry] = []
    tap.open_call("c1", bus, recipe="test", workers=["ann"], main="main")
    async with tap.collecting():
        tap.watch(told.extend)
        request = BusJobRequestMessage(source="ann", target="x", job_id="1", payload={Odd(): 1})
        await bus.send(request)
        await until_told(told, 1)
        await bus.send(BusJobRequestMessage(source="ann", target="x", job_id="2"))
        await until_told(told, 2)
    assert [(entry.event, entry.count) for entry in told] == [("left_out", 1), ("message", None)]


async def until_told(told, count):
    async with asyncio.timeout(5):
        while len(told) < count:  # noqa: ASYNC110  # the timer of the tap tells
            await asyncio.sleep(0.01)
