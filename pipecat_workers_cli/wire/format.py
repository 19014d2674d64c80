"""Messages of a call as bytes: MessagePack by position, only of the types in the table.

Nothing in a message names what is imported or made: its numbers choose among the rows of the
table, and every value is checked before it gets to whoever works with it.
"""

from contextlib import suppress
from typing import Any

import msgspec
from pipecat.bus import BusFrameMessage, BusMessage
from pipecat.frames.frames import (
    AggregatedTextFrame,
    AggregatedTextProgressFrame,
    Frame,
    PipelineFlushFrame,
    ServiceUpdateSettingsFrame,
    TTSTextFrame,
)

from pipecat_workers_cli.wire import plain
from pipecat_workers_cli.wire.flush import Probes
from pipecat_workers_cli.wire.ids import Ids
from pipecat_workers_cli.wire.limits import MESSAGE_BYTES, METADATA_BYTES, Refused
from pipecat_workers_cli.wire.shapes import (
    BY_STRUCT,
    FORMAT,
    FRAME_SHAPES,
    MESSAGE_SHAPES,
    Envelope,
    Extra,
)
from pipecat_workers_cli.wire.staying import Staying
from pipecat_workers_cli.wire.trace import carried, carry
from pipecat_workers_cli.wire.types import OF_EVERY_FRAME

REFERS_TO_SEGMENT = (TTSTextFrame, AggregatedTextProgressFrame)
"""They name the frame whose words they are by its id."""

NOTHING = (None,) * 4

_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Envelope).decode
_values = msgspec.structs.astuple
_COMMON = len(OF_EVERY_FRAME)
_read_metadata = plain.reader(dict[str, Any])


class Codec:
    """Writes and reads the messages of one call in one process.

    Attributes:
        refused: By type, messages and frames that were to cross and don't.
    """

    def __init__(self) -> None:
        """Know nothing of the call yet."""
        self.refused = Staying()
        self._ids = Ids()
        self._probes = Probes()

    def encode(self, message: BusMessage) -> bytes | None:
        """Return a message as it crosses; None if messages or frames of its type don't.

        Args:
            message: The message. A flush probe's event is kept until the probe is back.

        Raises:
            Refused: It crosses, but this one is too large, or it holds what can't.
        """
        shape = MESSAGE_SHAPES.get(type(message))
        if shape is None:
            return self.refused.note(type(message))
        values = list(shape.get(message))
        try:
            if isinstance(message, BusFrameMessage):
                values[-1] = self._pack_frame(message.frame)
                if values[-1] is None:
                    return self.refused.note(type(message.frame))
            data = _encode(Envelope(shape.struct(*shape.pack(values)), carried(message)))
        except (TypeError, ValueError, OverflowError) as error:
            why = f"a {shape.cls.__name__} with a wrong value: {type(error).__name__}"
            raise Refused(why) from None
        if len(data) > MESSAGE_BYTES:
            raise Refused(f"a {shape.cls.__name__} of over {MESSAGE_BYTES:,} bytes")
        return data

    def decode(self, data: bytes) -> BusMessage:
        """Return a message that arrived, with ids of this process.

        Args:
            data: What `encode` returned in another process of the call.

        Raises:
            Refused: It is nothing that `encode` would return.
        """
        if len(data) > MESSAGE_BYTES:
            raise Refused(f"a message of over {MESSAGE_BYTES:,} bytes")
        try:
            struct, trace = _values(_decode(data))
            message = self._make(struct)
        except msgspec.MsgspecError as error:
            _, _, place = str(error).rpartition(" - at ")  # what stands before may quote it
            where = f"wrong at {place[:80]}" if place.startswith("`") else "malformed or cut off"
            raise Refused(f"no message of format {FORMAT}: {where}") from None
        except (TypeError, ValueError, OverflowError, RecursionError) as error:
            raise Refused(f"no message can be made of it: {type(error).__name__}") from None
        if trace is not None:
            carry(message, trace)
        return message

    def _make(self, struct: msgspec.Struct) -> BusMessage:
        shape = BY_STRUCT[type(struct)]
        values = _values(struct)
        if shape.cls is BusFrameMessage:
            values = (*values[:-1], self._make_frame(values[-1]))
        return shape.make(values)

    def _pack_frame(self, frame: Frame) -> msgspec.Struct | None:
        shape = FRAME_SHAPES.get(type(frame))
        if shape is None:
            return None
        if isinstance(frame, ServiceUpdateSettingsFrame) and frame.service is not None:
            return None  # it is for one service of this process
        if isinstance(frame, PipelineFlushFrame):
            self._probes.leave(frame)
        values = list(shape.get(frame))
        extra = self._extra(frame, values)
        return shape.struct(extra, frame.interruptible, *shape.pack(values[_COMMON:]))

    def _extra(self, frame: Frame, values: list[Any]) -> Extra | None:
        """Return what few frames have, if this one has it."""
        _, sibling, pts, metadata, source, destination, *_ = values
        is_segment = type(frame) is AggregatedTextFrame
        if (
            (sibling, pts, source, destination) == NOTHING
            and not metadata
            and not is_segment
            and not isinstance(frame, REFERS_TO_SEGMENT)
        ):
            return None
        return Extra(
            home=self._ids.home,
            id=frame.id if is_segment or sibling is not None else None,
            sibling=sibling,
            pts=pts,
            metadata=_pack_metadata(metadata) if metadata else None,
            source=source,
            destination=destination,
        )

    def _make_frame(self, struct: msgspec.Struct) -> Frame:
        shape = BY_STRUCT[type(struct)]
        extra, interruptible, *values = _values(struct)
        frame: Frame = shape.make(values)
        frame.interruptible = interruptible
        if extra is not None:
            self._take_up(extra, frame)
        if isinstance(frame, PipelineFlushFrame):
            self._probes.arrive(frame)
        return frame

    def _take_up(self, extra: Extra, frame: Frame) -> None:
        if extra.id is not None:
            frame.id = self._ids.here(extra.home, extra.id)
        if extra.sibling is not None:
            frame.broadcast_sibling_id = self._ids.here(extra.home, extra.sibling)
        if isinstance(frame, REFERS_TO_SEGMENT) and frame.segment_id is not None:
            frame.segment_id = self._ids.here(extra.home, frame.segment_id)
        if extra.metadata is not None:
            frame.metadata = _read_metadata(extra.metadata)
        frame.pts = extra.pts
        frame.transport_source = extra.source
        frame.transport_destination = extra.destination


def _pack_metadata(metadata: dict[str, Any]) -> bytes | None:
    """Return the notes on a frame that are plain; the others are for this process alone."""
    told: dict[str, Any] = {}
    for key, value in metadata.items():
        with suppress(Refused):
            plain.pack({key: value})
            told[key] = value
    text = plain.pack(told)
    return text if told and len(text) <= METADATA_BYTES else None
