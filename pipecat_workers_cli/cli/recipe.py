"""`pmw recipe`: which recipes there are, what one says, whether it is right."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pipecat_workers_cli.cli.arguments import Json, OutputOption, takes_log_options
from pipecat_workers_cli.cli.complete import complete_recipe
from pipecat_workers_cli.cli.terminal import Terminal
from pipecat_workers_cli.options import Output

if TYPE_CHECKING:
    from pipecat_workers_cli.recipe.load import Fault

recipe_app = typer.Typer(no_args_is_help=True, help="List, show and check recipes.")


@recipe_app.command("list")
@takes_log_options
def list_recipes(
    context: typer.Context, output: OutputOption = Output.TEXT, as_json: Json = False
) -> None:
    """List the recipes that ship with pmw."""
    from pipecat_workers_cli.recipe.files import read_summary, shipped_path, shipped_recipes

    paths = {name: shipped_path(name) for name in shipped_recipes()}
    rows = [(name, read_summary(path)) for name, path in paths.items()]
    if as_json or output is Output.JSON:
        for name, summary in rows:
            _print_json({"name": name, "summary": summary, "path": str(paths[name])})
    elif sys.stdout.isatty():
        _print_table(Terminal.of(context), rows)
    else:
        width = max((len(name) for name, _ in rows), default=0)
        for name, summary in rows:
            typer.echo(f"{name:<{width}}  {summary}".rstrip())


@recipe_app.command("show")
@takes_log_options
def show_recipe(
    name: Annotated[
        str,
        typer.Argument(
            help="A recipe of pmw recipe list, or a path.", autocompletion=complete_recipe
        ),
    ],
) -> None:
    """Print a recipe as its file stands: `show handoff > mine.toml` begins one of yours."""
    from pipecat_workers_cli.recipe.files import find_recipe, read_bounded

    typer.echo(read_bounded(find_recipe(name)), nl=False)


@recipe_app.command("check")
@takes_log_options
def check_recipes(
    context: typer.Context,
    paths: Annotated[
        list[str],
        typer.Argument(metavar="PATH", help="Files, or names.", autocompletion=complete_recipe),
    ],
    output: OutputOption = Output.TEXT,
    as_json: Json = False,
) -> None:
    """Check recipes: file, line, key and mend of all that is wrong; exit 2 if anything is."""
    from pipecat_workers_cli.settings import load_env

    load_env(Terminal.of(context).env_file)
    faults = {path: _find_faults(path) for path in paths}
    for path, found in faults.items():
        if as_json or output is Output.JSON:
            _print_json({"path": path, "ok": not found, "faults": [_fields(f) for f in found]})
        else:
            typer.echo("\n".join(map(str, found)) if found else f"{path}: ok")
    if any(faults.values()):
        raise typer.Exit(2)


def _find_faults(path: str) -> "Sequence[Fault]":
    from pipecat_workers_cli.call.resolve import find_faults
    from pipecat_workers_cli.errors import ConfigurationError
    from pipecat_workers_cli.recipe.load import Fault, RecipeError, load_recipe

    try:
        load_recipe(path, resolve=find_faults)
    except RecipeError as error:
        return error.faults
    except ConfigurationError as error:  # it names the path itself
        return (Fault(path, None, "", error.what.removeprefix(f"{Path(path)}: "), error.mend),)
    return ()


def _fields(fault: "Fault") -> dict[str, str | int | None]:
    return {name: getattr(fault, name) for name in ("file", "line", "key", "what", "mend")}


def _print_json(fields: dict[str, object]) -> None:
    import json

    typer.echo(json.dumps(fields, ensure_ascii=False))


def _print_table(terminal: Terminal, rows: Sequence[tuple[str, str]]) -> None:
    from rich.table import Table
    from rich.text import Text

    table = Table("recipe", "what it is", box=None, header_style="dim")
    for name, summary in rows:
        table.add_row(Text(name, style="bold"), Text(summary))
    terminal.console().print(table)
