"""The table of what crosses fits the installed Pipecat, and nothing else crosses."""

import asyncio
import dataclasses
import inspect
from hashlib import sha256

import pytest
from loguru import logger
from pipecat.adapters.llm.schemas.function_schema import FunctionSchema
from pipecat.adapters.llm.schemas.tools_schema import ToolsSchema
from pipecat.bus import BusFrameMessage, messages, ui
from pipecat.frames import frames
from pipecat.metrics import metrics
from pipecat.processors.aggregators.llm_context import LLMContext, LLMSpecificMessage
from pipecat.processors.frame_processor import FrameDirection
from pipecat.registry.types import WorkerRegistryEntry

from pipecat_workers_cli.wire.fields import METRICS_BY_NUMBER
from pipecat_workers_cli.wire.format import Codec
from pipecat_workers_cli.wire.shapes import FORMAT
from pipecat_workers_cli.wire.types import (
    FRAMES,
    MESSAGES,
    OF_EVERY_FRAME,
    OF_EVERY_MESSAGE,
)
from tests.wire.samples import MADE_AGAIN, carried, some_frames, some_messages

TABLES = {
    messages.BusMessage: (MESSAGES, OF_EVERY_MESSAGE),
    frames.Frame: (FRAMES, OF_EVERY_FRAME),
}
ROWS = [(row, common) for table, common in TABLES.values() for row in table]


def names(cls: type) -> list[str]:
    return [one.name for one in dataclasses.fields(cls)]


@pytest.mark.parametrize(("row", "common"), ROWS, ids=[row.cls.__name__ for row, _ in ROWS])
def test_each_field_of_a_type_that_crosses_is_known_to_cross_or_to_stay(row, common):
    """If this fails, Pipecat has changed: say in the row what becomes of the field."""
    placed = [*MADE_AGAIN, *common, *row.fields, *row.stays]
    assert sorted(placed) == sorted(names(row.cls))


def test_what_is_inside_of_messages_has_the_fields_it_had():
    assert names(WorkerRegistryEntry) == ["name", "parent", "active", "bridged", "started_at"]
    assert names(frames.FunctionCallFromLLM) == [
        "function_name",
        "tool_call_id",
        "arguments",
        "context",
    ]
    assert names(frames.FunctionCallResultProperties) == [
        "run_llm",
        "on_context_updated",
        "is_final",
    ]
    assert names(LLMSpecificMessage) == ["llm", "message"]
    made_of = {cls: [*inspect.signature(cls).parameters] for cls in (LLMContext, ToolsSchema)}
    assert made_of == {
        LLMContext: ["messages", "tools", "tool_choice"],
        ToolsSchema: ["standard_tools", "custom_tools"],
    }
    handed = ["name", "description", "properties", "required", "handler"]
    assert [*inspect.signature(FunctionSchema).parameters] == handed


def test_every_kind_of_figure_that_pipecat_has_crosses():
    kinds = {
        one
        for one in vars(metrics).values()
        if isinstance(one, type) and issubclass(one, metrics.MetricsData)
    }
    assert kinds - set(METRICS_BY_NUMBER.values()) == {
        metrics.MetricsData,
        metrics.SmartTurnMetricsData,
    }


@pytest.mark.parametrize("table", [MESSAGES, FRAMES], ids=["messages", "frames"])
def test_no_number_and_no_type_is_in_the_table_twice(table):
    assert len({row.number for row in table}) == len({row.cls for row in table}) == len(table)


def test_there_is_a_sample_of_every_type_in_the_table():
    sampled = {type(one) for one in (*some_messages(), *some_frames())}
    assert sampled | {messages.BusFrameMessage} == {row.cls for row, _ in ROWS}


def bare(cls: type) -> object:
    """An object of a class, whatever its constructor wants."""
    made = object.__new__(cls)
    for one in dataclasses.fields(cls):
        object.__setattr__(made, one.name, None)
    return made


def others(base: type, *modules: object) -> list[type]:
    """Pipecat's other classes of a sort."""
    known = {row.cls for row, _ in ROWS}
    found = {one for module in modules for one in vars(module).values() if isinstance(one, type)}
    return sorted(
        (one for one in found if issubclass(one, base) and one not in known),
        key=lambda one: one.__name__,
    )


@pytest.mark.parametrize("cls", others(messages.BusMessage, messages, ui), ids=lambda c: c.__name__)
def test_no_other_message_crosses(cls):
    codec = Codec()
    assert codec.encode(bare(cls)) is None
    assert codec.refused == {cls.__name__: 1}


@pytest.mark.parametrize("cls", others(frames.Frame, frames), ids=lambda cls: cls.__name__)
def test_no_other_frame_crosses(cls):
    codec = Codec()
    assert codec.encode(carried(bare(cls))) is None
    assert codec.refused == {cls.__name__: 1}


def test_lifecycle_is_among_what_stays():
    stays = {one.__name__ for one in others(frames.Frame, frames)}
    assert stays >= {
        "StartFrame",
        "EndFrame",
        "CancelFrame",
        "StopFrame",
        "EndWorkerFrame",
        "CancelWorkerFrame",
        "StopWorkerFrame",
        "InterruptionWorkerFrame",
        "InputAudioRawFrame",
        "TranscriptionFrame",
        "UserImageRequestFrame",
        "HeartbeatFrame",
    }


class Shout(frames.TextFrame):
    """What a user's own code may push."""


def test_a_subclass_of_what_crosses_stays_for_it_has_more_to_say():
    codec = Codec()
    assert codec.encode(carried(Shout("hello"))) is None
    assert codec.refused == {"Shout": 1}


def test_types_that_stay_are_counted_within_bounds():
    codec = Codec()
    for number in range(1_000):
        named = type(f"Frame{number}", (frames.TextFrame,), {})
        assert codec.encode(carried(named("x"))) is None
    assert len(codec.refused) <= 201
    assert codec.refused.total() == 1_000


def test_a_setting_for_one_service_of_this_process_stays():
    settings = frames.LLMUpdateSettingsFrame(settings={"seed": 1}, service=object())  # type: ignore[arg-type]
    assert Codec().encode(carried(settings)) is None


def test_a_probes_event_stays():
    async def run() -> None:
        probe = frames.PipelineFlushFrame(event=asyncio.Event(), origin="acme")
        arrived = Codec().decode(Codec().encode(carried(probe)) or b"")
        assert arrived.frame.event is None

    asyncio.run(run())


def test_what_stays_is_logged_once_a_type_and_louder_if_it_is_not_pipecats():
    lines: list[tuple[str, str]] = []
    sink = logger.add(
        lambda line: lines.append((line.record["level"].name, line.record["message"])), level=0
    )
    try:
        codec = Codec()
        for _ in range(3):
            codec.encode(carried(Shout("hello")))
            codec.encode(carried(frames.EndFrame()))
    finally:
        logger.remove(sink)
    assert [(level, text.split()[0]) for level, text in lines] == [
        ("WARNING", "Shout"),
        ("DEBUG", "EndFrame"),
    ]
    assert codec.refused == {"Shout": 3, "EndFrame": 3}


def test_the_format_has_a_new_number_whenever_the_table_changes():
    """If this fails, another release would misread what this one writes: count `FORMAT` up."""
    table = [(row.number, row.cls.__name__, row.fields) for row, _ in ROWS]
    assert (FORMAT, sha256(repr(table).encode()).hexdigest()[:16]) == (2, "6c0e7662d364de7d")


def test_the_bytes_of_a_message_are_what_they_were():
    """Positions count: a release that moved one would misread this one's messages."""
    said = BusFrameMessage(
        source="ann", frame=frames.LLMTextFrame("Hi"), direction=FrameDirection.DOWNSTREAM
    )
    assert (Codec().encode(said) or b"").hex(" ") == (
        "93 02 96 01 a3 61 6e 6e c0 01 c0 97 17 c0 c3 a2 48 69 c0 c3 c3 c0"
    )
    ended = messages.BusEndMessage(source="ann", reason="goodbye")
    assert (Codec().encode(ended) or b"").hex(" ") == (
        "93 02 94 06 a3 61 6e 6e c0 a7 67 6f 6f 64 62 79 65 c0"
    )
