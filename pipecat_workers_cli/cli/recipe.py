"""`pmw recipe`: which recipes there are, what one says, whether it is right; a first one."""

import sys
from collections.abc import Iterable, Mapping, Sequence
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pipecat_workers_cli.cli.arguments import Json, OutputOption, takes_log_options
from pipecat_workers_cli.cli.complete import complete_recipe
from pipecat_workers_cli.cli.progress import Progress
from pipecat_workers_cli.cli.terminal import Terminal
from pipecat_workers_cli.options import Output

if TYPE_CHECKING:
    from pipecat_workers_cli.recipe.findings import Finding
    from pipecat_workers_cli.recipe.graph import Graph
    from pipecat_workers_cli.recipe.load import Fault
    from pipecat_workers_cli.recipe.model import Recipe

recipe_app = typer.Typer(no_args_is_help=True, help="List, show, check, draw and start recipes.")


class GraphFormat(StrEnum):
    """How a recipe's workers are drawn."""

    TREE = "tree"
    MERMAID = "mermaid"


RecipeName = Annotated[
    str,
    typer.Argument(help="A recipe of pmw recipe list, or a path.", autocompletion=complete_recipe),
]


@recipe_app.command("list")
@takes_log_options
def list_recipes(
    context: typer.Context, output: OutputOption = Output.TEXT, as_json: Json = False
) -> None:
    """List the recipes that ship with pmw, each with its hash, which changes as they do."""
    from pipecat_workers_cli.recipe.files import read_summary, shipped_path, shipped_recipes
    from pipecat_workers_cli.settings import load_env

    load_env(Terminal.of(context).env_file)
    paths = {name: shipped_path(name) for name in shipped_recipes()}
    rows = [(name, _hash_of(name), read_summary(path)) for name, path in paths.items()]
    if as_json or output is Output.JSON:
        for name, digest, summary in rows:
            fields = {"name": name, "summary": summary, "hash": digest, "path": str(paths[name])}
            _print_json(fields)
    elif sys.stdout.isatty():
        _print_table(Terminal.of(context), rows)
    else:
        width = max((len(name) for name, _, _ in rows), default=0)
        for name, digest, summary in rows:
            typer.echo(f"{name:<{width}}  {digest or '-':<12}  {summary}".rstrip())


@recipe_app.command("show")
@takes_log_options
def show_recipe(name: RecipeName) -> None:
    """Print a recipe as its file stands: `show handoff > mine.toml` begins one of yours."""
    from pipecat_workers_cli.recipe.files import find_recipe, read_bounded

    typer.echo(read_bounded(find_recipe(name)), nl=False)


@recipe_app.command("new")
@takes_log_options
def start_recipe(
    context: typer.Context,
    name: Annotated[str, typer.Argument(metavar="NAME", help="What it is called.")],
) -> None:
    """Write NAME.toml, a commented recipe that runs as it is, also without a key."""
    from pipecat_workers_cli.recipe.new import write_recipe

    for path in write_recipe(name, Path()):
        typer.echo(f"wrote {path}")
    terminal = Terminal.of(context)
    terminal.say("try:")
    terminal.say(f'  pmw run ./{name}.toml --services offline --say "When is the bread ready?"')
    terminal.say(f"  pmw recipe graph ./{name}.toml")
    terminal.say(f"  pmw recipe check ./{name}.toml")


@recipe_app.command("check")
@takes_log_options
def check_recipes(
    context: typer.Context,
    paths: Annotated[
        list[str],
        typer.Argument(metavar="PATH", help="Files, or names.", autocompletion=complete_recipe),
    ],
    no_import: Annotated[
        bool, typer.Option("--no-import", help="Leave Python code that a recipe names alone.")
    ] = False,
    output: OutputOption = Output.TEXT,
    as_json: Json = False,
) -> None:
    """Check recipes: file, line, key and mend of all that is wrong; exit 2 if anything is."""
    from pipecat_workers_cli.settings import load_env

    terminal = Terminal.of(context)
    load_env(terminal.env_file)
    terminal.set_up_logs()  # Pipecat greets whoever imports it
    faults: dict[str, Sequence[Fault]] = {}
    with Progress(terminal) as progress:
        for number, path in enumerate(paths, start=1):
            progress.tell(f"checking {path}" + f" ({number} of {len(paths)})" * (len(paths) > 1))
            faults[path] = _find_faults(path, imports=not no_import)
    for path, found in faults.items():
        if as_json or output is Output.JSON:
            _print_json({"path": path, "ok": not found, "faults": [_fields(f) for f in found]})
        else:
            typer.echo("\n".join(map(str, found)) if found else f"{path}: ok")
    if any(faults.values()):
        raise typer.Exit(2)


@recipe_app.command("schema")
@takes_log_options
def print_schema() -> None:
    """Print the format as a JSON Schema, by which editors complete and check recipes."""
    from pipecat_workers_cli.recipe.schema import render_schema

    typer.echo(render_schema(), nl=False)


@recipe_app.command("graph")
@takes_log_options
def draw_recipe(
    context: typer.Context,
    name: RecipeName,
    form: Annotated[
        GraphFormat,
        typer.Option("--format", help="A tree for people, or a Mermaid flowchart for documents."),
    ] = GraphFormat.TREE,
    output: OutputOption = Output.TEXT,
    as_json: Json = False,
) -> None:
    """Draw a recipe's workers: who hands the call to whom, who asks whom."""
    from dataclasses import asdict

    from pipecat_workers_cli.recipe.graph import build_graph, render_mermaid
    from pipecat_workers_cli.recipe.load import load_recipe
    from pipecat_workers_cli.settings import load_env

    load_env(Terminal.of(context).env_file)
    graph = build_graph(load_recipe(name).recipe)
    if as_json or output is Output.JSON:
        _print_json(asdict(graph))
    elif form is GraphFormat.MERMAID:
        typer.echo(render_mermaid(graph), nl=False)
    else:
        _print_tree(Terminal.of(context), graph)


def _hash_of(name: str) -> str | None:
    from pipecat_workers_cli.errors import ConfigurationError
    from pipecat_workers_cli.recipe.load import load_recipe

    try:
        return load_recipe(name).hash
    except ConfigurationError:  # a variable isn't set; `check` tells
        return None


def _find_faults(path: str, *, imports: bool) -> "Sequence[Fault]":
    from pipecat_workers_cli.call.resolve import find_faults
    from pipecat_workers_cli.errors import ConfigurationError
    from pipecat_workers_cli.recipe.load import Fault, RecipeError, load_recipe

    def resolve(recipe: "Recipe", folder: Path) -> "Sequence[Finding]":
        found = list(find_faults(recipe, folder, imports=imports))
        if found or not imports:
            return found
        from pipecat_workers_cli.call.rehearsal import find_unbuildable

        return list(find_unbuildable(recipe, folder))

    try:
        load_recipe(path, resolve=resolve)
    except RecipeError as error:
        return error.faults
    except ConfigurationError as error:  # it names the path itself
        return (Fault(path, None, "", error.what.removeprefix(f"{Path(path)}: "), error.mend),)
    return ()


def _fields(fault: "Fault") -> dict[str, str | int | None]:
    return {name: getattr(fault, name) for name in ("file", "line", "key", "what", "mend")}


def _print_json(fields: Mapping[str, object]) -> None:
    import json

    typer.echo(json.dumps(fields, ensure_ascii=False))


def _print_table(terminal: Terminal, rows: Iterable[tuple[str, str | None, str]]) -> None:
    from rich.table import Table
    from rich.text import Text

    table = Table("recipe", "hash", "what it is", box=None, header_style="dim")
    for name, digest, summary in rows:
        table.add_row(Text(name, style="bold"), Text(digest or "-", style="dim"), Text(summary))
    terminal.console().print(table)


def _print_tree(terminal: Terminal, graph: "Graph") -> None:
    """Draw the tree, in colour on a terminal, in ASCII where the locale has no more."""
    from rich.text import Text

    from pipecat_workers_cli.recipe.graph import build_tree, tree_lines

    encoding = sys.stdout.encoding or "ascii"
    console = terminal.console() if sys.stdout.isatty() else None
    plain = not encoding.lower().startswith("utf")
    for guide, branch in tree_lines(build_tree(graph), plain=plain):
        note = branch.note.encode(encoding, "replace").decode(encoding)
        if console is None:
            typer.echo(f"{guide}{branch.name}  {note}".rstrip())
        else:
            line = Text.assemble((guide, "dim"), (branch.name, "bold"), "  ", note)
            console.print(line, overflow="ellipsis", no_wrap=True)
