"""The plan that the next call runs by: edits, faulty edits, files that are half written."""

import asyncio
import os
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from pipecat_workers_cli.call.plan import Plan
from pipecat_workers_cli.call.ready import ready_plan
from pipecat_workers_cli.errors import PmwError
from pipecat_workers_cli.options import Profile, ServiceOptions
from pipecat_workers_cli.session import current as module
from pipecat_workers_cli.session.current import QUIET_FOR, CurrentPlan

RECIPE = """
name = "mine"
[main]
name = "desk"
[[workers]]
name = "clerk"
prompt_file = "clerk.md"
"""
OFFLINE = ServiceOptions(profile=Profile.OFFLINE)


class Mine:
    """A recipe of the user's with a prompt file, and what was said of its versions."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "mine.toml"
        self.prompt = folder / "clerk.md"
        self.services = OFFLINE
        self.sets: tuple[str, ...] = ()
        self.readings = 0
        self.refused: list[str] = []
        self.renewed: list[str] = []
        self.save(RECIPE)
        self.save("You sell boots.", self.prompt)

    def save(self, text: str, path: Path | None = None, *, age: float = 60.0) -> None:
        """Write a file as of `age` seconds ago, which the next version must not share."""
        path = path or self.path
        path.write_text(text, encoding="utf-8")
        written = time.time_ns() - int(age * 1e9)
        os.utime(path, ns=(written, written))

    def read(self) -> Plan:
        self.readings += 1
        return ready_plan(str(self.path), self.services, sets=self.sets, speech=True)

    def current(self) -> CurrentPlan:
        return CurrentPlan(
            self.read(),
            self.read,
            refused=self.refused.append,
            renewed=lambda plan: self.renewed.append(plan.loaded.hash),
        )


@pytest.fixture
def mine(tmp_path: Path) -> Mine:
    return Mine(tmp_path)


def prompt_of(plan: Plan) -> str | None:
    return plan.loaded.recipe.worker("clerk").prompt


async def test_a_recipe_that_stays_the_same_is_looked_at_and_not_read(mine: Mine) -> None:
    current = mine.current()
    await current.renew()  # what it was read from the first time isn't known
    readings, plan = mine.readings, current.latest
    assert await current.renew() is plan
    assert mine.readings == readings
    assert (mine.renewed, mine.refused) == ([], [])


async def test_an_edit_counts_from_the_next_call_on(mine: Mine) -> None:
    current = mine.current()
    before = await current.renew()
    mine.save(RECIPE.replace('"clerk"', '"seller"'))
    plan = await current.renew()
    assert plan.loaded.recipe.workers[0].name == "seller"
    assert before.loaded.recipe.workers[0].name == "clerk"
    assert mine.renewed == [plan.loaded.hash]
    assert plan.loaded.hash != before.loaded.hash


async def test_an_edit_before_the_first_call_counts_too(mine: Mine) -> None:
    current = mine.current()
    mine.save("You sell paint.", mine.prompt)
    assert prompt_of(await current.renew()) == "You sell paint."


async def test_a_prompt_file_counts_as_the_recipe_does(mine: Mine) -> None:
    current = mine.current()
    await current.renew()
    mine.save("You sell paint.", mine.prompt)
    assert prompt_of(await current.renew()) == "You sell paint."
    new = mine.prompt.with_name("new.md")
    mine.save("You sell hats.", new)
    mine.save(RECIPE.replace("clerk.md", "new.md"))
    assert prompt_of(await current.renew()) == "You sell hats."
    mine.save("You sell shoes.", new, age=50)
    assert prompt_of(await current.renew()) == "You sell shoes."


async def test_set_still_counts_and_providers_are_chosen_anew(mine: Mine) -> None:
    mine.sets = ("main.name=counter",)
    mine.services = ServiceOptions()
    current = mine.current()
    mine.save(RECIPE + 'llm = "ollama:qwen3"\n')
    plan = await current.renew()
    assert plan.loaded.recipe.main.name == "counter"
    assert "ollama" in {choice.provider for choice in plan.choices()}


async def test_a_faulty_edit_keeps_the_last_good_and_says_why_once(mine: Mine) -> None:
    current = mine.current()
    good = await current.renew()
    mine.save(RECIPE + 'transfers = ["suport"]\n')
    assert await current.renew() is good
    assert await current.renew() is good
    (told,) = mine.refused
    assert told.startswith(f"{mine.path}:8: workers.clerk.transfers[0] = 'suport': ")
    assert good.loaded.hash in told
    assert "\n" not in told


async def test_the_next_faulty_edit_is_said_again_and_a_good_one_ends_it(mine: Mine) -> None:
    current = mine.current()
    good = await current.renew()
    for age, faulty in ((50, "name = \n"), (40, 'name = "mine"\n[main]\nnam = 1\n')):
        mine.save(faulty, age=age)
        await current.renew()
    assert len(mine.refused) == 2
    mine.save(RECIPE, age=30)
    plan = await current.renew()
    assert plan.loaded.hash == good.loaded.hash
    assert mine.renewed == [good.loaded.hash]  # it had been said to be faulty


async def test_a_provider_without_its_key_is_a_fault_that_the_key_mends(
    mine: Mine, monkeypatch: pytest.MonkeyPatch
) -> None:
    mine.services = ServiceOptions()
    current = mine.current()
    good = await current.renew()
    mine.save(RECIPE + 'llm = "anthropic"\n')
    assert await current.renew() is good
    assert "ANTHROPIC_API_KEY is not set" in mine.refused[0]
    monkeypatch.setenv("ANTHROPIC_API_KEY", "x" * 20)
    plan = await current.renew()  # though no file has changed since
    assert "anthropic" in {choice.provider for choice in plan.choices()}


async def test_a_prompt_file_that_is_made_after_it_was_missed_is_found(mine: Mine) -> None:
    current = mine.current()
    await current.renew()
    mine.save(RECIPE.replace("clerk.md", "new.md"))
    await current.renew()
    assert "new.md" in mine.refused[0]
    mine.save("You sell hats.", mine.prompt.with_name("new.md"))
    assert prompt_of(await current.renew()) == "You sell hats."


async def test_a_recipe_that_is_gone_keeps_the_last_good(mine: Mine) -> None:
    current = mine.current()
    good = await current.renew()
    mine.path.unlink()
    assert await current.renew() is good
    assert await current.renew() is good
    assert len(mine.refused) == 1
    assert "no such file" in mine.refused[0]


async def test_a_file_that_is_still_being_written_is_waited_for(mine: Mine) -> None:
    current = mine.current()
    await current.renew()
    whole = RECIPE + '[[workers]]\nname = "cashier"\nprompt = "You take money."\n'

    def save_in_place() -> None:
        with mine.path.open("w", encoding="utf-8") as file:
            for part in (RECIPE, whole[len(RECIPE) :]):  # the first is a recipe by itself
                file.write(part)
                file.flush()
                half_written.set()
                time.sleep(QUIET_FOR / 2)

    half_written = threading.Event()
    saving = asyncio.create_task(asyncio.to_thread(save_in_place))
    await asyncio.to_thread(half_written.wait)
    plan = await current.renew()
    assert [worker.name for worker in plan.loaded.recipe.workers] == ["clerk", "cashier"]
    assert mine.refused == []
    assert len(mine.renewed) == 1
    await saving


async def test_a_file_that_is_away_between_two_steps_of_an_editor_is_no_fault(mine: Mine) -> None:
    current = mine.current()
    await current.renew()
    mine.path.rename(mine.path.with_suffix(".bak"))
    renewing = asyncio.create_task(current.renew())
    await asyncio.sleep(QUIET_FOR / 4)
    mine.save(RECIPE.replace('"clerk"', '"seller"'))
    plan = await renewing
    assert plan.loaded.recipe.workers[0].name == "seller"
    assert mine.refused == []


async def test_of_calls_that_begin_at_once_one_reads(mine: Mine) -> None:
    current = mine.current()
    await current.renew()
    before = mine.readings
    mine.save(RECIPE + 'summary = "sells"\n')
    plans = await asyncio.gather(*(current.renew() for _ in range(20)))
    assert mine.readings == before + 1
    assert len({id(plan) for plan in plans}) == 1


async def test_the_event_loop_is_free_while_it_is_read(mine: Mine) -> None:
    current = mine.current()
    reading, go_on = threading.Event(), threading.Event()
    read = mine.read

    def slow() -> Plan:
        reading.set()
        assert go_on.wait(10)
        return read()

    current = CurrentPlan(current.latest, slow)
    renewing = asyncio.create_task(current.renew())
    await asyncio.wait_for(asyncio.to_thread(reading.wait), 5)  # and this runs meanwhile
    go_on.set()
    await renewing


async def test_threads_that_are_busy_with_calls_keep_no_recipe_from_being_read(mine: Mine) -> None:
    current, go_on = mine.current(), threading.Event()
    busy = [asyncio.create_task(asyncio.to_thread(go_on.wait, 10)) for _ in range(50)]
    await asyncio.sleep(0)
    assert await asyncio.wait_for(current.renew(), 2) is current.latest
    go_on.set()
    await asyncio.gather(*busy)
    assert mine.readings == 2
    assert mine.refused == []


async def test_files_that_cannot_be_read_in_time_keep_no_caller(
    mine: Mine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "READ_WITHIN", 0.1)
    go_on = threading.Event()
    good = mine.read()

    def stuck() -> Plan:
        go_on.wait(10)
        return good

    current = CurrentPlan(good, stuck, refused=mine.refused.append)
    assert await asyncio.wait_for(current.renew(), 2) is good
    go_on.set()
    assert "not read within" in mine.refused[0]


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (PmwError("the world is not ready", mend="wait"), "the world is not ready (wait)"),
        (RuntimeError("sk-secret-0123456789"), "mine.toml: RuntimeError as it was read"),
    ],
)
async def test_whatever_goes_wrong_the_last_good_stays_and_no_secret_is_told(
    error: Exception, told: str, mine: Mine
) -> None:
    good = mine.read()

    def fail() -> Plan:
        raise error

    current = CurrentPlan(good, fail, refused=mine.refused.append)
    assert await current.renew() is good
    assert told in mine.refused[0]
    assert "secret" not in mine.refused[0]


async def test_a_plan_that_has_no_way_to_be_read_stays(mine: Mine) -> None:
    plan = mine.read()
    mine.save("name = \n")
    assert await CurrentPlan(plan).renew() is plan


def test_a_look_at_the_files_costs_next_to_nothing(mine: Mine) -> None:
    files = mine.read().loaded.files
    assert len(files) == 2
    assert _fastest(lambda: module.stamps_of(files)) < 0.001  # seconds; a call takes 100 ms to open


def _fastest(work: Callable[[], object]) -> float:
    times: list[float] = []
    for _ in range(20):
        began = time.perf_counter()
        work()
        times.append(time.perf_counter() - began)
    return min(times)
