"""Answers a Tab: the words that may stand where somebody is typing, as their shell wants them.

The scripts in `completions/` run `pmw` with `$_PMW_COMPLETE` set to the shell's name. zsh and
fish give the words up to the cursor; bash gives the line, whose words it breaks in its own way.
"""

import sys
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from pipecat_workers_cli.cli.complete import Offer, look_up
from pipecat_workers_cli.cli.words import (
    ANY,
    ARGUMENT,
    COMMAND,
    FLAG,
    ONE_OF,
    OPTION,
    PATH,
    Row,
    read_rows,
)

SHELLS = ("bash", "zsh", "fish")
FILES = ":files"  # the line by which the script is told that the shell itself knows best
BREAKS = ":="  # bash puts in only what follows the last of these


class Typed(NamedTuple):
    """What stands before the word that is being typed.

    Attributes:
        rows: Those of the command that the word belongs to.
        arguments: How many of its arguments are there already.
        waiting: The option whose value comes next.
    """

    rows: list[Row]
    arguments: int = 0
    waiting: Row | None = None


def answer(shell: str, words: Sequence[str]) -> int:
    """Print what a shell may offer, a line each.

    Args:
        shell: `bash`, `zsh` or `fish`.
        words: What the shell's script gives of the line: for bash the line itself.

    Returns:
        The exit code; 1 for a shell that isn't known.
    """
    if shell not in SHELLS or not words:
        return 1
    typed = split_line(words[0]) if shell == "bash" else list(words)
    *before, incomplete = typed[1:] or [""]
    offers = offer(before, incomplete)
    if offers is None:
        print(FILES)
        return 0
    if shell == "bash":
        known = max(map(incomplete.rfind, BREAKS)) + 1
        lines = [word[known:] for word, _ in offers]
    else:
        lines = [f"{word}\t{meaning}" if meaning else word for word, meaning in offers]
    sys.stdout.write("".join(f"{line}\n" for line in lines))
    return 0


def split_line(line: str) -> list[str]:
    """Split a line as a shell does; the last word is the one that is being typed.

    A quote that is still open ends with the line.
    """
    words, word, quote, escaped = [], "", "", False
    begun = False
    for letter in line:
        if escaped:
            word, escaped, begun = word + letter, False, True
        elif letter == "\\" and quote != "'":
            escaped = True
        elif letter == quote:
            quote = ""
        elif quote:
            word += letter
        elif letter in "\"'":
            quote, begun = letter, True
        elif letter.isspace():
            if begun:
                words.append(word)
            word, begun = "", False
        else:
            word, begun = word + letter, True
    return [*words, word]


def offer(before: list[str], incomplete: str) -> list[Offer] | None:
    """Return what may stand for a word that was begun; None where any file may.

    Args:
        before: The words between `pmw` and it.
        incomplete: What is there of the word.
    """
    if "--" in before:  # the rest is for Pipecat's runner, or another program
        return None
    typed = follow(before)
    if typed is None:
        return []
    option, equals, value = incomplete.partition("=")
    row = _option(typed.rows, option) if equals else typed.waiting
    if row is not None:
        offers = _values(row, before, value if equals else incomplete)
        if not equals or offers is None:
            return offers
        return [(f"{option}={word}", meaning) for word, meaning in offers]
    if incomplete.startswith("-"):
        options = ((names[-1], row.help) for row in typed.rows if (names := _names(row)))
        return _begun(options, incomplete)
    commands = [(row.names, row.help) for row in typed.rows if row.kind == COMMAND]
    if commands:
        return _begun(commands, incomplete)
    arguments = [row for row in typed.rows if row.kind == ARGUMENT]
    if not arguments:
        return []
    last = arguments[-1]
    if typed.arguments < len(arguments):
        return _values(arguments[typed.arguments], before, incomplete)
    return _values(last, before, incomplete) if last.names.endswith("…") else []


def follow(before: Sequence[str]) -> Typed | None:
    """Return where the words lead; None if there is no such command."""
    rows = read_rows()
    path = ""
    typed = Typed([row for row in rows if not row.command])
    for word in before:
        if typed.waiting is not None:
            typed = typed._replace(waiting=None)
        elif word.startswith("-") and word != "-":
            row = None if "=" in word else _option(typed.rows, word)
            typed = typed._replace(waiting=None if row is None or row.takes == FLAG else row)
        elif any(row.kind == COMMAND for row in typed.rows):
            if not any(row.kind == COMMAND and row.names == word for row in typed.rows):
                return None
            path = f"{path} {word}".strip()
            typed = Typed([row for row in rows if row.command == path])
        else:
            typed = typed._replace(arguments=typed.arguments + 1)
    return typed


def _names(row: Row) -> list[str]:
    """Return an option's names, the longest last; none if it is no option."""
    return sorted(row.names.split(), key=len) if row.kind == OPTION else []


def _option(rows: Sequence[Row], name: str) -> Row | None:
    return next((row for row in rows if name in _names(row)), None)


def _values(row: Row, before: list[str], incomplete: str) -> list[Offer] | None:
    if row.takes == PATH:
        return None
    if row.takes in (ANY, FLAG):
        return []
    if row.takes.startswith(ONE_OF):
        offers: Iterable[Offer] = [(word, "") for word in row.takes.split()[2:]]
    else:
        offers = look_up(row.takes, incomplete=incomplete, args=before)
    return _begun(offers, incomplete)


def _begun(offers: Iterable[Offer], incomplete: str) -> list[Offer]:
    return [(word, meaning) for word, meaning in offers if word.startswith(incomplete)]
