"""The errors a user sees. Each says what happened and how to mend it.

PmwError                  exit 1: the machine or the world isn't ready, or it failed
└── ConfigurationError    exit 2: what was typed or written is wrong; nothing was started
"""

import difflib
from collections.abc import Iterable


class PmwError(Exception):
    """A failure the user can act on: what happened, and how to mend it."""

    exit_code = 1

    def __init__(self, what: str, *, mend: str) -> None:
        """Keep both halves; neither may hold a key, a token or a password.

        Args:
            what: What happened, one line without a full stop.
            mend: What to do about it, one line in the imperative.
        """
        super().__init__(what)
        self.what = what
        self.mend = mend


class ConfigurationError(PmwError):
    """An option, the environment or a recipe is wrong; nothing was started."""

    exit_code = 2


def near_miss(word: str, known: Iterable[str]) -> str:
    """Suggest what a mistyped word may have meant.

    Args:
        word: What was typed.
        known: Everything that would have been right.

    Returns:
        "did you mean 'x'? …" if something is close, else "choose one of: a, b, c".
    """
    names = sorted(known)
    close = difflib.get_close_matches(word, names, n=1, cutoff=0.6)
    listed = f"choose one of: {', '.join(names)}" if names else "there is none"
    return f"did you mean '{close[0]}'? {listed}" if close else listed


def mend_extra(extra: str, *, again: bool = False) -> str:
    """Say how to install an extra of ours, in a checkout and elsewhere.

    Args:
        extra: As in `pipecat-workers-cli[extra]`; empty for the package itself.
        again: What is there is broken, and to be replaced.
    """
    sync = f"uv sync{f' --extra {extra}' if extra else ''}{' --reinstall' if again else ''}"
    install = f"pip install{' --force-reinstall' if again else ''}"
    return f"{sync}, or {install} 'pipecat-workers-cli{f'[{extra}]' if extra else ''}'"
