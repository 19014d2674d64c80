"""Who has the call and should be heard, but is not: read from a bus's counts alone."""

from collections.abc import Collection

from pipecat.bus import BusActivateWorkerMessage

from pipecat_workers_cli.traffic.edges import Tallies
from pipecat_workers_cli.traffic.kinds import Kind, kind_of

AGENT_SILENT_AFTER = 5.0  # seconds; a filler of ours comes after 2, an LLM's first words before
TALKER_SILENT_AFTER = 20.0  # seconds; what it says is told when it has been spoken to the end
HEARD = frozenset(
    {
        Kind.ERROR,
        Kind.ACTIVATION,
        Kind.DEACTIVATION,
        Kind.JOB_REQUEST,
        Kind.TEXT,
        Kind.AUDIO,
        Kind.TOOL,
        Kind.SPEAK,
    }
)
"""What shows that a worker does something about its turn; flushes come by themselves."""


def silent_agents(
    tallies: Tallies, workers: Collection[str], *, main: str, now: float
) -> dict[str, float]:
    """Return the seconds for which each active agent has left a turn unanswered; 0 if it hasn't.

    The main worker's own activation of the opener asks for nothing: the caller may be the
    first to speak.

    Args:
        tallies: The counts of the call's bus.
        workers: Who is active.
        main: The main worker's name.
        now: The moment, in seconds of `time.monotonic`.
    """
    given, heard = dict.fromkeys(workers, 0.0), dict.fromkeys(workers, 0.0)
    for (type_, source, target, _), tally in tallies.items():
        kind = kind_of(type_)
        if source in heard and kind in HEARD:
            heard[source] = max(heard[source], tally.last)
        if kind is Kind.CONTEXT:
            asked = workers if target is None else (target,)
        else:
            asked = (target,) if type_ is BusActivateWorkerMessage and source != main else ()
        for worker in asked:
            if worker in given and worker != source:
                given[worker] = max(given[worker], tally.last)
    silent = {name: now - given[name] if given[name] > heard[name] else 0.0 for name in workers}
    return {name: waited if waited > AGENT_SILENT_AFTER else 0.0 for name, waited in silent.items()}


def silent_talker(asked_at: float | None, now: float) -> float:
    """Return the seconds for which a main worker that talks itself has left a turn unanswered.

    Args:
        asked_at: When the caller's words came to which nothing followed, if any.
        now: The moment, in seconds of `time.monotonic`.
    """
    silent = 0.0 if asked_at is None else now - asked_at
    return silent if silent > TALKER_SILENT_AFTER else 0.0
