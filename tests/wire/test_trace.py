"""Of which span a message is part crosses with it, and nothing else does in its place."""

import pytest
from pipecat.bus import BusEndMessage, BusFrameMessage, BusJobRequestMessage, BusMessage
from pipecat.frames.frames import LLMContextFrame
from pipecat.processors.aggregators.llm_context import LLMContext
from pipecat.processors.frame_processor import FrameDirection

from pipecat_workers_cli.wire.format import Codec
from pipecat_workers_cli.wire.limits import Refused
from pipecat_workers_cli.wire.trace import carried, carry

TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


def crossed(message: BusMessage) -> BusMessage:
    return Codec().decode(Codec().encode(message) or b"")


def turn() -> BusFrameMessage:
    frame = LLMContextFrame(LLMContext())
    return BusFrameMessage(source="desk", frame=frame, direction=FrameDirection.DOWNSTREAM)


@pytest.mark.parametrize(
    "message", [turn(), BusJobRequestMessage(source="a", target="b", job_id="1", payload={})]
)
def test_a_message_arrives_as_part_of_the_same_span(message: BusMessage) -> None:
    assert carried(crossed(message)) is None
    carry(message, TRACE)
    assert carried(crossed(message)) == TRACE


def test_a_frame_says_itself_of_which_span_it_is_part() -> None:
    """The agent is handed the frame; the message round it is gone by then."""
    message = turn()
    carry(message.frame, TRACE)
    arrived = crossed(message)
    assert isinstance(arrived, BusFrameMessage)
    assert carried(arrived.frame) == carried(arrived) == TRACE


@pytest.mark.parametrize("trace", ["", "x" * 55, TRACE[:-1], TRACE + "0", TRACE.upper(), 7])
def test_what_is_no_trace_is_refused(trace: object) -> None:
    message = BusEndMessage(source="a")
    carry(message, trace)  # type: ignore[arg-type]
    data = Codec().encode(message) or b""
    with pytest.raises(Refused, match=r"format 2: wrong at `\$\[2\]`"):
        Codec().decode(data)
