"""Which entries a command takes, and when it has enough."""

import re
from typing import TYPE_CHECKING, Annotated

import typer

from pipecat_workers_cli.errors import ConfigurationError

if TYPE_CHECKING:
    from pipecat_workers_cli.traffic.entry import Entry

SPAN = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m)?")
SECONDS = {None: 1.0, "ms": 0.001, "s": 1.0, "m": 60.0}

FilterOption = Annotated[
    str | None,
    typer.Option("--filter", metavar="EXPR", help='Only these: worker:support kind:job "boots"'),
]
CountOption = Annotated[
    int | None, typer.Option("--count", min=1, metavar="N", help="Ends after so many.")
]
SpanOption = Annotated[
    str | None, typer.Option("--for", metavar="10s", help="Ends after this time.")
]
UntilOption = Annotated[
    str | None,
    typer.Option(
        "--until", metavar="EXPR", help="Ends with one like this; exit 1 if time ran out first."
    ),
]


class Choice:
    """Takes the entries that are wanted, and knows when it is enough.

    Attributes:
        met: Whether what was waited for has come, or nothing was.
    """

    def __init__(self, expression: str | None, count: int | None, until: str | None) -> None:
        """Read what was typed.

        Raises:
            FilterError: An expression is no filter.
        """
        from pipecat_workers_cli.traffic.filter import Filter

        self._wanted = Filter(expression or "")
        self._until = Filter(until) if until else None
        self._left = count
        self.met = until is None

    def takes(self, entry: "Entry") -> bool:
        """Tell whether an entry is wanted."""
        return self._wanted(entry)

    def enough(self, entry: "Entry") -> bool:
        """Tell whether this entry is the last; each is to be asked about once."""
        if self._left is not None and self.takes(entry):
            self._left -= 1
        if self._until is not None and self._until(entry):
            self.met = True
            return True
        return self._left == 0


def read_span(text: str | None) -> float | None:
    """Return the seconds that `10s`, `500ms`, `2m` or a bare number mean.

    Raises:
        ConfigurationError: It is no length of time.
    """
    if text is None:
        return None
    found = SPAN.fullmatch(text)
    if found is None or not float(found[1]):
        raise ConfigurationError(f"'{text}' is no length of time", mend="10s, 500ms or 2m")
    return float(found[1]) * SECONDS[found[2]]
