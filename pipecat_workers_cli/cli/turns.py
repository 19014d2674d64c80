"""Prints what happens in calls: a line an event, or an object a line."""

import json
import sys
from collections.abc import Callable, Container

import msgspec

from pipecat_workers_cli.cli.cells import plain
from pipecat_workers_cli.options import Output
from pipecat_workers_cli.traffic.entry import TOLD, Entry, Event


class TurnPrinter:
    """Writes entries to stdout as they come: turns and events, until stdout fails."""

    def __init__(
        self,
        output: Output,
        *,
        events: Container[Event] = TOLD,
        on_failure: Callable[[OSError], None] | None = None,
    ) -> None:
        """Choose the form.

        Args:
            output: Text for a person, JSON lines for a program.
            events: Which to write.
            on_failure: Told once that stdout can't be written to: its reader has gone, or
                the disk is full. None raises that error to whoever hands on the entry.
        """
        self._output = output
        self._events = events
        self._on_failure = on_failure
        self._failed = False
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
        problem = entry.event == "error" and not as_json
        try:
            print(line, file=sys.stderr if problem else self._stdout, flush=True)
        except OSError as error:
            if problem:  # stderr, and there is no other place to tell of it
                return
            self._failed = True
            if self._on_failure is None:
                raise
            self._on_failure(error)


def render_entry(entry: Entry) -> str:
    """Return an entry as one line of text that moves no cursor, whatever was said."""
    return plain(_told(entry))


def _told(entry: Entry) -> str:
    match entry.event:
        case "user":
            return f"user: {entry.text}"
        case "bot":
            return f"{entry.worker}: {entry.text}"
        case "transfer":
            return f"* transfer {entry.worker} -> {entry.target}"
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
