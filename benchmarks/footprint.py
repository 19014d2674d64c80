"""What a process holds at one moment: memory, tasks, threads and the objects of calls."""

import asyncio
import gc
import threading
from collections import Counter
from dataclasses import dataclass

import psutil

PIPECATS = ("pipecat.pipeline", "pipecat.workers", "pipecat.bus", "pipecat.processors")


@dataclass(frozen=True, slots=True)
class Footprint:
    """What a process holds: whatever a call brought must be gone after it.

    Attributes:
        tasks: Unfinished tasks of the event loop.
        threads: Living threads.
        own: Objects of our classes that the garbage collector knows, by class.
        workers: Objects of Pipecat's workers, pipelines, processors and buses likewise.
    """

    tasks: int
    threads: int
    own: dict[str, int]
    workers: dict[str, int]

    @classmethod
    def taken(cls) -> "Footprint":
        """Collect garbage and count what is left."""
        gc.collect()
        own: Counter[str] = Counter()
        workers: Counter[str] = Counter()
        for held in gc.get_objects():
            kind = type(held)
            module = str(kind.__module__)  # of some types it is a property
            if module.startswith("pipecat_workers_cli"):
                own[f"{module}.{kind.__name__}"] += 1
            elif module.startswith(PIPECATS):
                workers[f"{module}.{kind.__name__}"] += 1
        return cls(len(asyncio.all_tasks()), threading.active_count(), dict(own), dict(workers))

    def left_since(self, before: "Footprint") -> dict[str, int]:
        """Return what there is now and wasn't before."""
        grown = {"tasks": self.tasks - before.tasks, "threads": self.threads - before.threads}
        for now, then in ((self.own, before.own), (self.workers, before.workers)):
            grown |= {kind: count - then.get(kind, 0) for kind, count in now.items()}
        return {kind: count for kind, count in grown.items() if count > 0}


def resident() -> float:
    """Return the process's resident memory in MiB."""
    return psutil.Process().memory_info().rss / 2**20
