"""A recorded call as people think of it: turns, and in each who said and did what, and when."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

import msgspec

from pipecat_workers_cli.traffic.entry import Entry

MOST_ENTRIES = 200_000  # of one call; some ten hours of talking


class Step(msgspec.Struct, kw_only=True, omit_defaults=True):
    """Something that was said or done in a turn.

    Attributes:
        what: user, bot, tool, job, transfer, error.
        at_ms: When it began, in milliseconds since the call began.
        worker: Who said it, called it, asked for it, handed over, failed.
        name: A tool's; a job's worker; a transfer's target.
        text: What was said; a job's answer, or why it has none; an error; why a transfer was.
        args: A tool's, or what a job was given.
        result: A tool's.
        state: How a tool or a job ended; None if the recording ends before it.
        took_ms: How long it took; of an answer, the caller's wait for it.
        parts: What an answer's wait was made of.
        told: What a job was at, in its order.
        steps: What was done for it: the jobs of a tool, the tools of a job's worker.
    """

    what: str
    at_ms: int
    worker: str | None = None
    name: str | None = None
    text: str | None = None
    args: dict[str, Any] | None = None
    result: Any = None
    state: str | None = None
    took_ms: float | None = None
    parts: dict[str, float] | None = None
    told: list[str] = []
    steps: list["Step"] = []


class Given(msgspec.Struct, kw_only=True):
    """What a worker's LLM was given for one response.

    Attributes:
        at_ms: When, in milliseconds since the call began.
        worker: Whose LLM.
        messages: The conversation, whole.
        tools: The names of what it could call.
    """

    at_ms: int
    worker: str
    messages: list[Any]
    tools: list[str]


class Turn(msgspec.Struct, kw_only=True):
    """What the caller said and what came of it; turn 0 is before they said anything.

    Attributes:
        number: From 0.
        at_ms: When it began, in milliseconds since the call began.
        steps: What was said and done, the caller's words first.
        given: What LLMs were given in it.
        active: Who had the call when it began.
        why: How they came to have it.
    """

    number: int
    at_ms: int
    steps: list[Step]
    given: list[Given]
    active: str | None
    why: str


class Story(msgspec.Struct, kw_only=True):
    """One call.

    Attributes:
        call: Its id.
        recipe: The recipe's name.
        introduction: What the call's first entry said of it.
        turns: In their order.
        reason: Why it ended; None if the recording ends before.
        left_out: How many messages came too fast to be recorded.
    """

    call: str
    recipe: str
    introduction: dict[str, Any]
    turns: list[Turn]
    reason: str | None
    left_out: int

    def prompt(self, worker: str) -> str | None:
        """Return what a worker's LLM was told to be."""
        workers: list[dict[str, Any]] = self.introduction.get("workers", [])
        return next((w.get("prompt") for w in workers if w.get("name") == worker), None)


def read_stories(entries: Iterable[Entry], *, call: str | None = None) -> list[Story]:
    """Put entries together to calls, in the order in which they began.

    Args:
        entries: Of any number of calls, mixed.
        call: The beginning of the only call's id that is wanted; None wants all.
    """
    readers: dict[str, _Reader] = {}
    for entry in entries:
        if not entry.call or (call and not entry.call.startswith(call)):
            continue
        reader = readers.get(entry.call)
        if reader is None:
            reader = readers[entry.call] = _Reader(entry.call)
        reader.take(entry)
    return [reader.story() for reader in readers.values()]


@dataclass(slots=True)
class _Reader:
    """Puts one call together."""

    call: str
    recipe: str = ""
    introduction: dict[str, Any] = field(default_factory=dict[str, Any])
    turns: list[Turn] = field(default_factory=list[Turn])
    reason: str | None = None
    left_out: int = 0
    active: str | None = None
    why: str = "the call began with it"
    messages: list[Any] = field(default_factory=list[Any])
    tools: dict[str, Step] = field(default_factory=dict[str, Step])
    jobs: dict[tuple[str, str], Step] = field(default_factory=dict[tuple[str, str], Step])
    taken: int = 0

    def take(self, entry: Entry) -> None:
        self.taken += 1
        if self.taken > MOST_ENTRIES:
            self.left_out += 1
            return
        match entry.event:
            case "call":
                self.recipe = entry.name or ""
                self.introduction = entry.payload or {}
            case "user":
                self._begin_turn(entry.at_ms)
                self._add(Step(what="user", at_ms=entry.at_ms, text=entry.text))
            case "bot":
                self._bot(entry)
            case "tool":
                self._tool(entry)
            case "job":
                self._job(entry)
            case "transfer":
                self._transfer(entry)
            case "context":
                self._given(entry)
            case "error":
                told = Step(what="error", at_ms=entry.at_ms, worker=entry.worker, text=entry.text)
                self._add(told)
            case "end":
                self.reason = entry.reason
            case "left_out":
                self.left_out += entry.count or 0
            case "message":
                pass

    def story(self) -> Story:
        return Story(
            call=self.call,
            recipe=self.recipe,
            introduction=self.introduction,
            turns=self.turns,
            reason=self.reason,
            left_out=self.left_out,
        )

    def _begin_turn(self, at_ms: int) -> None:
        turn = Turn(
            number=len(self.turns) if self.turns else 1,
            at_ms=at_ms,
            steps=[],
            given=[],
            active=self.active,
            why=self.why,
        )
        self.turns.append(turn)

    def _turn(self, at_ms: int) -> Turn:
        if not self.turns:
            self._begin_turn(at_ms)
            self.turns[0].number = 0
        return self.turns[-1]

    def _add(self, step: Step) -> None:
        self._turn(step.at_ms).steps.append(step)

    def _bot(self, entry: Entry) -> None:
        if self.active is None:
            self.active = entry.worker
            self._turn(entry.at_ms).active = entry.worker
        self._add(
            Step(
                what="bot",
                at_ms=entry.at_ms,
                worker=entry.worker,
                text=entry.text,
                took_ms=entry.latency_ms,
                parts=entry.parts,
            )
        )

    def _tool(self, entry: Entry) -> None:
        key = entry.id or entry.name or ""
        if entry.state is None:
            step = self.tools[key] = Step(
                what="tool",
                at_ms=entry.at_ms,
                worker=entry.worker,
                name=entry.name,
                args=entry.args,
            )
            # A tool that a worker calls while it has a job is a step of that job.
            job = next((j for j in self.jobs.values() if j.name == entry.worker), None)
            job.steps.append(step) if job else self._add(step)
        elif step := self.tools.pop(key, None):
            step.state, step.result, step.took_ms = entry.state, entry.result, entry.took_ms

    def _job(self, entry: Entry) -> None:
        key = (entry.id or "", entry.name or "")
        if entry.state == "started":
            step = self.jobs[key] = Step(
                what="job",
                at_ms=entry.at_ms,
                worker=entry.worker,
                name=entry.name,
                args=entry.args,
            )
            # A job that a worker asks for while its tool runs is a step of that tool.
            running = (tool for tool in self.tools.values() if tool.worker == entry.worker)
            tool = next(running, None)
            tool.steps.append(step) if tool else self._add(step)
            return
        step = self.jobs.get(key)
        if step is None:
            return
        if entry.state == "update":
            step.told.append(entry.text or "")
            return
        del self.jobs[key]
        step.state, step.text, step.took_ms = entry.state, entry.text, entry.took_ms

    def _transfer(self, entry: Entry) -> None:
        self.active = entry.target
        self.why = f"{entry.worker} handed the call over: {entry.reason or 'no reason given'}"
        self._add(
            Step(
                what="transfer",
                at_ms=entry.at_ms,
                worker=entry.worker,
                name=entry.target,
                text=entry.reason,
            )
        )

    def _given(self, entry: Entry) -> None:
        told = entry.payload or {}
        since, new = told.get("since", 0), told.get("messages", [])
        self.messages = [*self.messages[:since], *new]
        given = Given(
            at_ms=entry.at_ms,
            worker=entry.worker or "",
            messages=list(self.messages),
            tools=list(told.get("tools", [])),
        )
        self._turn(entry.at_ms).given.append(given)


def walk(steps: Iterable[Step]) -> Iterator[Step]:
    """Give steps and what was done for them, each before its own."""
    for step in steps:
        yield step
        yield from walk(step.steps)
