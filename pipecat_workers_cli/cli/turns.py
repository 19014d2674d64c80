"""Prints what happens in calls: a line an event, or an object a line."""

import json
import os
import sys
import time
from collections.abc import Callable, Container, Mapping

import msgspec

from pipecat_workers_cli.cli.plain_text import plain
from pipecat_workers_cli.options import Output
from pipecat_workers_cli.traffic.entry import TOLD, Entry, Event

SAME_WITHIN = 1.0  # seconds, in which calls that meet the same trouble say so once
SLOW_MS = 1_000  # from which people think that they were not heard
FAINT, RED, PLAIN = "\x1b[2m", "\x1b[31m", "\x1b[0m"


class TurnPrinter:
    """Writes entries to stdout as they come: turns and events, until stdout fails."""

    def __init__(
        self,
        output: Output,
        *,
        events: Container[Event] = TOLD,
        latency: bool = False,
        on_failure: Callable[[OSError], None] | None = None,
    ) -> None:
        """Choose the form.

        Args:
            output: Text for a person, JSON lines for a program.
            events: Which to write.
            latency: Whether a line after each answer says how long it took.
            on_failure: Told once that stdout can't be written to: its reader has gone, or
                the disk is full. None raises that error to whoever hands on the entry.
        """
        self._output = output
        self._events = events
        self._latency = latency
        self._coloured = not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
        self._on_failure = on_failure
        self._failed = False
        self._problem, self._problem_at = "", 0.0
        self._stdout = sys.stdout  # Pipecat's runner is run with another one in its place

    def __call__(self, entry: Entry) -> None:
        """Write one entry, at once.

        Raises:
            OSError: Stdout failed for the first time, and there is no `on_failure`.
        """
        if self._failed or entry.event not in self._events:
            return
        as_json = self._output is Output.JSON
        line = msgspec.json.encode(entry).decode() if as_json else render_entry(entry)
        if entry.latency_ms is not None and not as_json and self._latency:
            took = render_latency(entry.latency_ms, entry.parts or {})
            style = RED if entry.latency_ms >= SLOW_MS else FAINT
            line += f"\n{style}{took}{PLAIN}" if self._coloured else f"\n{took}"
        problem = entry.event == "error" and not as_json
        if problem and self._is_known(line):
            return
        try:
            print(line, file=sys.stderr if problem else self._stdout, flush=True)
        except OSError as error:
            if problem:  # stderr, and there is no other place to tell of it
                return
            self._failed = True
            if self._on_failure is None:
                raise
            self._on_failure(error)

    def _is_known(self, problem: str) -> bool:
        """Say whether another call has just said the same."""
        now = time.monotonic()
        known = problem == self._problem and now - self._problem_at < SAME_WITHIN
        self._problem, self._problem_at = problem, now
        return known


def render_entry(entry: Entry) -> str:
    """Return an entry as one line of text that moves no cursor, whatever was said."""
    return plain(_told(entry))


def render_latency(ms: float, parts: Mapping[str, float]) -> str:
    """Say how long an answer took, its largest parts first; a slow one is marked."""
    largest = sorted(parts.items(), key=lambda part: -part[1])
    told = ", ".join(f"{name} {taken:.0f}" for name, taken in largest)
    return f"{'! ' if ms >= SLOW_MS else '  '}{ms:.0f} ms" + (f": {told}" if told else "")


def _told(entry: Entry) -> str:
    match entry.event:
        case "user":
            return f"user: {entry.text}"
        case "bot":
            return f"{entry.worker}: {entry.text}"
        case "transfer":
            return f"* transfer {entry.worker} -> {entry.target}"
        case "tool" if entry.state is not None:
            result = (
                "" if entry.result is None else f": {json.dumps(entry.result, ensure_ascii=False)}"
            )
            return f"* tool {entry.name} {entry.state}{result}"
        case "tool":
            args = ", ".join(
                f"{name}={json.dumps(value, ensure_ascii=False)}"
                for name, value in (entry.args or {}).items()
            )
            return f"* tool {entry.name}({args})"
        case "job":
            return f"* job {entry.name} {entry.state}" + (f": {entry.text}" if entry.text else "")
        case "end":
            return f"* end {entry.reason}"
        case "error":
            return f"* error {entry.text}"
        case _:
            return _told_of_traffic(entry)


def _told_of_traffic(entry: Entry) -> str:
    payload = entry.payload or {}
    match entry.event:
        case "call":
            return f"* call {entry.call} {entry.name}"
        case "context":
            return f"* context {entry.worker} {payload.get('of')} messages"
        case "left_out":
            return f"* left out {entry.count} messages"
        case _:
            sound = f" {entry.count} × {entry.seconds} s" if entry.count else ""
            carried = json.dumps(payload, ensure_ascii=False)
            return f"{entry.worker} -> {entry.target or '*'} {entry.kind}{sound} {carried}"
