"""What the processes of a call tell each other beside its messages, and what an offer says.

A worker's host and the call's main worker speak of one worker at a time; which one, and by
which claim, is on the letter.
"""

from typing import Annotated

import msgspec

from pipecat_workers_cli.wire.limits import Refused

Name = Annotated[str, msgspec.Meta(min_length=1, max_length=200)]
Text = Annotated[str, msgspec.Meta(max_length=2_000)]
CLAIMS = 1_000
"""How many claims of one offer are told apart; an epoch is the offer's number times this, and
the claim's. Nobody takes three seconds a thousand times in one call."""


class Joined(msgspec.Struct, tag="joined", frozen=True, forbid_unknown_fields=True):
    """A host runs the worker now.

    Attributes:
        host: What the host is called, `machine-12345`.
        version: Its version of pmw.
        hash: Of the recipe by which it built the worker.
    """

    host: Name
    version: Name
    hash: Text


class Left(msgspec.Struct, tag="left", frozen=True, forbid_unknown_fields=True):
    """A host runs the worker no longer, or never could.

    Attributes:
        why: In a few words.
    """

    why: Text


class Present(msgspec.Struct, tag="present", frozen=True, forbid_unknown_fields=True):
    """Which workers of the call are there, the main worker included.

    Attributes:
        names: Theirs.
    """

    names: Annotated[list[Name], msgspec.Meta(max_length=1_000)]


class Leave(msgspec.Struct, tag="leave", frozen=True, forbid_unknown_fields=True):
    """The worker isn't needed any more: the call is over, or another host has it.

    Attributes:
        why: In a few words.
    """

    why: Text


class ToolBegun(msgspec.Struct, tag="tool", frozen=True, forbid_unknown_fields=True):
    """The worker is about to run a tool: if no result comes, its outcome is unknown.

    It runs once this is `Noted`.

    Attributes:
        id: The call's.
        name: The tool's.
    """

    id: Name
    name: Name


class Noted(msgspec.Struct, tag="noted", frozen=True, forbid_unknown_fields=True):
    """The main worker's process knows of a tool that is about to run, and still hears the worker.

    Attributes:
        id: The call's.
    """

    id: Name


Notice = Joined | Left | Present | Leave | ToolBegun | Noted


class Offer(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A worker of a call that somebody is to host.

    Attributes:
        call: The call's id.
        worker: The worker's name in the recipe.
        main: The main worker's name.
        address: The inbox of the main worker's process.
        number: How often this worker was offered in this call, from 1.
        hash: Of the main worker's recipe.
        speech: Whether the caller hears voices; without, no worker needs one of its own.
    """

    call: Name
    worker: Name
    main: Name
    address: Name
    number: Annotated[int, msgspec.Meta(ge=1, le=1_000_000)]
    hash: Text
    speech: bool

    def epoch(self, claim: int) -> int:
        """Return what tells this claim of the worker from all others before and after.

        Args:
            claim: How often the offer has been claimed.
        """
        return self.number * CLAIMS + min(claim, CLAIMS - 1)


_encoder = msgspec.msgpack.Encoder()
_notices: msgspec.msgpack.Decoder[Notice] = msgspec.msgpack.Decoder(Notice)
_offers = msgspec.msgpack.Decoder(Offer)


def encode_notice(notice: Notice | Offer) -> bytes:
    """Return a notice or an offer as it travels."""
    return _encoder.encode(notice)


def decode_notice(data: bytes) -> Notice:
    """Return the notice that was sent.

    Raises:
        Refused: It is none.
    """
    try:
        return _notices.decode(data)
    except (msgspec.MsgspecError, ValueError, RecursionError):
        raise Refused("it is no notice of ours") from None


def decode_offer(data: bytes) -> Offer:
    """Return the offer that was made.

    Raises:
        Refused: It is none.
    """
    try:
        return _offers.decode(data)
    except (msgspec.MsgspecError, ValueError, RecursionError):
        raise Refused("it is no offer of ours") from None
