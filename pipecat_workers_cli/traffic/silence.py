"""Who has the call and should be heard, but is not: read from a bus's counts alone."""

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


def silent_agent(tallies: Tallies, worker: str, *, main: str, now: float) -> float:
    """Return the seconds for which an active agent has left a turn unanswered; 0 if it hasn't.

    The main worker's own activation of the opener asks for nothing: the caller may be the
    first to speak.

    Args:
        tallies: The counts of the call's bus.
        worker: Who is active.
        main: The main worker's name.
        now: The moment, in seconds of `time.monotonic`.
    """
    given = heard = 0.0
    for (type_, source, target, _), tally in tallies.items():
        kind = kind_of(type_)
        if source == worker:
            if kind in HEARD:
                heard = max(heard, tally.last)
        elif (kind is Kind.CONTEXT and target in (None, worker)) or (
            type_ is BusActivateWorkerMessage and target == worker and source != main
        ):
            given = max(given, tally.last)
    silent = now - given
    return silent if given > heard and silent > AGENT_SILENT_AFTER else 0.0


def silent_talker(asked_at: float | None, now: float) -> float:
    """Return the seconds for which a main worker that talks itself has left a turn unanswered.

    Args:
        asked_at: When the caller's words came to which nothing followed, if any.
        now: The moment, in seconds of `time.monotonic`.
    """
    silent = 0.0 if asked_at is None else now - asked_at
    return silent if silent > TALKER_SILENT_AFTER else 0.0
