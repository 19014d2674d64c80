"""Prints what happens in calls: a line an event, or an object a line."""

import json
import sys
from collections.abc import Container
from typing import get_args

import msgspec

from pipecat_workers_cli.options import Output
from pipecat_workers_cli.traffic.entry import Entry, Event

EVENTS = frozenset[Event](get_args(Event))


class TurnPrinter:
    """Writes entries to stdout as they come: turns and events."""

    def __init__(self, output: Output, *, events: Container[Event] = EVENTS) -> None:
        """Choose the form.

        Args:
            output: Text for a person, JSON lines for a program.
            events: Which to write.
        """
        self._output = output
        self._events = events
        self._stdout = sys.stdout  # Pipecat's runner is run with another one in its place

    def __call__(self, entry: Entry) -> None:
        """Write one entry, at once."""
        if entry.event not in self._events:
            return
        as_json = self._output is Output.JSON
        line = msgspec.json.encode(entry).decode() if as_json else render_entry(entry)
        problem = entry.event == "error" and not as_json
        print(line, file=sys.stderr if problem else self._stdout, flush=True)


def render_entry(entry: Entry) -> str:
    """Return an entry as one line of text."""
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
            return f"* job {entry.name} {entry.state}"
        case "end":
            return f"* end {entry.reason}"
        case "error":
            return f"* error {entry.text}"
