"""Flush probes: their event, which can't cross, is kept where it is waited for.

Before a handoff an agent, and before a turn in words the main worker, sends a probe through
the pipelines: down, up, and down again. Pipecat sets the probe's event when it reaches the
main pipeline's end the second time. A probe of the main worker's gets its event back on its
way there. One of an agent's ends in the main worker's process, where nothing of the event is
known; so it is set when the probe has passed the agent's own pipeline for the last time. All
that the agent had to say is then out, and in order before whatever the next one says.
"""

import asyncio
from dataclasses import dataclass

from pipecat.frames.frames import PipelineFlushFrame

PROBES = 64  # out at once; a worker waits for each before its next


@dataclass(slots=True)
class _Probe:
    event: asyncio.Event
    came_last: bool = False
    """On its last leg it came from outside: an agent's; the main worker's starts there."""


class Probes:
    """The probes that left this process, for as long as somebody waits for them."""

    def __init__(self) -> None:
        """Know none."""
        self._out: dict[tuple[str | None, int], _Probe] = {}

    def __len__(self) -> int:
        """Count those that are out."""
        return len(self._out)

    def leave(self, frame: PipelineFlushFrame) -> None:
        """Keep a probe's event, or set it if this is an agent's, leaving for the last time."""
        if frame.event is None:
            return
        key = frame.origin, frame.flush_id
        probe = self._out.get(key)
        if probe is not None and probe.came_last and frame.returning:
            frame.event.set()
        self._out = {k: known for k, known in self._out.items() if not known.event.is_set()}
        if probe is None and not frame.event.is_set():
            if len(self._out) >= PROBES:
                del self._out[next(iter(self._out))]
            self._out[key] = _Probe(frame.event)

    def arrive(self, frame: PipelineFlushFrame) -> None:
        """Give a probe its event back if it is one of this process's."""
        probe = self._out.get((frame.origin, frame.flush_id))
        if probe is not None:
            frame.event = probe.event
            probe.came_last = probe.came_last or frame.returning
