"""Writes docs/reference.md from the program itself.

uv run python docs/reference.py
"""

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import typer

from pipecat_workers_cli.cli.app import app
from pipecat_workers_cli.fleet.health import BusFigures
from pipecat_workers_cli.recipe.schema import recipe_schema
from pipecat_workers_cli.traffic.filter import KEYS

PAGE = Path(__file__).with_suffix(".md")
CALLS = ("handoff", "debate", "code", "sensor", "run")  # what they share, they show once

TABLES = {"MainRecipe": "`[main]` (MainRecipe)", "WorkerRecipe": "`[[workers]]` (WorkerRecipe)"}

HEAD = """\
# Reference

Written by `docs/reference.py` from the program; a test holds it to it. What an option is for stands
in the how-to pages.

[Commands](#commands) · [options of every command](#options-of-every-command) ·
[options of calls](#options-of-calls) · [recipes](#recipes) · [entries](traffic.md#entries) ·
[filters](#filters) · [metrics](#metrics) · [exit codes](#exit-codes)
"""

EXIT_CODES = """\
## Exit codes

| code | meaning |
| --- | --- |
| 0 | done; also after SIGTERM, when what ran could end in good order |
| 1 | the machine or the world isn't ready, or it failed |
| 2 | what was typed or written is wrong |
| 130 | interrupted |
"""


def render_reference() -> str:
    """Return the page."""
    parts = [HEAD, *command_parts(), *recipe_parts(), filter_part(), metrics_part(), EXIT_CODES]
    return "\n".join(parts)


def command_parts() -> Iterator[str]:
    """Give each command's part: its usage, what it does, its own options."""
    root = typer.main.get_command(app)
    commands = dict(walk(root, ()))
    everywhere = {option(p): p for p in options(root)}
    of_calls = [{option(p): p for p in options(commands[(name,)])} for name in CALLS]
    shared = {key: p for key, p in of_calls[0].items() if all(key in other for other in of_calls)}
    shared = {key: p for key, p in shared.items() if key not in everywhere}
    yield "## Commands\n"
    for path, command in commands.items():
        left_out = {*everywhere, *(shared if path[0] in (*CALLS, "up") else ())}
        told = " ".join((command.help or "").split())
        usage = " ".join(("pmw", *path, *(metavar(p) for p in arguments(command))))
        yield f"### `{usage}`\n\n{told}\n"
        own = [p for p in (*arguments(command), *options(command)) if option(p) not in left_out]
        if own:
            yield option_table(own)
    yield "## Options of every command\n"
    yield option_table(list(everywhere.values()))
    yield "## Options of calls\n"
    yield f"Of {', '.join(CALLS)} and, where they make sense there, `up` and `proxy call`.\n"
    yield option_table(list(shared.values()))


def walk(command: Any, path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Give all commands that do something, with their paths."""
    context = typer.Context(command)
    for name in command.list_commands(context):
        below = command.get_command(context, name)
        if hasattr(below, "list_commands"):
            yield from walk(below, (*path, name))
        else:
            yield (*path, name), below


def options(command: Any) -> list[Any]:
    """Return a command's options, without --help."""
    return [p for p in command.params if p.param_type_name == "option" and p.name != "help"]


def arguments(command: Any) -> list[Any]:
    """Return a command's arguments."""
    return [p for p in command.params if p.param_type_name == "argument"]


def option(param: Any) -> str:
    """Return how an option is typed: the long name first."""
    return ", ".join(sorted(param.opts, key=len, reverse=True))


def metavar(param: Any) -> str:
    """Return how an argument stands in a usage line."""
    name = (param.metavar or param.name.upper()) + "…" * (param.nargs == -1)
    return name if param.required else f"[{name}]"


def option_table(params: list[Any]) -> str:
    """Return a table of options and arguments."""
    lines = ["| option | meaning | default |", "| --- | --- | --- |"]
    for param in params:
        if param.param_type_name == "argument":
            name = metavar(param)
        else:
            flag = getattr(param, "is_flag", False)
            name = option(param) + ("" if flag else f" {param.metavar or value_of(param)}")
        help_text = " ".join((param.help or "").split())
        lines.append(f"| `{name}` | {cell(help_text)} | {default(param)} |")
    return "\n".join(lines) + "\n"


def value_of(param: Any) -> str:
    """Return what an option without a metavar takes."""
    kind = param.type_descriptor.annotation
    choices = [str(one.value) for one in kind] if hasattr(kind, "__members__") else []
    return "\\|".join(choices) or getattr(kind, "__name__", "value").upper()


def default(param: Any) -> str:
    """Return a cell with an option's default."""
    shown = param.show_default
    if isinstance(shown, str):
        return cell(shown)
    value = getattr(param.default, "value", param.default)
    if value in (None, "") or value is False or callable(value) or param.required:
        return ""
    return f"`{value}`"


def cell(text: str) -> str:
    """Return a text as a table takes it."""
    return text.replace("|", "\\|")


def recipe_parts() -> Iterator[str]:
    """Give the tables of a recipe, each with its keys."""
    schema = recipe_schema()
    yield "## Recipes\n"
    yield "What tables say of each other is told by `pmw recipe check`.\n"
    yield recipe_table("the file", schema, schema["$defs"])
    for name, table in schema["$defs"].items():
        if table.get("properties"):
            yield recipe_table(TABLES.get(name, name), table, schema["$defs"])


def recipe_table(name: str, table: dict[str, Any], tables: dict[str, Any]) -> str:
    """Return a table of a recipe's keys."""
    lines = [f"### Recipe: {name}\n", f"{cell(table.get('description', ''))}\n"]
    lines += ["| key | takes | meaning |", "| --- | --- | --- |"]
    for key, value in table["properties"].items():
        needed = " (needed)" if key in table.get("required", ()) else ""
        meaning = cell(value.get("description") or described(value, tables))
        lines.append(f"| `{key}`{needed} | {cell(kind_of(value))} | {meaning} |")
    return "\n".join(lines) + "\n"


def described(value: dict[str, Any], tables: dict[str, Any]) -> str:
    """Return the description of the table that a key refers to."""
    return tables.get(value.get("$ref", "").rpartition("/")[2], {}).get("description", "")


def kind_of(value: dict[str, Any]) -> str:
    """Say in a word or two what a key takes."""
    if "$ref" in value:
        return value["$ref"].rpartition("/")[2]
    if "anyOf" in value:
        return " or ".join(dict.fromkeys(kind_of(one) for one in value["anyOf"]))
    if "enum" in value:
        return ", ".join(f"`{one}`" for one in value["enum"])
    if "const" in value:
        return f"`{value['const']}`"
    if value.get("type") == "array":
        return f"a list of {kind_of(value.get('items', {}))}"
    words = {"string": "text", "boolean": "true or false", "object": "a table", None: "any value"}
    return words.get(value.get("type"), value.get("type", ""))


def filter_part() -> str:
    """Return the table of a filter's keys."""
    rows = "\n".join(f"| `{name}` | {cell(key.meaning)} |" for name, key in KEYS.items())
    return (
        "## Filters\n\nThe grammar stands in [traffic](traffic.md#filters).\n\n"
        f"| key | what it looks at |\n| --- | --- |\n{rows}\n"
    )


def metrics_part() -> str:
    """Return the table of what a host tells Prometheus."""
    counts = dict.fromkeys(("claims", "taken_over", "fenced"), 0)
    letters = dict.fromkeys(("failures", "sent", "taken", "shed", "lost"), 0)
    host = SimpleNamespace(
        rows=lambda: (), draining=False, deaf=False, lag=0.0, counts=SimpleNamespace(**counts)
    )
    post = SimpleNamespace(lag=0.0, counts=SimpleNamespace(**letters, refused={}))
    total = {"counter": "_total"}
    figures = BusFigures(host, post)  # type: ignore[arg-type]
    rows = sorted(
        f"| `{one.name}{total.get(one.type, '')}` | {one.type} | {cell(one.documentation)} |"
        for one in figures.registry.collect()
    )
    return (
        "## Metrics\n\nOf `pmw worker --health-port`, at `/metrics`. `pmw proxy serve` has those "
        "without a bus, and counts the links that it opened and turned away.\n\n"
        "| name | type | meaning |\n| --- | --- | --- |\n" + "\n".join(rows) + "\n"
    )


if __name__ == "__main__":
    PAGE.write_text(render_reference(), encoding="utf-8")
