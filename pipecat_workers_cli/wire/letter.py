"""Letters and parcels: what one process posts to another, many messages at once."""

from collections.abc import Sequence
from typing import Annotated

import msgspec
from msgspec import Meta

from pipecat_workers_cli.wire.limits import (
    CALL,
    MESSAGE_BYTES,
    NAME,
    PARCEL_BYTES,
    PARCEL_LETTERS,
    Refused,
)

VERSION = 1  # of a parcel; another is refused before it is read

Count = Annotated[int, Meta(ge=0)]


class Letter(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True, gc=False):
    """One message of a call.

    Attributes:
        call: The call it belongs to.
        worker: Whom it is about: who says it, or to whom its process is told it.
        epoch: By which claim of that worker; what an earlier one still says is out of date.
        body: The message, as `Codec.encode` returns it, or the notice.
        notice: Whether it is a notice, which concerns the worker and is no message to it.
    """

    call: Annotated[str, Meta(max_length=CALL)]
    worker: Annotated[str, Meta(max_length=NAME)]
    epoch: Count
    body: Annotated[bytes, Meta(max_length=MESSAGE_BYTES)]
    notice: bool = False


class Parcel(
    msgspec.Struct,
    frozen=True,
    array_like=True,
    forbid_unknown_fields=True,
    gc=False,
    tag=VERSION,
):
    """Letters that travel together, in order.

    Attributes:
        sender: The address of the process that sends it.
        seq: Larger than that of any parcel it sent before.
        letters: What is in it, oldest first.
    """

    sender: Annotated[str, Meta(max_length=NAME)]
    seq: Count
    letters: Annotated[Sequence[Letter], Meta(max_length=PARCEL_LETTERS)]


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Parcel).decode


def encode(parcel: Parcel) -> bytes:
    """Return a parcel as it travels.

    Raises:
        Refused: It is too large, or has too many letters.
    """
    if len(parcel.letters) > PARCEL_LETTERS:
        raise Refused(f"a parcel of over {PARCEL_LETTERS:,} letters")
    data = _encode(parcel)
    if len(data) > PARCEL_BYTES:
        raise Refused(f"a parcel of over {PARCEL_BYTES:,} bytes")
    return data


def decode(data: bytes) -> Parcel:
    """Return a parcel that arrived; the letters' bodies are not looked into.

    Raises:
        Refused: It is no parcel of this version, or too large.
    """
    if len(data) > PARCEL_BYTES:
        raise Refused(f"a parcel of over {PARCEL_BYTES:,} bytes")
    try:
        return _decode(data)
    except (msgspec.MsgspecError, ValueError, RecursionError):
        raise Refused(f"no parcel of version {VERSION}") from None
