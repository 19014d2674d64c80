"""What happened in a call, as one object: the schema that every output of `pmw` shares."""

from typing import Any, Literal

import msgspec

Event = Literal[
    "call",
    "user",
    "bot",
    "transfer",
    "tool",
    "job",
    "context",
    "message",
    "left_out",
    "end",
    "error",
]

TOLD: frozenset[Event] = frozenset({"user", "bot", "transfer", "tool", "job", "end", "error"})
"""The events that people are told of as they happen."""


class Entry(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One event of a call. Fields that say nothing are left out of its JSON.

    Attributes:
        event: What happened. `call`: it began. `user`, `bot`: a turn. `transfer`: another
            agent has the call. `tool`: an LLM calls one, and in a second entry, which has a
            `state`, that call ended. `job`: see `state`. `context`: a worker's LLM was given
            the conversation. `message`: one message on the bus, or many alike summed up.
            `left_out`: messages came too fast to be told one by one. `end`, `error`.
        call: The call it happened in, eight hex digits; empty if it concerns the session.
        at_ms: Milliseconds since the call, or the session, began.
        worker: Whose event it is: who spoke, called the tool, asked for the job, was given
            the conversation, hands over, failed, sent the message.
        text: The words of a `user` or `bot` turn, or what an `error` says. Of a `job`: what
            is being done, the answer, or why there is none.
        turn: Of a `bot` turn: which answer of the call it is, from 1; left out for what is
            said between turns, such as a filler.
        latency_ms: Of a `bot` turn that answers one of the caller's: from the end of their
            words to its first sound, or in words to its first text.
        parts: What `latency_ms` is made of, milliseconds a part.
        target: Of a `transfer`: who takes over. Of a `message`: for whom; left out for all.
        reason: Of a `transfer` or an `end`.
        name: Of a `tool`: its name. Of a `job`: its worker. Of a `call`: the recipe.
        args: Of a `tool`: its arguments. Of a `job` that starts: what it is given.
        id: Of a `job`; the workers of a job group share one. Of a `tool`: the call's id.
        state: Of a `job`: started, update, completed, failed, cancelled, timeout. Of a `tool`
            that has ended: completed, failed, cancelled.
        result: Of a `tool` that has ended: its answer.
        took_ms: Of a `job` or a `tool` that has ended: milliseconds since it began.
        cost_usd: Of a `job` that has ended: what its answer cost, where that is known.
        kind: Of a `message`: what it is about, as in the table of kinds.
        type: Of a `message`: Pipecat's class, the frame's if it carries one.
        size: Of a `message`: bytes of audio, or of its payload as JSON.
        count: Of a `message`: how many were summed up; of `left_out`: how many.
        seconds: Of a `message` of audio: how long it plays.
        payload: Of a `message`: what it carries, shortened. Of a `call`: `hash`, `began`
            (wall clock, ISO 8601), `providers`, `workers` with `name`, `kind`, `summary` and
            `prompt`. Of a `context`: `of` (messages in all), `since` (the place of the first
            that is told here), `messages` (those that are new or have changed), `tools`.
    """

    event: Event
    call: str
    at_ms: int
    worker: str | None = None
    text: str | None = None
    turn: int | None = None
    latency_ms: float | None = None
    parts: dict[str, float] | None = None
    target: str | None = None
    reason: str | None = None
    name: str | None = None
    args: dict[str, Any] | None = None
    id: str | None = None
    state: str | None = None
    result: Any = None
    took_ms: float | None = None
    cost_usd: float | None = None
    kind: str | None = None
    type: str | None = None
    size: int | None = None
    count: int | None = None
    seconds: float | None = None
    payload: dict[str, Any] | None = None

    @property
    def told(self) -> bool:
        """Whether people are told of it as it happens: not of the bus, nor of a tool's end."""
        return self.event in TOLD and not (self.event == "tool" and self.state is not None)
