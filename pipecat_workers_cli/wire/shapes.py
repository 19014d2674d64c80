"""The rows of the table as what msgspec reads and writes: arrays whose first element is a number.

Made once, when this is imported. A row that doesn't fit the installed Pipecat fails here.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from operator import attrgetter
from typing import Annotated, Any, Union

import msgspec
from msgspec import Meta

from pipecat_workers_cli.wire.fields import FORMS, OF_ONE_FIELD, Form, Name
from pipecat_workers_cli.wire.limits import METADATA_BYTES
from pipecat_workers_cli.wire.trace import TraceParent
from pipecat_workers_cli.wire.types import FRAMES, MESSAGES, OF_EVERY_FRAME, OF_EVERY_MESSAGE, Row

FORMAT = 2  # of a message; another is refused


@dataclass(frozen=True, slots=True)
class Shape:
    """How one type crosses.

    Attributes:
        cls: The class.
        struct: What it is on the wire.
        get: Takes what crosses out of a message or frame, in the order of the wire.
        names: The row's fields, in that order.
        packs: For fields that aren't written as they are: their place among `names`, and
            what makes of them what is written.
        unpacks: The same the other way, by name.
        late: Fields that the class's constructor doesn't take.
    """

    cls: type
    struct: type[msgspec.Struct]
    get: Callable[[Any], tuple[Any, ...]]
    names: tuple[str, ...]
    packs: tuple[tuple[int, Callable[[Any], Any]], ...]
    unpacks: tuple[tuple[str, Callable[[Any], Any]], ...]
    late: tuple[str, ...]

    def pack(self, values: list[Any]) -> list[Any]:
        """Make of fields' values what is written, in place."""
        for place, pack in self.packs:
            values[place] = pack(values[place])
        return values

    def make(self, values: Sequence[Any]) -> Any:
        """Make a message or frame of what was read.

        Raises:
            Refused: A value is none of its field's.
            TypeError: The class will not have it.
            ValueError: The class will not have it.
        """
        given = dict(zip(self.names, values, strict=True))
        for name, unpack in self.unpacks:
            given[name] = unpack(given[name])
        late = [(name, given.pop(name)) for name in self.late]
        made = self.cls(**given)
        for name, value in late:
            setattr(made, name, value)
        return made


class Extra(msgspec.Struct, array_like=True, forbid_unknown_fields=True, gc=False):
    """What few frames have; None stands for it on all the others.

    Attributes:
        home: What the ids of the process that sends it are told apart by.
        id: The frame's id there, if another frame refers to it.
        sibling: The id there of the frame that goes the other way.
        pts: When it is to be presented, nanoseconds.
        metadata: Notes on it, as JSON.
        source: The name of the transport it came from.
        destination: The name of the transport it is for.
    """

    home: int
    id: int | None
    sibling: int | None
    pts: int | None
    metadata: Annotated[bytes, Meta(max_length=METADATA_BYTES)] | None
    source: Name | None
    destination: Name | None


def form_of(cls: type, name: str, special: Mapping[tuple[str, str], Form]) -> Form:
    """Return how a field crosses.

    Args:
        cls: The class that has it.
        name: The field's name.
        special: Fields that don't cross as their annotation says.
    """
    for ancestor in cls.__mro__:
        if (ancestor.__name__, name) in special:
            return special[ancestor.__name__, name]
    annotation = next(one.type for one in fields(cls) if one.name == name)
    return FORMS[annotation if isinstance(annotation, str) else annotation.__name__]


def _shape(
    row: Row,
    names: tuple[str, ...],
    *,
    special: Mapping[tuple[str, str], Form] = OF_ONE_FIELD,
    ahead: Sequence[tuple[str, Any]] = (),
    taken_ahead: Sequence[str] = (),
) -> Shape:
    """Make the shape of a row.

    Args:
        row: The row.
        names: The fields that cross.
        special: Fields that don't cross as their annotation says.
        ahead: Names and types of what stands before the fields on the wire.
        taken_ahead: Attributes that `get` takes out before the fields.
    """
    forms = {name: form_of(row.cls, name, special) for name in names}
    struct = msgspec.defstruct(
        row.cls.__name__,
        [*ahead, *((name, form.type) for name, form in forms.items())],
        array_like=True,
        tag=row.number,
        forbid_unknown_fields=True,
        gc=False,
    )
    given = {one.name for one in fields(row.cls) if one.init}
    return Shape(
        cls=row.cls,
        struct=struct,
        get=attrgetter(*taken_ahead, *names),
        names=names,
        packs=tuple((at, one.pack) for at, one in enumerate(forms.values()) if one.pack),
        unpacks=tuple((name, one.unpack) for name, one in forms.items() if one.unpack),
        late=tuple(name for name in names if name not in given),
    )


FRAME_SHAPES: Mapping[type, Shape] = {
    row.cls: _shape(
        row,
        row.fields,
        ahead=[("extra", Extra | None), ("interruptible", bool)],
        taken_ahead=OF_EVERY_FRAME,
    )
    for row in FRAMES
}

_ANY_FRAME = Union[tuple(shape.struct for shape in FRAME_SHAPES.values())]  # noqa: UP007

MESSAGE_SHAPES: Mapping[type, Shape] = {
    row.cls: _shape(
        row,
        (*OF_EVERY_MESSAGE, *row.fields),
        special={**OF_ONE_FIELD, ("BusFrameMessage", "frame"): Form(_ANY_FRAME)},
    )
    for row in MESSAGES
}

_ANY_MESSAGE = Union[tuple(shape.struct for shape in MESSAGE_SHAPES.values())]  # noqa: UP007

Envelope = msgspec.defstruct(
    "Envelope",
    [("message", _ANY_MESSAGE), ("trace", TraceParent | None, None)],
    array_like=True,
    tag=FORMAT,
    forbid_unknown_fields=True,
    gc=False,
)
"""A message, and of which span it is part.

Its tag is the format, so that one of another format is refused before it is read.
"""

BY_STRUCT: Mapping[type, Shape] = {
    shape.struct: shape for shape in (*FRAME_SHAPES.values(), *MESSAGE_SHAPES.values())
}
