"""What is said over a session's socket: one request a connection, then replies, JSON lines.

Requests are closed: a session does nothing that is not written here. Replies may have fields
that a reader does not know, for a session may be of a later version than who looks at it.
"""

from typing import Annotated

import msgspec

from pipecat_workers_cli.traffic.entry import Entry

REQUEST_BYTES = 131_072  # the longest turn, each of its signs escaped, is below it
REPLY_BYTES = 4_194_304  # a snapshot of a hundred calls is a tenth of it
TURN = 16_384  # characters of a turn
LONGEST = 3_600.0  # seconds that a turn may take


class Request(
    msgspec.Struct, frozen=True, kw_only=True, tag_field="ask", forbid_unknown_fields=True
):
    """What a client wants."""


class AskStatus(Request, frozen=True, kw_only=True, tag="status"):
    """What the session is and does; answered by a `Status`."""


class Say(Request, frozen=True, kw_only=True, tag="say"):
    """One turn of the caller, in words; answered by `Told`s until a `Done`.

    Attributes:
        text: The words.
        call: In which call; None is the only one, or the one that is opened and kept.
        timeout: Seconds within which the answer must have ended.
    """

    text: Annotated[str, msgspec.Meta(min_length=1, max_length=TURN)]
    call: Annotated[str, msgspec.Meta(max_length=64)] | None = None
    timeout: Annotated[float, msgspec.Meta(gt=0, le=LONGEST)] = 30.0


class Stop(Request, frozen=True, kw_only=True, tag="stop"):
    """End the session as SIGTERM does; answered by a `Done` before it begins to."""


class Watch(Request, frozen=True, kw_only=True, tag="watch"):
    """What happens from now on; answered by `Told`s and `Seen`s until the session ends.

    What came too fast to be told is counted by an entry `left_out` of no call.

    Attributes:
        entries: Whether to tell each entry.
        snapshots: Whether to show a summary a few times a second.
    """

    entries: bool = True
    snapshots: bool = False


class Remember(Request, frozen=True, kw_only=True, tag="remember"):
    """What happened in the last ten minutes; answered by `Told`s until a `Done`."""


AnyRequest = AskStatus | Say | Stop | Watch | Remember


class Reply(msgspec.Struct, frozen=True, kw_only=True, tag_field="is", omit_defaults=True):
    """What a client is told."""


class CallStatus(msgspec.Struct, frozen=True, kw_only=True):
    """One open call.

    Attributes:
        call: Its id.
        worker: Who is active in it; None before anybody is.
        turns: Answers given.
        age: Seconds since it began.
    """

    call: str
    worker: str | None
    turns: int
    age: float


class Status(Reply, frozen=True, kw_only=True, tag="status", omit_defaults=False):
    """What a session is and does; of one that does not answer, name and process alone.

    Attributes:
        name: Its name.
        pid: Its process.
        answers: Whether it answered when it was asked.
        recipe: The name of what it runs.
        address: Where callers reach it; None if they don't.
        providers: Who hears, thinks and speaks, and why these.
        max_calls: Calls at once; None is any number.
        uptime: Seconds since it began.
        version: Of pmw.
        calls: The open ones, the oldest first.
    """

    name: str
    pid: int
    answers: bool = True
    recipe: str | None = None
    address: str | None = None
    providers: str | None = None
    max_calls: int | None = None
    uptime: float | None = None
    version: str | None = None
    calls: tuple[CallStatus, ...] = ()


class Told(Reply, frozen=True, kw_only=True, tag="entry"):
    """Something happened."""

    entry: Entry


class Seen(Reply, frozen=True, kw_only=True, tag="snapshot"):
    """A summary of all calls.

    Attributes:
        snapshot: A `traffic.snapshot.Snapshot`, left as it is for who wants it.
        lag: Seconds by which the session's event loop was late when it was last measured.
    """

    snapshot: msgspec.Raw
    lag: float = 0.0


class Done(Reply, frozen=True, kw_only=True, tag="done"):
    """What was asked for has been done."""


class Refused(Reply, frozen=True, kw_only=True, tag="refused"):
    """It was not done, or no more of it comes.

    Attributes:
        what: What happened.
        mend: What to do about it.
        typed: Whether what was typed is wrong.
    """

    what: str
    mend: str
    typed: bool = False


class Bye(Reply, frozen=True, kw_only=True, tag="bye"):
    """The session ends; nothing more comes."""


AnyReply = Status | Told | Seen | Done | Refused | Bye
