"""What an LLM can do with a thermometer: the controller's tools."""

import math
from collections.abc import Callable, Mapping
from typing import Any

from pipecat.adapters.llm.schemas.function_schema import FunctionSchema
from pipecat.services.llm_service import FunctionCallParams

from pipecat_workers_cli.workers.jobs import ERROR
from pipecat_workers_cli.workers.readings import Statistics, Summary
from pipecat_workers_cli.workers.thermometer import (
    COLDEST,
    FASTEST,
    HOTTEST,
    SLOWEST,
    Thermometer,
)
from pipecat_workers_cli.workers.tools import Tool

THERE = 0.95  # of the way; what counts as having followed the target
NO_READING = {ERROR: "there is no reading yet"}

Arguments = Mapping[str, Any]
Answer = dict[str, Any]

TOPICS: Mapping[str, Callable[[Summary], Answer]] = {
    "highest": lambda told: {"highest": _degrees(told.highest)},
    "lowest": lambda told: {"lowest": _degrees(told.lowest)},
    "mean": lambda told: {"mean": _degrees(told.mean)},
    "trend": lambda told: {
        "trend": told.trend,
        "degrees_per_minute": 0.0 if told.trend == "steady" else _degrees(abs(told.per_minute)),
    },
    "stability": lambda told: {"stable": told.stable, "because": told.because},
}
"""What statistics may be about, and what then is answered."""


class Controls:
    """The tools of one thermometer.

    Each answers a small dict of rounded figures, fit to be spoken. What is out of bounds
    changes nothing, and is answered by `{"error": …}` with the bounds.

    Attributes:
        tools: `read_temperature`, `temperature_statistics`, `set_target`, `change_target`
            and `set_response_rate`.
    """

    def __init__(
        self, thermometer: Thermometer, statistics: Statistics, *, sample_period: float
    ) -> None:
        """Make the tools.

        Args:
            thermometer: What is set.
            statistics: What is read.
            sample_period: Seconds between two readings.
        """
        self._thermometer = thermometer
        self._statistics = statistics
        self._period = sample_period
        answers = (
            self._read_temperature,
            self._temperature_statistics,
            self._set_target,
            self._change_target,
            self._set_response_rate,
        )
        self.tools = tuple(
            _tool(schema, answer) for schema, answer in zip(SCHEMAS, answers, strict=True)
        )

    def _read_temperature(self, _arguments: Arguments) -> Answer:
        celsius = self._statistics.latest
        if celsius is None:
            return NO_READING
        return {"celsius": _degrees(celsius), "target": _degrees(self._thermometer.target)}

    def _temperature_statistics(self, arguments: Arguments) -> Answer:
        about = arguments.get("about") or None
        if about == "response":
            return self._response()
        if about is not None and about not in TOPICS:
            return {ERROR: f"statistics are about {', '.join(TOPICS)} or response"}
        summary = self._statistics.summarise(target=self._thermometer.target)
        if summary is None:
            return NO_READING
        answer: Answer = {}
        for topic in TOPICS if about is None else (about,):
            answer |= TOPICS[topic](summary)
        return answer | {"over_seconds": round(summary.seconds), "readings": summary.readings}

    def _set_target(self, arguments: Arguments) -> Answer:
        return self._aim(_number(arguments.get("celsius")))

    def _change_target(self, arguments: Arguments) -> Answer:
        by = _number(arguments.get("by"))
        return self._aim(None if by is None else self._thermometer.target + by)

    def _set_response_rate(self, arguments: Arguments) -> Answer:
        rate = _number(arguments.get("rate"))
        if rate is None or not SLOWEST <= rate <= FASTEST:
            bounds = f"the rate must be a number from {SLOWEST:g} to {FASTEST:g} a sample"
            return {ERROR: f"{bounds}; it stays at {self._thermometer.rate:g}"}
        self._thermometer.rate = rate
        return self._response()

    def _aim(self, celsius: float | None) -> Answer:
        target = self._thermometer.target
        if celsius is None or not COLDEST <= celsius <= HOTTEST:
            bounds = f"the target must be a number from {COLDEST:g} to {HOTTEST:g} degrees"
            return {ERROR: f"{bounds}; it stays at {_degrees(target):g}"}
        self._thermometer.target = celsius
        latest = self._statistics.latest
        now = {} if latest is None else {"celsius": _degrees(latest)}
        return {"target": _degrees(celsius), **now}

    def _response(self) -> Answer:
        """Tell how fast the air follows the target."""
        rate = self._thermometer.rate
        samples = 1 if rate >= 1 else math.ceil(math.log(1 - THERE) / math.log(1 - rate))
        seconds = samples * self._period
        return {
            "rate": round(rate, 4),
            "percent_per_sample": float(f"{100 * rate:.2g}"),
            "sample_period": self._period,
            "seconds_to_follow": round(seconds) if seconds >= 10 else round(seconds, 1),
        }


SCHEMAS = (
    FunctionSchema("read_temperature", "Read the temperature and the target, in °C.", {}, []),
    FunctionSchema(
        "temperature_statistics",
        "Sum up the readings of the last minute or so: highest, lowest, mean, trend, whether "
        "the temperature is stable and why. Or tell how fast it follows the target.",
        {
            "about": {
                "type": "string",
                "enum": [*TOPICS, "response"],
                "description": "what is wanted; left out: all but response",
            }
        },
        [],
    ),
    FunctionSchema(
        "set_target",
        f"Set the temperature to go to, from {COLDEST:g} to {HOTTEST:g} °C. It takes a while.",
        {"celsius": {"type": "number", "description": "the target in °C"}},
        ["celsius"],
    ),
    FunctionSchema(
        "change_target",
        "Make it warmer or colder than the target that is set.",
        {"by": {"type": "number", "description": "degrees; below 0 is colder"}},
        ["by"],
    ),
    FunctionSchema(
        "set_response_rate",
        "Set how fast the temperature follows the target.",
        {
            "rate": {
                "type": "number",
                "description": f"share of the way a sample, from {SLOWEST:g} (slow) to "
                f"{FASTEST:g} (at once)",
            }
        },
        ["rate"],
    ),
)


def _tool(schema: FunctionSchema, answer: Callable[[Arguments], Answer]) -> Tool:
    async def run(params: FunctionCallParams) -> None:
        await params.result_callback(answer(params.arguments))

    return Tool(schema, run)


def _number(given: object) -> float | None:
    """Take a number of an LLM's; None for what is none, `NaN` and infinity too."""
    if isinstance(given, bool) or not isinstance(given, int | float | str):
        return None
    try:
        number = float(given)
    except (ValueError, OverflowError):
        return None
    return number if math.isfinite(number) else None


def _degrees(celsius: float) -> float:
    """Round to a tenth, as thermometers are read out; never to minus nought."""
    return round(celsius, 1) + 0.0
