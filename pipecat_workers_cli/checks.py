"""One finding about this machine: a key, a package, a port, a server."""

from dataclasses import dataclass
from enum import StrEnum


class State(StrEnum):
    """How much a finding matters."""

    OK = "ok"
    WARNING = "warning"
    WRONG = "wrong"


@dataclass(frozen=True, slots=True)
class Check:
    """What was looked at, what was found, and how to mend it when it isn't ok.

    Attributes:
        name: What was looked at, such as `OPENAI_API_KEY` or `port 7860`.
        state: `WRONG` stops the command that needs it.
        found: One line; never a key, a token or a password.
        mend: What to do about it; empty when nothing needs doing.
        variables: Names of the environment variables that would mend it, if set.
    """

    name: str
    state: State
    found: str
    mend: str = ""
    variables: tuple[str, ...] = ()
