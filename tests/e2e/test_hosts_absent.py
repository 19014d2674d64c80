"""Workers that are not there, not ready or not willing: whoever asks them hears so at once."""

import asyncio
import time

from pipecat.bus import BusJobCancelMessage, BusJobRequestMessage
from pipecat.pipeline.job_context import JobError, JobGroupError, JobParams

from pipecat_workers_cli.workers.main import MainWorker
from tests.e2e.conftest import EITHER
from tests.e2e.shops import Shop, until

WELCOME = "Hello."
BUSY = "I'm sorry, everybody is busy just now. Please stay on the line."
STAYS = "I stay: vault is not there now; go on yourself"


async def answer_of(main: MainWorker, worker: str, question: str) -> object:
    """Ask a worker without a timeout; return its answer, or the error's words."""
    params = JobParams(name="order", payload={"question": question})
    job = main.job(worker, params=params)
    try:
        async with job:
            pass
    except JobError:
        return job.response
    except JobGroupError as error:
        return str(error)
    return job.response


@EITHER
async def test_whoever_asks_a_worker_elsewhere_always_gets_an_answer_or_can_cancel(shop: Shop):
    await shop.opened("clerk", "till", "stock")
    async with shop.callers(1) as (caller,):
        await caller.hears(WELCOME, within=10)
        main = caller.call.call.main
        await until(lambda: "stock" in main.bus.elsewhere, main.bus.elsewhere, within=5)
        await gets_an_answer_that_was_there_before_it_looked(main)
        await cancels_what_was_not_asked_yet(main)
        assert shop.ledger == []
        for worker, question, expected in (
            ("stock", "boots", {"answer": "ordered: boots"}),
            ("stock", "broken boots", {"error": "stock failed: RuntimeError"}),
            ("till", "boots", {"error": "till is not active"}),
            ("vault", "boots", "no worker is called vault"),
            ("nobody", "boots", "no worker is called nobody"),
        ):
            began = time.monotonic()
            assert await answer_of(main, worker, question) == expected
            assert time.monotonic() - began < 1

        await caller.say("count")
        await asyncio.sleep(0.5)
        await caller.asks("word now", "Your word is now.", within=1)  # and no number after it

        await caller.asks("the vault, please", STAYS, within=2)
        assert main.agent == "clerk"
        await caller.asks("to the till", "This is the till.")
        assert not caller.kept("three four five")


async def gets_an_answer_that_was_there_before_it_looked(main: MainWorker) -> None:
    params = JobParams(name="order", payload={"question": "boots"})
    async with asyncio.timeout(5), main.job("stock", params=params) as job:
        await asyncio.sleep(0.5)  # the answer is there
        assert [event async for event in job] == []
    assert job.response == {"answer": "ordered: boots"}


async def cancels_what_was_not_asked_yet(main: MainWorker) -> None:
    names = {"source": main.name, "target": "stock", "job_id": "overtaken"}
    await main.bus.publish(BusJobCancelMessage(**names))
    payload = {"question": "slow boots"}
    await main.bus.publish(BusJobRequestMessage(**names, job_name="order", payload=payload))
    assert await answer_of(main, "stock", "more boots") == {"answer": "ordered: more boots"}


async def test_a_call_that_finds_nobody_waits_and_is_answered_once_there_is_somebody(shop: Shop):
    async with shop.callers(1) as (caller,):
        began = time.monotonic()
        await caller.say("word early")
        await caller.hears(BUSY, within=4)
        assert time.monotonic() - began > 1.5
        told = await caller.call.until("error", worker="clerk")
        assert told.text.startswith("nobody hosts clerk; start it: pmw worker clerk --recipe ")
        only = await shop.opened("clerk")
        await caller.hears("Your word is early.", within=5)
        assert not caller.heard(WELCOME)

        only.popen.kill()
        await caller.say("word late")
        await caller.hears("One moment, please.", within=2)
        await shop.opened("clerk", "till")
        await caller.hears("Your word is late.", within=8)
        assert caller.kept("Your word is late.") == 1
        await caller.asks("to the till", "This is the till.")
