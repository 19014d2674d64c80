"""`pmw say` and `stop`: a turn to say in a session, its end."""

from typing import Annotated, Optional

import typer

from pipecat_workers_cli.cli.arguments import Json, OutputOption, takes_log_options
from pipecat_workers_cli.cli.complete import complete_session
from pipecat_workers_cli.cli.terminal import Terminal
from pipecat_workers_cli.errors import ConfigurationError, PmwError
from pipecat_workers_cli.options import Output

LATE = 5.0  # seconds beyond a turn's own time in which the session must say how it went

SessionOption = Annotated[
    str | None,
    typer.Option(
        "--session",
        "-s",
        metavar="NAME",
        autocompletion=complete_session,
        help="Which session, where there are several.",
    ),
]


@takes_log_options
def say(
    words: Annotated[list[str], typer.Argument(metavar="TEXT", help="One turn of the caller.")],
    session: SessionOption = None,
    call: Annotated[
        str | None,
        typer.Option("--call", metavar="ID", help="Which call, where there are several."),
    ] = None,
    timeout: Annotated[
        float,
        typer.Option("--timeout", min=0.1, max=3600, metavar="S", help="For the whole answer."),
    ] = 30.0,
    output: OutputOption = Output.TEXT,
    as_json: Json = False,
) -> None:
    """Say a turn in a session's call, and print what follows until the bot has finished.

    A session without a call opens one in words, and keeps it for the next turn.
    """
    from pipecat_workers_cli.cli.turns import TurnPrinter
    from pipecat_workers_cli.session.attached import attached, find_session
    from pipecat_workers_cli.session.messages import TURN, Done, Say, Told
    from pipecat_workers_cli.traffic.entry import TOLD

    text = " ".join(words).strip().encode(errors="replace").decode()  # what isn't UTF-8 is a "?"
    if not text or len(text) > TURN:
        raise ConfigurationError(
            f"a turn has between 1 and {TURN} characters", mend="say something, or break it up"
        )
    as_json = as_json or output is Output.JSON
    events = TOLD if as_json else TOLD - {"error"}  # which ends it, in two lines
    show = TurnPrinter(Output.JSON if as_json else Output.TEXT, events=events)
    request = Say(text=text, call=call, timeout=timeout)
    with attached(find_session(session)) as attachment:
        for reply in attachment.ask(request, timeout=timeout + LATE):
            if isinstance(reply, Told):
                show(reply.entry)
            elif isinstance(reply, Done):
                return
    raise PmwError("the session ended before the answer", mend="see which there are: pmw ps")


@takes_log_options
def stop(
    context: typer.Context,
    names: Annotated[
        Optional[list[str]],  # noqa: UP045  # Typer reads it at run time
        typer.Argument(
            metavar="NAME",
            autocompletion=complete_session,
            help="Sessions of pmw ps; left out: the only one.",
        ),
    ] = None,
    every: Annotated[bool, typer.Option("--all", help="All of yours.")] = False,
    timeout: Annotated[
        float,
        typer.Option("--timeout", min=0, metavar="S", help="Until their processes are gone."),
    ] = 10.0,
) -> None:
    """End sessions as SIGTERM does, and wait until they are gone."""
    from pipecat_workers_cli.session import attached

    if every and names:
        raise ConfigurationError("--all leaves no names to choose", mend="leave one of both out")
    if every:
        chosen = list(attached.living())
    else:
        chosen = [attached.find_session(name) for name in dict.fromkeys(names or (None,))]
    terminal = Terminal.of(context)
    if not chosen:
        terminal.say("no session is running")
    attached.stop(chosen, within=timeout, on_end=lambda name: typer.echo(f"stopped {name}"))
