"""What is encoded in one process is the same once it is decoded in another."""

import dataclasses
import sys
import time

import pytest
from pipecat.adapters.llm.schemas.function_schema import FunctionSchema
from pipecat.bus.messages import BusFrameMessage, BusJobRequestMessage
from pipecat.frames import frames
from pipecat.processors.aggregators.llm_context import NOT_GIVEN, LLMContext, LLMSpecificMessage
from pipecat.processors.frame_processor import FrameDirection
from pipecat.services.anthropic.llm import AnthropicLLMService

from pipecat_workers_cli.wire.format import Codec
from pipecat_workers_cli.wire.limits import AUDIO_BYTES, DEPTH, MESSAGE_BYTES, Refused
from pipecat_workers_cli.wire.types import FRAMES
from tests.wire.samples import carried, some_frames, some_messages, told

STAYS = {row.cls: row.stays for row in FRAMES}


def crossed(message):
    data = Codec().encode(message)
    assert data is not None
    return Codec().decode(data)


@pytest.mark.parametrize("message", some_messages(), ids=lambda one: type(one).__name__)
def test_a_message_arrives_as_it_was_sent(message):
    arrived = crossed(message)
    assert told(arrived) == told(message)
    assert arrived.id != message.id


@pytest.mark.parametrize("direction", FrameDirection)
@pytest.mark.parametrize("frame", some_frames(), ids=lambda one: type(one).__name__)
def test_a_frame_arrives_as_it_was_sent(frame, direction):
    sent = BusFrameMessage(
        source="support", target="acme", frame=frame, direction=direction, bridge="voice"
    )
    arrived = crossed(sent)
    renamed = {"segment_id"}  # see test_ids.py
    there, here = told(arrived), told(sent)
    for one in (there, here):
        for name in renamed & one[1]["frame"][1].keys():
            del one[1]["frame"][1][name]
    assert there == here
    assert arrived.frame.id != frame.id


def test_what_a_field_says_by_default_arrives_too():
    for frame in (frames.LLMContextFrame(LLMContext()), frames.LLMUpdateSettingsFrame()):
        sent = carried(frame)
        assert told(crossed(sent)) == told(sent)


def test_a_frame_keeps_when_it_is_due_where_it_goes_and_its_plain_notes():
    frame = frames.TTSTextFrame("It", "word")
    frame.pts, frame.interruptible = 12_345_678_901, False
    frame.transport_source, frame.transport_destination = "mic", "track"
    frame.metadata = {"worker": "support", "list": [1], "object": object(), 3: "three"}
    arrived = crossed(carried(frame)).frame
    assert (arrived.pts, arrived.interruptible) == (12_345_678_901, False)
    assert (arrived.transport_source, arrived.transport_destination) == ("mic", "track")
    assert arrived.metadata == {"worker": "support", "list": [1]}


def test_notes_that_are_too_long_stay():
    frame = frames.LLMTextFrame("It")
    frame.metadata = {"page": "x" * 10_000}
    assert crossed(carried(frame)).frame.metadata == {}


def test_a_conversation_does_not_cross_once_more_for_each_call():
    context = LLMContext(messages=[{"role": "user", "content": "x" * 100_000}])
    call = frames.FunctionCallFromLLM("price", "c1", {"kit": "tornado"}, context)
    data = Codec().encode(carried(frames.FunctionCallsStartedFrame([call, call])))
    assert data is not None
    assert len(data) < 200


def test_twenty_milliseconds_of_sound_cost_little_more_than_themselves():
    sound = frames.TTSAudioRawFrame(bytes(640), 16_000, 1, context_id="c" * 36)
    sent = BusFrameMessage(source="s1", frame=sound, direction=FrameDirection.DOWNSTREAM)
    data = Codec().encode(sent)
    assert data is not None
    assert len(data) <= 700


NAMES_A_MODULE = {"__type__": "antigravity.Thing", "__data__": {"x": 1}, "__specific__": True}


def test_a_payload_that_names_a_module_is_plain_data_and_nothing_is_imported():
    sent = BusJobRequestMessage(
        source="acme", target="coder", job_id="j", payload={"deep": [NAMES_A_MODULE]}
    )
    said = frames.LLMMessagesAppendFrame(messages=[{"role": "user", **NAMES_A_MODULE}])
    before = set(sys.modules)
    assert crossed(sent).payload == {"deep": [NAMES_A_MODULE]}
    assert crossed(carried(said)).frame.messages == [{"role": "user", **NAMES_A_MODULE}]
    assert set(sys.modules) == before
    assert "antigravity" not in sys.modules


def test_a_providers_message_is_told_apart_from_one_that_looks_like_it():
    messages = [
        {"__specific__": True, "llm": "x", "message": {}},
        LLMSpecificMessage(llm="x", message={"role": "user"}),
    ]
    assert crossed(carried(frames.LLMMessagesAppendFrame(messages))).frame.messages == messages


async def look_up(params, kit: str) -> None:
    """Say what a kit costs.

    Args:
        params: The call.
        kit: Which kit.
    """


def test_tools_arrive_as_what_an_llm_is_told_without_what_runs_them():
    hours = FunctionSchema("hours", "When we are open.", {}, [], handler=look_up)
    arrived = crossed(carried(frames.LLMSetToolsFrame([look_up, hours]))).frame.tools
    assert [tool.name for tool in arrived.standard_tools] == ["look_up", "hours"]
    assert [*arrived.standard_tools[0].properties] == ["kit"]
    assert [tool.handler for tool in arrived.standard_tools] == [None, None]
    assert arrived.direct_functions == []
    assert crossed(carried(frames.LLMSetToolsFrame(NOT_GIVEN))).frame.tools is NOT_GIVEN


def test_a_message_of_conversation_is_a_copy():
    context = LLMContext(messages=[{"role": "user", "content": "one"}])
    data = Codec().encode(carried(frames.LLMContextFrame(context)))
    context.add_message({"role": "user", "content": "two"})
    assert len(Codec().decode(data).frame.context.messages) == 1


def nested(depth):
    value = "end"
    for _ in range(depth):
        value = [value]
    return value


def with_payload(value):
    return BusJobRequestMessage(source="a", target="b", job_id="j", payload={"value": value})


HOLDS_ITSELF = []
HOLDS_ITSELF.extend([HOLDS_ITSELF, HOLDS_ITSELF])


@pytest.mark.parametrize(
    ("value", "why"),
    [
        (b"bytes", "a bytes"),
        (object(), "a object"),
        ({1: "one"}, "a key that isn't text"),
        (float("nan"), "not finite"),
        (nested(DEPTH + 1), "levels"),
        (nested(100_000), "levels"),
        (HOLDS_ITSELF, "too many"),
        ("x" * (MESSAGE_BYTES + 1), "of over"),
        ("\ud800", "UnicodeEncodeError"),
        ([0] * 1_000_000, "too many"),
    ],
    ids=["bytes", "object", "key", "nan", "deep", "deeper", "itself", "long", "surrogate", "many"],
)
def test_a_payload_that_cannot_cross_is_refused_with_the_reason(value, why):
    began = time.process_time()
    with pytest.raises(Refused, match=why):
        Codec().encode(with_payload(value))
    assert time.process_time() - began < 0.5


def test_a_payload_as_deep_as_may_be_crosses():
    assert crossed(with_payload(nested(DEPTH - 1))).payload == {"value": nested(DEPTH - 1)}


def test_what_is_made_of_plain_values_crosses_as_plain_values():
    import numpy as np
    from pipecat.utils.text.base_text_aggregator import TextType

    value = {TextType.WORD: (TextType.WORD, np.float64(1.5))}
    assert crossed(with_payload(value)).payload == {"value": {"word": ["word", 1.5]}}


def test_tools_that_are_none_are_refused():
    with pytest.raises(Refused, match="TypeError"):
        Codec().encode(carried(frames.LLMSetToolsFrame(["look_up"])))


def test_an_audio_frame_that_is_too_long_is_refused():
    with pytest.raises(Refused, match="audio"):
        Codec().encode(carried(frames.OutputAudioRawFrame(bytes(AUDIO_BYTES + 1), 16_000, 1)))


def test_settings_that_only_one_provider_has_are_refused_not_lost():
    own = AnthropicLLMService.Settings(enable_prompt_caching=True)
    with pytest.raises(Refused, match="provider's own"):
        Codec().encode(carried(frames.LLMUpdateSettingsFrame(delta=own)))
    general = AnthropicLLMService.Settings(temperature=0.5)
    arrived = crossed(carried(frames.LLMUpdateSettingsFrame(delta=general))).frame
    assert arrived.delta.given_fields() == {"temperature": 0.5}


def test_fields_that_stay_have_their_defaults_there():
    frame = frames.ErrorFrame("no answer", processor=object(), exception=ValueError("x"))  # type: ignore[arg-type]
    frame.fatal = True
    arrived = crossed(carried(frame)).frame
    kept = {one.name: one.default for one in dataclasses.fields(frames.ErrorFrame)}
    for name in STAYS[frames.ErrorFrame]:
        assert getattr(arrived, name) == kept[name]
