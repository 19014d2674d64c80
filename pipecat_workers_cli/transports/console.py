"""A call in words: the caller's turns come from a program or a person at a terminal."""

import uuid
from typing import Any

from pipecat.frames.frames import Frame, InputTransportMessageFrame, StartFrame
from pipecat.processors.frame_processor import FrameDirection, FrameProcessor
from pipecat.processors.frameworks.rtvi import models as RTVI
from pipecat.transports.base_transport import BaseTransport


def text_turn(text: str) -> dict[str, Any]:
    """Return the message by which an RTVI client says a turn in words."""
    message = RTVI.Message(
        type="send-text",
        id=uuid.uuid4().hex,
        data=RTVI.SendTextData(content=text).model_dump(exclude_none=True),
    )
    return message.model_dump(exclude_none=True)


class ConsoleTransport(BaseTransport):
    """Carries text turns the way a client's typed messages come, by RTVI's `send-text`.

    Each turn interrupts what is being said, waits until the pipeline has settled and is
    then answered, in the same pipelines as speech.

    Event handlers available:

    - on_client_connected(transport, client): The pipeline runs; turns may be sent.
    - on_client_disconnected(transport, client): `hang_up` was called.
    """

    def __init__(self) -> None:
        super().__init__()
        self._input = _ConsoleInput(self)
        self._output = _ConsoleOutput()
        self._register_event_handler("on_client_connected")
        self._register_event_handler("on_client_disconnected", sync=True)

    def input(self) -> FrameProcessor:
        """Return the processor that turns enter by."""
        return self._input

    def output(self) -> FrameProcessor:
        """Return the processor behind which an answer counts as given."""
        return self._output

    async def send_turn(self, text: str) -> None:
        """Say `text` as the caller, as one turn."""
        await self._input.broadcast_frame(InputTransportMessageFrame, message=text_turn(text))

    async def hang_up(self) -> None:
        """Leave the call as a client that goes away does."""
        await self._call_event_handler("on_client_disconnected", None)

    async def client_connected(self) -> None:
        """Tell those who wait for the caller that it is there."""
        await self._call_event_handler("on_client_connected", None)


class _ConsoleInput(FrameProcessor):
    """Announces the caller when the pipeline starts."""

    def __init__(self, transport: ConsoleTransport) -> None:
        # It only passes frames on: without queues of its own they take no task switch here.
        super().__init__(enable_direct_mode=True)
        self._transport = transport

    async def process_frame(self, frame: Frame, direction: FrameDirection) -> None:
        await super().process_frame(frame, direction)
        await self.push_frame(frame, direction)
        if isinstance(frame, StartFrame):
            await self._transport.client_connected()


class _ConsoleOutput(FrameProcessor):
    """Lets everything pass: what is said is read from the conversation."""

    def __init__(self) -> None:
        super().__init__(enable_direct_mode=True)

    async def process_frame(self, frame: Frame, direction: FrameDirection) -> None:
        await super().process_frame(frame, direction)
        await self.push_frame(frame, direction)
