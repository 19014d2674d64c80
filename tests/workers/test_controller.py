"""A controller answers each asker from its thermometer, and shows what it reads."""

import asyncio
import itertools
import time
from contextlib import asynccontextmanager

import pytest
from pipecat.bus import BusJobUpdateMessage
from pipecat.pipeline.job_context import JobError, JobParams
from pipecat.workers.base_worker import BaseWorker
from pydantic import ValidationError

from pipecat_workers_cli.buses.local import LocalBus
from pipecat_workers_cli.call.run import running
from pipecat_workers_cli.recipe.model import Rule
from pipecat_workers_cli.services.providers import Persona
from pipecat_workers_cli.services.scripted import ScriptedLLMService
from pipecat_workers_cli.wire.reading import BusReadingMessage
from pipecat_workers_cli.workers.controller import Controller, Options
from pipecat_workers_cli.workers.jobs import JobsEnd
from pipecat_workers_cli.workers.kinds import KINDS
from tests.waiting import until

RULES = (
    Rule(match="set (?P<to>-?\\d+)", call="set_target", args={"celsius": "{to}"}),
    Rule(match="statistics", call="temperature_statistics"),
    Rule(match="say (?P<word>\\w+)", say="{word}"),
    Rule(match="slow", say="one two three", delay=0.2),
    Rule(on="user", call="read_temperature"),
    Rule(on="tool", match="error", say="No: {result.error}."),
    Rule(on="tool:temperature_statistics", say="{result.readings} readings"),
    Rule(on="tool", say="{result.celsius} degrees, target {result.target}."),
)


class Asker(JobsEnd, BaseWorker):
    """Asks; has nothing to say itself."""


@asynccontextmanager
async def controller(**options):
    """Run a controller beside two who may ask it."""
    llm = ScriptedLLMService(persona=Persona("controller", script=RULES))
    made = Controller("controller", llm=llm, **{"noise": 0.0} | options)
    bus, asker, other = LocalBus(), Asker("asker"), Asker("other")
    async with running([asker, other, made], bus):
        yield asker, other, bus


async def ask(asker: BaseWorker, question: str, within: float = 10) -> str:
    params = JobParams(payload={"question": question}, timeout=within)
    async with asker.job("controller", params=params) as one:
        pass
    return one.response["answer"]


def shown(bus: LocalBus) -> list[BusReadingMessage]:
    return [message for _, message in bus.recent if isinstance(message, BusReadingMessage)]


async def test_it_answers_from_the_thermometer():
    async with controller(start_temp=18.5) as (asker, _, _bus):
        assert await ask(asker, "how warm is it?") == "18.5 degrees, target 18.5."


async def test_a_target_is_set_and_followed():
    async with controller(sample_period=0.01, rate=0.5) as (asker, _, _bus):
        assert await ask(asker, "set 30") == "22 degrees, target 30."
        async with asyncio.timeout(10):
            while await ask(asker, "now?") != "30 degrees, target 30.":
                pass


async def test_past_the_bounds_nothing_changes_and_the_asker_is_told():
    async with controller() as (asker, _, _bus):
        told = "No: the target must be a number from -40 to 125 degrees; it stays at 22."
        assert await ask(asker, "set 500") == told
        assert await ask(asker, "and now?") == "22 degrees, target 22."


async def test_ten_questions_at_once_are_each_answered_to_their_asker_with_their_own_answer():
    async with controller(sample_period=0.001) as (asker, other, _):
        await ask(asker, "warm up")
        questions = [f"set {n}" if n % 2 else f"say w{n}" for n in range(30, 40)]
        answers = await asyncio.gather(
            *(ask((asker, other)[n // 2 % 2], question) for n, question in enumerate(questions))
        )
    for question, answer in zip(questions, answers, strict=True):
        what, word = question.split()
        assert answer.endswith(f"target {word}." if what == "set" else word)


async def test_a_tool_call_is_told_to_whoever_asked():
    async with controller() as (asker, _, bus):
        await ask(asker, "set 25")
        updates = [m.update for _, m in bus.recent if isinstance(m, BusJobUpdateMessage)]
    called, done = updates
    assert (called["name"], called["args"]) == ("set_target", {"celsius": 25.0})
    assert done["result"] == {"target": 25.0, "celsius": 22.0}


async def test_a_question_given_up_leaves_the_controller_fit_for_the_next():
    async with controller(sample_period=0.01) as (asker, _, _bus):
        with pytest.raises(JobError, match="timeout"):
            await ask(asker, "slow", within=0.05)
        assert await ask(asker, "and now?") == "22 degrees, target 22."
        first = int((await ask(asker, "statistics")).split()[0])
        async with asyncio.timeout(10):  # the interruption did not stop the readings
            while int((await ask(asker, "statistics")).split()[0]) <= first:
                pass


async def test_readings_leave_the_conversation_as_it_is():
    async with controller(sample_period=0.001) as (asker, _, _bus):
        worker = asker.worker_runner.get_worker("controller")
        given = []

        @worker._conversation.processors[0].event_handler("on_before_process_frame")
        async def on_given(_aggregator, frame):
            given.append(type(frame).__name__)

        await until(lambda: worker._statistics.latest is not None)
        await until(lambda: worker._statistics.summarise(target=22.0).readings > 300)
        assert "ReadingFrame" not in given
        assert len(given) < 5  # what a start brings
        assert worker._conversation.context.get_messages() == []


@pytest.mark.parametrize("sample_period", [0.001, 0.3])
async def test_a_reading_is_shown_at_most_once_a_second_whatever_the_sample_period(sample_period):
    async with controller(sample_period=sample_period) as (_, _, bus):
        began = time.monotonic()
        await until(lambda: len(shown(bus)) >= 3)
        assert time.monotonic() - began > 1.9
        first = shown(bus)[0]
        times = [at for at, message in bus.recent if isinstance(message, BusReadingMessage)]
    assert (first.source, first.target, first.reading) == ("controller", None, "temperature")
    assert (first.value, first.unit) == (22.0, "°C")
    assert all(later - at >= 0.99 for at, later in itertools.pairwise(times))


async def test_once_stopped_it_shows_nothing_more():
    async with controller() as (asker, _, bus):
        await until(lambda: shown(bus))
        await asker.worker_runner.get_worker("controller").stop()
        assert not [task for task in asyncio.all_tasks() if "showing" in task.get_name()]


async def test_nothing_of_it_is_left_when_the_call_is_over():
    async with controller(sample_period=0.001) as (asker, _, bus):
        await until(lambda: shown(bus))
        await ask(asker, "warm up")
    left = [task.get_name() for task in asyncio.all_tasks()]
    assert not [name for name in left if "ticking" in name or "showing" in name]


def test_left_out_options_are_those_of_the_command_line():
    assert Options().model_dump() == {
        "start_temp": 22.0,
        "sample_period": 1.0,
        "rate": 0.05,
        "noise": 0.1,
        "seed": None,
    }
    assert KINDS["controller"].options() is Options


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("start_temp", -40.1),
        ("start_temp", 126),
        ("start_temp", "nan"),
        ("sample_period", 0),
        ("sample_period", 0.00001),
        ("sample_period", 3601),
        ("sample_period", "inf"),
        ("rate", 0),
        ("rate", 1.1),
        ("noise", -0.1),
        ("noise", 11),
        ("seed", 1.5),
        ("colour", 1),
    ],
)
def test_an_option_past_its_bounds_is_refused(name, value):
    with pytest.raises(ValidationError):
        Options.model_validate({name: value})


def test_an_option_says_its_bounds():
    told = Options.model_fields["sample_period"].description
    assert told == "a number from 0.0001 to 3600: seconds between two readings"


def test_an_option_may_come_from_the_environment_as_text():
    assert Options.model_validate({"start_temp": "30", "seed": "7"}).start_temp == 30.0
