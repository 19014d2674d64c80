"""Writes down the words of the program itself, for whom Typer would be too slow to ask.

`python -m pipecat_workers_cli.cli.completions` writes `completions/words.tsv` by it.
"""

import re
from collections.abc import Iterator
from enum import Enum
from pathlib import Path
from typing import Any

import typer
from typer.core import TyperGroup

from pipecat_workers_cli.cli.words import (
    ANY,
    ARGUMENT,
    COMMAND,
    FLAG,
    ONE_OF,
    OPTION,
    PATH,
    RECIPE,
    Row,
)

NO_MARKUP = re.compile(r"\[/?[a-z ]+\]")


def list_words() -> Iterator[Row]:
    """Give the rows of all commands, and those of the recipes that ship."""
    from pipecat_workers_cli.cli.app import app
    from pipecat_workers_cli.recipe.files import (
        read_summary,
        read_workers,
        shipped_path,
        shipped_recipes,
    )

    yield from _command_rows(typer.main.get_command(app), ())
    for name in shipped_recipes():
        path = shipped_path(name)
        yield Row("", RECIPE, name, " ".join(read_workers(path)), read_summary(path))


def render_words() -> str:
    """Return the rows as the file has them."""
    return "".join("\t".join(row) + "\n" for row in list_words())


def _command_rows(command: Any, path: tuple[str, ...]) -> Iterator[Row]:
    place = " ".join(path)
    context = typer.Context(command, info_name=place)
    commands = [(n, command.get_command(context, n)) for n in _names(command, context)]
    for name, below in commands:
        yield Row(place, COMMAND, name, "", _line(below.get_short_help_str(limit=200)))
    for param in command.get_params(context):
        takes = _takes(param)
        if param.param_type_name == "argument":
            several = param.nargs == -1
            metavar = (param.metavar or param.name).upper()
            yield Row(place, ARGUMENT, f"{metavar}{'…' * several}", takes, _line(param.help))
        else:
            yield Row(place, OPTION, " ".join(param.opts), takes, _line(param.help))
    for name, below in commands:
        yield from _command_rows(below, (*path, name))


def _names(command: Any, context: typer.Context) -> list[str]:
    return command.list_commands(context) if isinstance(command, TyperGroup) else []


def _takes(param: Any) -> str:
    if getattr(param, "is_flag", False):
        return FLAG
    completer = param.type_descriptor.parameter_info.autocompletion
    if completer is not None:
        fixed = completer.__name__ == "<lambda>"
        return ONE_OF + " ".join(completer()) if fixed else completer.__name__
    value = param.type_descriptor.annotation
    if isinstance(value, type) and issubclass(value, Enum):
        return ONE_OF + " ".join(str(one.value) for one in value)
    return PATH if value is Path else ANY


def _line(text: str | None) -> str:
    return " ".join(NO_MARKUP.sub("", text or "").split())
