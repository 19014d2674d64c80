"""`pmw doctor`: what this machine has and lacks, each with the mend."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pipecat_workers_cli.cli.arguments import (
    PROXY_TOKEN,
    BusOfCommands,
    Channel,
    DatabaseUrl,
    Host,
    Json,
    Llm,
    OutputOption,
    Port,
    RedisUrl,
    ServicesOption,
    Stt,
    Transport,
    Tts,
    takes_log_options,
)
from pipecat_workers_cli.cli.progress import Progress
from pipecat_workers_cli.cli.proxy import REMOTE_URL, known_token
from pipecat_workers_cli.cli.terminal import Terminal
from pipecat_workers_cli.options import BusOptions, LinkOptions, Output, ServiceOptions

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
            help="Look only at what these need: handoff; worker; run my.toml.",
            show_default="everything",
        ),
    ] = None,
    online: Annotated[
        bool, typer.Option("--online", help="Ask the providers whether they take the keys.")
    ] = False,
    no_speech: Annotated[
        bool, typer.Option("--no-speech", help="Don't try the offline speech: it takes seconds.")
    ] = False,
    transport: Transport = None,
    host: Host = "localhost",
    port: Port = 7860,
    bus: BusOfCommands = None,
    redis_url: RedisUrl = None,
    database_url: DatabaseUrl = None,
    channel: Channel = None,
    remote_url: Annotated[
        str | None,
        typer.Option(
            "--remote-url",
            metavar="URL",
            help="Where pmw proxy serve is: ws:// or wss://.",
            show_default=f"of proxy {REMOTE_URL}",
        ),
    ] = None,
    token: Annotated[
        str | None,
        typer.Option(
            "--token", metavar="TOKEN", help="One that it asks for.", show_default=f"${PROXY_TOKEN}"
        ),
    ] = None,
    ca_file: Annotated[
        Path | None,
        typer.Option("--ca-file", metavar="FILE", help="Trust these certificates (PEM) there."),
    ] = None,
    services: ServicesOption = None,
    llm: Llm = None,
    stt: Stt = None,
    tts: Tts = None,
    output: OutputOption = Output.TEXT,
    as_json: Json = False,
) -> None:
    """Check keys, services, servers, packages and ports: what is missing, and how to mend it.

    Exit 1 if something is wrong; a warning is not.
    """
    import asyncio

    from pipecat_workers_cli.settings import load_env

    terminal = Terminal.of(context)
    env_file = load_env(terminal.env_file)
    terminal.set_up_logs()
    with Progress(terminal, "looking around") as progress:
        from pipecat_workers_cli.buses.way import Way
        from pipecat_workers_cli.session.health import examine
        from pipecat_workers_cli.session.needs import Asked

        url = remote_url or (REMOTE_URL if "proxy" in (commands or ()) else None)
        asked = Asked(
            services=ServiceOptions(profile=services, llm=llm, stt=stt, tts=tts),
            transport=transport,
            host=host,
            port=port,
            bus=BusOptions(bus, redis_url, database_url, channel),
            remote=Way("assistant", url, known_token(token), LinkOptions(ca_file=ca_file))
            if url
            else None,
            online=online,
            speech=not no_speech,
            env_file=env_file,
        )

        def looking(left: Sequence[str]) -> None:
            if left:
                progress.tell(f"looking at {', '.join(left)}")

        findings = asyncio.run(examine(commands or (), asked, progress=looking))
    show(terminal, findings, output=Output.JSON if as_json else output)
    if any(finding.state == "wrong" for finding in findings):
        raise typer.Exit(1)


def show(terminal: Terminal, findings: Sequence["Check"], *, output: Output) -> None:
    """Print findings as stdout wants them, without a secret in any text."""
    import json

    from pipecat_workers_cli.logs import redact

    if output is Output.JSON:
        for finding in findings:
            typer.echo(redact(json.dumps(fields(finding), ensure_ascii=False)))
    elif sys.stdout.isatty():
        print_table(terminal, findings)
    else:
        print_lines(findings)


def fields(finding: "Check") -> dict[str, str | list[str]]:
    """Return a finding as JSON shows it."""
    told: dict[str, str | list[str]] = {
        name: str(getattr(finding, name)) for name in ("name", "state", "found", "mend")
    }
    return told | {"variables": list(finding.variables)}


def to_paste(findings: Sequence["Check"]) -> list[str]:
    """Return lines that set what is missing, for a shell or for `.env`, which takes the same."""
    missing = dict.fromkeys(name for finding in findings for name in finding.variables)
    return [f"export {name}=" for name in missing]


def print_lines(findings: Sequence["Check"]) -> None:
    """Print a line for each finding, its mend below it: for pipes, logs and `grep`."""
    width = max(len(finding.name) for finding in findings)
    for finding in findings:
        typer.echo(f"{finding.state:<7}  {finding.name:<{width}}  {finding.found}")
        if finding.mend:
            typer.echo(f"{'':<7}  {'':<{width}}  try: {finding.mend}")
    if missing := to_paste(findings):
        typer.echo("\n# missing; for a shell, or for .env\n" + "\n".join(missing))


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
    if missing := to_paste(findings):
        console.print(Text("\nmissing; for a shell, or for .env:", style="dim"))
        console.print(Text("\n".join(missing)))
    states = [str(finding.state) for finding in findings]
    wrong, warnings = states.count("wrong"), states.count("warning")
    console.print(Text(f"\n{wrong} wrong, {warnings} to know about", style="dim"))
