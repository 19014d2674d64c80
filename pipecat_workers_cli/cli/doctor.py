"""`pmw doctor`: what this machine has and lacks, each with the mend."""

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from pipecat_workers_cli.cli.arguments import (
    Host,
    Json,
    Llm,
    OutputOption,
    Port,
    ServicesOption,
    Stt,
    Tts,
    takes_log_options,
)
from pipecat_workers_cli.cli.terminal import Terminal
from pipecat_workers_cli.options import Output, ServiceOptions

if TYPE_CHECKING:
    from pipecat_workers_cli.checks import Check

MARKS = {"ok": ("✓", "green"), "warning": ("!", "yellow"), "wrong": ("✗", "bold red")}


@takes_log_options
def doctor(
    context: typer.Context,
    commands: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="COMMAND",
            help="Look only at what these need, such as handoff.",
            show_default="everything",
        ),
    ] = None,
    host: Host = "localhost",
    port: Port = 7860,
    services: ServicesOption = None,
    llm: Llm = None,
    stt: Stt = None,
    tts: Tts = None,
    output: OutputOption = Output.TEXT,
    as_json: Json = False,
) -> None:
    """Check keys, services, packages and ports: what is missing, and how to mend it.

    Exit 1 if something is wrong; a warning is not.
    """
    import json

    from pipecat_workers_cli.logs import set_up_logs
    from pipecat_workers_cli.session.health import examine
    from pipecat_workers_cli.settings import load_env

    terminal = Terminal.of(context)
    load_env(terminal.env_file)
    set_up_logs(terminal.log_level, terminal.log_file, terminal.log_format)
    options = ServiceOptions(profile=services, llm=llm, stt=stt, tts=tts)
    findings = list(examine(commands or (), services=options, host=host, port=port))
    if as_json or output is Output.JSON:
        for finding in findings:
            typer.echo(json.dumps(fields(finding), ensure_ascii=False))
    elif sys.stdout.isatty():
        print_table(terminal, findings)
    else:
        print_lines(findings)
    if any(finding.state == "wrong" for finding in findings):
        raise typer.Exit(1)


def fields(finding: "Check") -> dict[str, str]:
    """Return a finding as JSON shows it."""
    return {name: str(getattr(finding, name)) for name in ("name", "state", "found", "mend")}


def print_lines(findings: Sequence["Check"]) -> None:
    """Print a line for each finding, its mend below it: for pipes, logs and `grep`."""
    width = max(len(finding.name) for finding in findings)
    for finding in findings:
        typer.echo(f"{finding.state:<7}  {finding.name:<{width}}  {finding.found}")
        if finding.mend:
            typer.echo(f"{'':<7}  {'':<{width}}  try: {finding.mend}")


def print_table(terminal: Terminal, findings: Sequence["Check"]) -> None:
    """Draw a table, the mend under what was found, which keeps it narrow."""
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
    for finding in findings:
        mark, style = MARKS[finding.state]
        found = Text(finding.found)
        if finding.mend:
            found.append(f"\ntry: {finding.mend}", style="dim")
        table.add_row(Text(mark, style=style), Text(finding.name, style="bold"), found)
    table.columns[1].no_wrap = True
    console = terminal.console()
    console.print(table)
    states = [str(finding.state) for finding in findings]
    wrong, warnings = states.count("wrong"), states.count("warning")
    console.print(Text(f"\n{wrong} wrong, {warnings} to know about", style="dim"))
