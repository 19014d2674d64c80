"""One finding about this machine: a key, a package, a port, a server."""

from dataclasses import dataclass
from enum import StrEnum

from pipecat_workers_cli.settings import variable


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


def check_key(name: str, *, instead: str) -> Check:
    """Look at a provider's key: whether it is set, and can be one at all.

    Args:
        name: Its variable.
        instead: What can be done without it, such as `use piper`.
    """
    key = (variable(name) or "").strip()
    if not key:
        mend = f"set {name} in the environment or in .env, or {instead}"
        return Check(name, State.WRONG, f"{name} is not set", mend, (name,))
    if not key.isascii() or not key.isprintable() or " " in key:
        # A client would put it into a header, and an error about that header into a log.
        mend = f"copy {name} anew, without quotes or line breaks"
        return Check(name, State.WRONG, f"{name} holds characters that no key has", mend)
    return Check(name, State.OK, "set")
