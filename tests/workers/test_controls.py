"""The tools answer small figures; what is out of bounds changes nothing, and says the bounds."""

import json
import math

import pytest
from pipecat.processors.frame_processor import FrameDirection

from pipecat_workers_cli.recipe.names import KIND_TOOLS
from pipecat_workers_cli.workers.controls import SCHEMAS, TOPICS, Controls
from pipecat_workers_cli.workers.readings import Statistics
from pipecat_workers_cli.workers.thermometer import ReadingFrame, Thermometer


class Call:
    """A function call, as far as a tool looks at one."""

    def __init__(self, arguments):
        self.arguments = arguments
        self.results = []

    async def result_callback(self, result):
        self.results.append(result)


class Bench:
    def __init__(self, *values):
        self.thermometer = Thermometer()
        self.statistics = Statistics(sample_period=1.0, noise=0.1)
        self.values = values
        controls = Controls(self.thermometer, self.statistics, sample_period=1.0)
        self._tools = {tool.name: tool for tool in controls.tools}

    async def call(self, tool, **arguments):
        while self.values:
            frame = ReadingFrame(self.values[0], 60.0 - len(self.values))
            self.values = self.values[1:]
            await self.statistics.process_frame(frame, FrameDirection.DOWNSTREAM)
        call = Call(arguments)
        await self._tools[tool].run(call)
        (result,) = call.results
        assert len(json.dumps(result)) < 300
        return result


async def test_the_temperature_comes_with_the_target_rounded_to_be_spoken():
    assert await Bench(21.9499).call("read_temperature") == {"celsius": 21.9, "target": 22.0}
    assert str((await Bench(-0.01).call("read_temperature"))["celsius"]) == "0.0"


async def test_before_the_first_reading_there_is_an_error_and_not_a_guess():
    for tool in ("read_temperature", "temperature_statistics"):
        assert await Bench().call(tool) == {"error": "there is no reading yet"}


async def test_statistics_answer_all_or_what_they_are_asked_about():
    bench = Bench(*[20.04 + n / 10 for n in range(60)])
    bench.thermometer.target = 25.94
    everything = {
        "highest": 25.9,
        "lowest": 20.0,
        "mean": 23.0,
        "trend": "rising",
        "degrees_per_minute": 6.0,
        "stable": False,
        "because": "it is still rising by 6.0 degrees a minute",
        "over_seconds": 59,
        "readings": 60,
    }
    assert await bench.call("temperature_statistics") == everything
    assert await bench.call("temperature_statistics", about="") == everything
    told = await bench.call("temperature_statistics", about="highest")
    assert told == {"highest": 25.9, "over_seconds": 59, "readings": 60}
    falling = Bench(*[26.0 - n / 10 for n in range(60)])
    told = await falling.call("temperature_statistics", about="trend")
    assert (told["trend"], told["degrees_per_minute"]) == ("falling", 6.0)
    union = {}
    for topic in TOPICS:
        union |= await bench.call("temperature_statistics", about=topic)
    assert union == everything
    assert "highest, lowest" in (await bench.call("temperature_statistics", about="x"))["error"]


async def test_the_target_is_set_within_bounds():
    bench = Bench(22.0)
    assert await bench.call("set_target", celsius=30) == {"target": 30.0, "celsius": 22.0}
    assert await bench.call("set_target", celsius="18.5") == {"target": 18.5, "celsius": 22.0}
    assert await bench.call("change_target", by=-3) == {"target": 15.5, "celsius": 22.0}
    for bound in (-40, 125):
        assert (await bench.call("set_target", celsius=bound))["target"] == bound


@pytest.mark.parametrize(
    "celsius", [-40.1, 125.1, 1e400, math.nan, "warm", None, True, [30], 10**400, {}]
)
async def test_a_target_out_of_bounds_changes_nothing_and_says_the_bounds(celsius):
    bench = Bench(22.0)
    error = {"error": "the target must be a number from -40 to 125 degrees; it stays at 22"}
    assert await bench.call("set_target", celsius=celsius) == error
    assert bench.thermometer.target == 22.0


async def test_a_change_that_would_lead_out_of_bounds_changes_nothing():
    bench = Bench(22.0)
    assert "from -40 to 125" in (await bench.call("change_target", by=104))["error"]
    assert "from -40 to 125" in (await bench.call("change_target"))["error"]
    assert bench.thermometer.target == 22.0


@pytest.mark.parametrize(
    ("rate", "percent", "seconds"),
    [(0.05, 5, 59), (0.2, 20, 14), (1.0, 100, 1), (0.001, 0.1, 2995)],
)
async def test_the_response_rate_comes_with_what_it_means(rate, percent, seconds):
    bench = Bench(22.0)
    told = await bench.call("set_response_rate", rate=rate)
    assert told == {
        "rate": rate,
        "percent_per_sample": percent,
        "sample_period": 1.0,
        "seconds_to_follow": seconds,
    }
    assert bench.thermometer.rate == rate
    assert await bench.call("temperature_statistics", about="response") == told


@pytest.mark.parametrize("rate", [0, -1, 0.0009, 1.01, math.nan, "fast", None])
async def test_a_rate_out_of_bounds_changes_nothing_and_says_the_bounds(rate):
    bench = Bench(22.0)
    error = {"error": "the rate must be a number from 0.001 to 1 a sample; it stays at 0.05"}
    assert await bench.call("set_response_rate", rate=rate) == error
    assert bench.thermometer.rate == 0.05


def test_the_recipes_checks_know_these_tools():
    assert tuple(schema.name for schema in SCHEMAS) == KIND_TOOLS["controller"]
