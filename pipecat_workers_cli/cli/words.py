"""The words of the command line as `completions/words.tsv` has them: read fast, without Typer.

`cli.listing` writes the file from the program itself. A line is a row of five columns: the
command that it belongs to (empty for `pmw` itself), what it is, its names, what it takes, and
its help.
"""

import os
from typing import NamedTuple

FILE = "words.tsv"

COMMAND, OPTION, ARGUMENT, RECIPE = "command", "option", "argument", "recipe"
"""What a row is; a recipe is one that ships, and takes its workers' names."""

FLAG, PATH, ANY = "flag", "path", "any"
"""What a row takes: nothing, a file, whatever is typed. Else it is `one of` names, or the
name of a function of `cli.complete`."""
ONE_OF = "one of "


class Row(NamedTuple):
    """A line of the file.

    Attributes:
        command: The commands that were typed before, with spaces between; empty for `pmw`.
        kind: `command`, `option`, `argument` or `recipe`.
        names: A command's name, an option's names with spaces between, an argument's
            metavar, which ends in … if it takes several words.
        takes: What its value may be.
        help: One line.
    """

    command: str
    kind: str
    names: str
    takes: str
    help: str


def completions_file(name: str) -> str:
    """Return the path of a file that ships in `completions/`."""
    # A wheel carries the folder inside the package, a checkout has it beside it.
    package = os.path.dirname(os.path.dirname(__file__))
    inside = os.path.join(package, "completions", name)
    return inside if os.path.exists(inside) else os.path.join(package, "..", "completions", name)


def read_rows() -> list[Row]:
    """Return all rows, in the order in which help shows them."""
    with open(completions_file(FILE), encoding="utf-8") as file:
        return [Row(*line.rstrip("\n").split("\t")) for line in file]


def shipped_recipes() -> dict[str, Row]:
    """Return the rows of the recipes that ship, by name."""
    return {row.names: row for row in read_rows() if row.kind == RECIPE}
