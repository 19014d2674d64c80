"""Messages of a call as stock Pipecat's `JSONMessageSerializer` writes and reads them.

What is written is the same, byte for byte. What arrives is looked up in the closed table and
checked field by field, where stock imports what a message names. Of a frame that is not in the
table only the name is read: an agent of ours sends it back as it came, because a stock main
worker has taken it out of its pipeline and waits for it.
"""

import json
from collections.abc import Mapping
from typing import Annotated, Any, NamedTuple

import msgspec
from pipecat.bus import BusFrameMessage, BusMessage
from pipecat.frames.frames import (
    Frame,
    PipelineFlushFrame,
    ServiceUpdateSettingsFrame,
)

from pipecat_workers_cli.wire import plain
from pipecat_workers_cli.wire.flush import Probes
from pipecat_workers_cli.wire.format import REFERS_TO_SEGMENT
from pipecat_workers_cli.wire.ids import BorrowedIds
from pipecat_workers_cli.wire.limits import MESSAGE_BYTES, NAME, Refused
from pipecat_workers_cli.wire.reading import BusReadingMessage
from pipecat_workers_cli.wire.staying import Staying
from pipecat_workers_cli.wire.stock_fields import StockShape
from pipecat_workers_cli.wire.stock_values import DATA, TYPE, type_name, write_fields
from pipecat_workers_cli.wire.types import FRAMES, MESSAGES, OF_EVERY_FRAME, OF_EVERY_MESSAGE

OURS_ALONE = (BusReadingMessage,)
"""Stock peers would look for a module that they haven't."""

STAY = dict.fromkeys(("event", "exception", "processor", "service"))
"""Fields of frames that can't be written, and are missed by nobody."""

MESSAGE_SHAPES: Mapping[str, StockShape] = {
    type_name(row.cls): StockShape(row.cls, (*OF_EVERY_MESSAGE, *row.fields))
    for row in MESSAGES
    if row.cls not in OURS_ALONE
}
FRAME_SHAPES: Mapping[str, StockShape] = {
    type_name(row.cls): StockShape(row.cls, row.fields, later=OF_EVERY_FRAME) for row in FRAMES
}
_CROSS = {shape.cls for shape in (*MESSAGE_SHAPES.values(), *FRAME_SHAPES.values())}
_FRAME = type_name(BusFrameMessage)

Name = Annotated[str, msgspec.Meta(max_length=NAME)]


class _Typed(msgspec.Struct, rename={"type": TYPE, "data": DATA}):
    type: str
    data: msgspec.Raw


class _Message(msgspec.Struct):
    source: Name
    target: Name | None = None
    frame: msgspec.Raw = msgspec.Raw()


class Head(NamedTuple):
    """What can be told of a message before it is read.

    Attributes:
        kind: The name of its type.
        source: Who sent it.
        target: For whom; None is everybody.
        frame: The name of its frame's type; None if it carries none.
    """

    kind: str
    source: str
    target: str | None
    frame: str | None

    @property
    def hands_on(self) -> bool:
        """Whether it carries a frame that is not in the table."""
        return self.frame is not None and self.frame not in FRAME_SHAPES


_read_typed = msgspec.json.Decoder(_Typed).decode
_read_message = msgspec.json.Decoder(_Message).decode
_read_parts = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_read_fields = plain.reader(dict[str, Any])
_encode = msgspec.json.encode
WRONG = (
    msgspec.MsgspecError,
    TypeError,
    ValueError,
    LookupError,
    AttributeError,
    OverflowError,
    RecursionError,
)
"""What classes of Pipecat's raise that are given a value they don't expect."""


class StockCodec:
    """Writes and reads the messages of one call in one process, as stock processes do.

    Attributes:
        refused: By type, messages, frames and parts of them that were to cross and don't.
    """

    def __init__(self) -> None:
        """Know nothing of the call yet."""
        self.refused = Staying()
        self.ids = BorrowedIds()
        self._probes = Probes()

    def encode(self, message: BusMessage) -> bytes | None:
        """Return a message as it crosses; None if messages or frames of its type don't.

        Args:
            message: The message. A flush probe's event is kept until the probe is back.

        Raises:
            Refused: It crosses, but this one is too large, or it holds what JSON can't.
        """
        frame = message.frame if isinstance(message, BusFrameMessage) else None
        if isinstance(message, OURS_ALONE):
            return None
        if type(message) not in _CROSS:
            return self.refused.note(type(message))
        if frame is not None and not _crosses(frame):
            return self.refused.note(type(frame))
        if isinstance(frame, PipelineFlushFrame):
            self._probes.leave(frame)
        try:
            fields = self._written(message, frame)
            told = {TYPE: type_name(type(message)), DATA: fields}
            data = json.dumps(told, separators=(",", ":"), allow_nan=False).encode()
        except (TypeError, ValueError, RecursionError) as error:
            name = type(frame or message).__name__
            raise Refused(f"a {name} with a wrong value: {type(error).__name__}") from None
        if len(data) > MESSAGE_BYTES:
            raise Refused(f"a {type(frame or message).__name__} of over {MESSAGE_BYTES:,} bytes")
        return data

    def _written(self, message: BusMessage, frame: Frame | None) -> dict[str, Any]:
        lose = self.refused.note
        if frame is None:
            return write_fields(message, lose)
        told = write_fields(frame, lose, **STAY)
        for name in ("id", "broadcast_sibling_id", "segment_id"):
            if name in told:
                told[name] = self.ids.leaving(told[name])
        typed = {TYPE: type_name(type(frame)), DATA: told}
        return write_fields(message, lose, frame=typed)

    def look(self, data: bytes) -> Head:
        """Tell what a message is, without making anything of it.

        Raises:
            Refused: It is nothing that a stock process would send, or too large.
        """
        if len(data) > MESSAGE_BYTES:
            raise Refused(f"a message of over {MESSAGE_BYTES:,} bytes")
        try:
            typed = _read_typed(data)
            message = _read_message(typed.data)
            frame = _read_typed(message.frame).type if typed.type == _FRAME else None
        except WRONG:
            raise Refused("it is no message of stock Pipecat's") from None
        return Head(typed.type, message.source, message.target, frame)

    def decode(self, data: bytes) -> BusMessage:
        """Return a message that arrived, with ids of this process.

        Args:
            data: A message that `look` had nothing against.

        Raises:
            Refused: Its type is not in the table, or it isn't what its type says.
        """
        try:
            typed = _read_typed(data)
            shape = MESSAGE_SHAPES.get(typed.type)
            if shape is None:
                raise Refused("a message of a type that isn't in the table")
            fields = _read_fields(bytes(typed.data))
            if shape.cls is BusFrameMessage:
                fields["frame"] = self._make_frame(fields["frame"], fields["source"])
            return shape.make(fields)
        except WRONG as error:
            raise Refused(f"no message can be made of it: {type(error).__name__}") from None

    def _make_frame(self, typed: dict[str, Any], source: str) -> Frame:
        shape = FRAME_SHAPES.get(typed[TYPE])
        if shape is None:
            raise Refused("a frame of a type that isn't in the table")
        data = typed[DATA]
        frame: Frame = shape.make(data)
        frame.id = self.ids.arriving(source, msgspec.convert(data["id"], int))
        if frame.broadcast_sibling_id is not None:
            frame.broadcast_sibling_id = self.ids.arriving(source, frame.broadcast_sibling_id)
        if isinstance(frame, REFERS_TO_SEGMENT) and frame.segment_id is not None:
            frame.segment_id = self.ids.arriving(source, frame.segment_id)
        if isinstance(frame, PipelineFlushFrame):
            self._probes.arrive(frame)
        return frame

    def sent_back(self, data: bytes, source: str) -> bytes:
        """Return a message of whatever type as another worker would hand it on.

        Args:
            data: A message that `look` had nothing against.
            source: Who hands it on.

        Raises:
            Refused: What `look` left out is no JSON.
        """
        try:
            typed = _read_typed(data)
            fields = _read_parts(typed.data)
        except WRONG:
            raise Refused("it is no message of stock Pipecat's") from None
        fields["source"] = msgspec.Raw(_encode(source))
        return _encode({TYPE: typed.type, DATA: fields})


def _crosses(frame: Frame) -> bool:
    """Tell whether a frame's type crosses, and the frame is not for one service of this process."""
    is_for_one = isinstance(frame, ServiceUpdateSettingsFrame) and frame.service is not None
    return type(frame) in _CROSS and not is_for_one
