"""What happened in a call, as one object: the schema that every output of `pmw` shares."""

from typing import Any, Literal

import msgspec

Event = Literal["user", "bot", "transfer", "tool", "job", "end", "error"]


class Entry(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One event of a call. Fields that say nothing are left out of its JSON.

    Attributes:
        event: What happened.
        call: The call it happened in.
        at_ms: Milliseconds since the call began.
        worker: Whose event it is: who spoke, called the tool, hands over, failed.
        text: The words of a `user` or `bot` turn, or what an `error` says. Of a `job`: what
            is being done, the answer, or why there is none.
        turn: Of a `bot` turn: which answer of the call it is, from 1; left out for what is
            said between turns, such as a filler.
        target: Of a `transfer`: who takes over.
        reason: Of a `transfer` or an `end`.
        name: Of a `tool`: its name. Of a `job`: its worker.
        args: Of a `tool`: its arguments. Of a `job` that starts: what it is given.
        id: Of a `job`.
        state: Of a `job`: started, update, completed, failed, cancelled, timeout.
        cost_usd: Of a `job` that has ended: what its answer cost, where that is known.
    """

    event: Event
    call: str
    at_ms: int
    worker: str | None = None
    text: str | None = None
    turn: int | None = None
    target: str | None = None
    reason: str | None = None
    name: str | None = None
    args: dict[str, Any] | None = None
    id: str | None = None
    state: str | None = None
    cost_usd: float | None = None
