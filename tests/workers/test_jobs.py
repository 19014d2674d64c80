"""Jobs end, whatever happens: with an answer, or with an error that says why."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from pipecat.bus import BusJobCancelMessage, BusJobRequestMessage, BusJobResponseMessage
from pipecat.pipeline.job_context import (
    JobError,
    JobGroupError,
    JobGroupParams,
    JobParams,
    JobStatus,
)
from pipecat.pipeline.job_decorator import job
from pipecat.workers.base_worker import BaseWorker

from pipecat_workers_cli.buses.local import LocalBus
from pipecat_workers_cli.call.run import running
from pipecat_workers_cli.workers.jobs import (
    Answering,
    JobFailed,
    JobsEnd,
    question_of,
    with_ending_jobs,
)
from tests.waiting import until


class Asker(JobsEnd, BaseWorker):
    """Asks; has nothing to say itself."""


class Echo(Answering, BaseWorker):
    """Answers a word with itself; `slow` waits to be let go, `bad` and `no` fail."""

    def __init__(self, name: str = "echo", **kwargs) -> None:
        super().__init__(name, **kwargs)
        self.began: list[str] = []
        self.ran = 0
        self.most_at_once = 0
        self.go = asyncio.Event()
        self.cancelled: list[str] = []

    async def answer(self, job: BusJobRequestMessage) -> dict:
        question = question_of(job)
        self.began.append(question)
        self.ran += 1
        self.most_at_once = max(self.most_at_once, self.ran)
        try:
            if question == "bad":
                raise ValueError("the password is hunter2")
            if question == "no":
                raise JobFailed("that is not known")
            if question == "slow":
                await self.report(job, "thinking")
                await self.go.wait()
            return {"answer": question}
        except asyncio.CancelledError:
            self.cancelled.append(question)
            raise
        finally:
            self.ran -= 1


class Strange(BaseWorker):
    """A stranger's worker, with handlers of its own."""

    @job(name="fail")
    async def on_fail(self, message: BusJobRequestMessage) -> None:
        raise RuntimeError("boom")

    @job(name="twice", sequential=True)
    async def on_twice(self, message: BusJobRequestMessage) -> None:
        await self.send_job_response(message.job_id, {"twice": 2 * message.payload["n"]})

    async def on_job_request(self, message: BusJobRequestMessage) -> None:
        raise KeyError("nothing")


@asynccontextmanager
async def together(*others: BaseWorker) -> AsyncIterator[tuple[Asker, LocalBus]]:
    bus, asker = LocalBus(), Asker("asker")
    async with running([asker, *others], bus):
        yield asker, bus


async def ask(asker: BaseWorker, word: str, *, of: str = "echo", within: float | None = 5) -> dict:
    async with asker.job(of, params=JobParams(payload={"question": word}, timeout=within)) as one:
        pass
    return one.response


async def test_a_job_comes_back_with_its_answer():
    async with together(Echo()) as (asker, _):
        assert await ask(asker, "hello") == {"answer": "hello"}


async def test_jobs_are_answered_one_at_a_time_each_to_its_asker_in_their_order():
    echo, second = Echo(), Asker("second")
    async with together(echo, second) as (asker, _):
        words = [str(number) for number in range(20)]
        askers = [asker, second] * 10
        answers = await asyncio.gather(*map(ask, askers, words))
    assert [answer["answer"] for answer in answers] == words
    assert echo.began == words
    assert echo.most_at_once == 1


@pytest.mark.parametrize(
    ("word", "told"), [("no", "that is not known"), ("bad", "echo failed: ValueError")]
)
async def test_a_handler_that_fails_gives_an_error_without_its_secrets(word, told):
    async with together(Echo()) as (asker, _):
        began = time.monotonic()
        failing = asker.job("echo", params=JobParams(payload={"question": word}, timeout=5))
        with pytest.raises(JobError):
            async with failing:
                pass
        assert failing.response == {"error": told}
        assert time.monotonic() - began < 1
        assert await ask(asker, "next") == {"answer": "next"}


@pytest.mark.parametrize("name", ["fail", None, "no such handler"])
async def test_a_strangers_handler_that_raises_gives_an_error(name):
    async with together(with_ending_jobs(Strange)("strange")) as (asker, _):
        began = time.monotonic()
        with pytest.raises(JobError):
            async with asker.job("strange", params=JobParams(name=name, timeout=5)):
                pass
        assert time.monotonic() - began < 1


async def test_a_strangers_handler_that_answers_is_left_alone():
    async with together(with_ending_jobs(Strange)("strange")) as (asker, _):
        params = JobParams(name="twice", payload={"n": 21}, timeout=5)
        async with asker.job("strange", params=params) as one:
            pass
        assert one.response == {"twice": 42}


def test_a_class_whose_jobs_end_already_is_only_given_what_it_lacks():
    assert issubclass(with_ending_jobs(Echo), Echo)
    assert with_ending_jobs(Strange).__name__ == "Strange"
    assert with_ending_jobs(Strange).__module__ == Strange.__module__


async def test_a_job_for_nobody_ends_within_a_second_even_without_a_timeout():
    async with together() as (asker, _):
        began = time.monotonic()
        with pytest.raises(JobGroupError, match="no worker is called nobody"):
            await ask(asker, "hello", of="nobody", within=None)
        assert time.monotonic() - began < 1


async def test_a_worker_that_arrives_a_moment_later_is_asked():
    async with together() as (asker, _):
        asking = asyncio.create_task(ask(asker, "hello", of="late"))
        await asyncio.sleep(0.05)
        await asker.worker_runner.add_workers(Echo("late"))
        assert await asking == {"answer": "hello"}


async def test_a_job_for_an_inactive_worker_ends_within_a_second():
    async with together(Echo(active=False)) as (asker, _):
        began = time.monotonic()
        failing = asker.job("echo", params=JobParams(payload={"question": "hello"}))
        with pytest.raises(JobError):
            async with failing:
                pass
        assert failing.response == {"error": "echo is not active"}
        assert time.monotonic() - began < 1


async def test_a_missing_answer_is_an_error_at_the_timeout_and_the_worker_goes_on():
    echo = Echo()
    async with together(echo) as (asker, _):
        began = time.monotonic()
        with pytest.raises(JobError, match="timeout"):
            await ask(asker, "slow", within=0.2)
        assert 0.2 <= time.monotonic() - began < 1
        assert await ask(asker, "next") == {"answer": "next"}
    assert echo.cancelled == ["slow"]


async def test_a_wait_for_an_answer_that_is_cancelled_cancels_the_job():
    echo = Echo()
    async with together(echo) as (asker, _):
        asking = asyncio.create_task(ask(asker, "slow"))
        await until(lambda: echo.began)
        waiting = asyncio.create_task(ask(asker, "behind it"))
        asking.cancel()
        assert await waiting == {"answer": "behind it"}
        assert echo.cancelled == ["slow"]
        assert not asker.job_groups


async def test_an_answer_that_comes_before_the_request_returns_ends_the_iteration():
    class Eager(Asker):
        """Has its answer before the context is entered."""

        async def create_job_group_and_request_job(self, worker_names, *, params=None, **_):
            group = await super().create_job_group_and_request_job(worker_names, params=params)
            await group.wait()
            return group

    bus, eager = LocalBus(), Eager("eager")
    async with running([eager, Echo(), Echo("other")], bus):
        async with asyncio.timeout(2):
            async with eager.job("echo", params=JobParams(payload={"q": "early"})) as one:
                assert [event async for event in one] == []
            params = JobGroupParams(payload={"q": "early"})
            async with eager.job_group("echo", "other", params=params) as group:
                assert [event async for event in group] == []
        assert one.response == {"answer": "early"}
        assert group.responses == {"echo": {"answer": "early"}, "other": {"answer": "early"}}


async def test_updates_can_be_iterated_over_while_the_answer_is_made():
    echo = Echo()
    async with together(echo) as (asker, _):
        params = JobParams(payload={"question": "slow"}, timeout=5)
        async with asker.job("echo", params=params) as one:
            async for event in one:
                assert event.data == {"type": "progress", "text": "thinking"}
                echo.go.set()
    assert one.response == {"answer": "slow"}


async def test_a_cancel_that_overtakes_its_request_keeps_the_handler_from_running():
    echo = Echo()
    async with together(echo) as (asker, bus):
        await bus.send(BusJobCancelMessage(source="asker", target="echo", job_id="j1"))
        await bus.send(
            BusJobRequestMessage(source="asker", target="echo", job_id="j1", payload={"q": "late"})
        )
        assert await ask(asker, "next") == {"answer": "next"}
    assert echo.began == ["next"]


async def test_a_stock_asker_is_answered_for_what_it_sends_to_ours():
    echo, stock = Echo(active=False), BaseWorker("stock")
    async with together(echo, stock) as (_, bus):
        with pytest.raises(JobError):
            async with stock.job("echo", params=JobParams(payload={"q": "hi"}, timeout=5)):
                pass
        sent = [m for _, m in bus.recent if isinstance(m, BusJobResponseMessage)]
    assert [message.status for message in sent] == [JobStatus.FAILED]


async def test_a_thousand_jobs_leave_nothing_behind(monkeypatch):
    """Pipecat's own adds a watcher to the registry for each; this fails if it does again."""
    async with together(Echo()) as (asker, _):
        await ask(asker, "first")
        watched = []
        monkeypatch.setattr(asker.registry, "watch", lambda *args: watched.append(args))
        tasks = len(asyncio.all_tasks())
        for number in range(1_000):
            assert await ask(asker, str(number)) == {"answer": str(number)}
        assert not watched
        assert len(asyncio.all_tasks()) == tasks
        assert not asker.job_groups


def test_a_payload_reads_as_words():
    def job_of(payload):
        return BusJobRequestMessage(source="a", target="b", job_id="j", payload=payload)

    assert question_of(job_of({"question": "why?"})) == "why?"
    assert question_of(job_of({"topic": "cats", "side": "for"})) == "topic: cats\nside: for"
    assert question_of(job_of(None)) == ""
