"""`pmw bus watch` and `record`: what happens in a running session, from another one."""

import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pipecat_workers_cli.cli.arguments import (
    BusOrSession,
    Channel,
    DatabaseUrl,
    Json,
    RedisUrl,
    takes_log_options,
)
from pipecat_workers_cli.cli.choice import (
    Choice,
    CountOption,
    FilterOption,
    SpanOption,
    UntilOption,
    read_span,
)
from pipecat_workers_cli.cli.progress import Progress
from pipecat_workers_cli.cli.sessions import SessionOption
from pipecat_workers_cli.cli.terminal import Terminal
from pipecat_workers_cli.errors import ConfigurationError, PmwError
from pipecat_workers_cli.options import BusOptions

if TYPE_CHECKING:
    from pipecat_workers_cli.buses.urls import SharedBus
    from pipecat_workers_cli.session.attached import Attachment
    from pipecat_workers_cli.session.messages import AnyReply
    from pipecat_workers_cli.traffic.entry import Entry
    from pipecat_workers_cli.traffic.record import Recorder


class View(StrEnum):
    """How a session is shown."""

    TABLE = "table"
    LINES = "lines"
    JSON = "json"


@takes_log_options
def watch(
    context: typer.Context,
    session: SessionOption = None,
    bus: BusOrSession = None,
    redis_url: RedisUrl = None,
    database_url: DatabaseUrl = None,
    channel: Channel = None,
    output: Annotated[
        View | None,
        typer.Option("--output", "-o", help="How.", show_default="table on a terminal, else lines"),
    ] = None,
    as_json: Json = False,
    expression: FilterOption = None,
    count: CountOption = None,
    span: SpanOption = None,
    until: UntilOption = None,
) -> None:
    """Show what workers say to each other: in a session, on a bus, or in `-- python bot.py`."""
    from pipecat_workers_cli.session.attached import attached, find_session

    terminal = Terminal.of(context)
    shared = _shared_bus(terminal, BusOptions(bus, redis_url, database_url, channel), session)
    choice, seconds = Choice(expression, count, until), read_span(span)
    chooses = (expression, count, until) != (None, None, None)
    view = View.JSON if as_json else output
    program = terminal.runner_args
    if view is None:
        drawn = sys.stdout.isatty() and not chooses and not program
        view = View.TABLE if drawn else View.LINES
    if view is View.TABLE and (chooses or program):
        raise ConfigurationError(
            "the table shows all of a session of pmw's, and no less",
            mend="-o lines for --filter, --count, --until and other programs",
        )
    if program:
        if session is not None or shared is not None:
            raise ConfigurationError(
                "a program after '--' is watched by itself", mend="leave -s and --bus out"
            )
        raise typer.Exit(_watch_program(terminal, program, view, choice, seconds))
    if shared is not None:
        if view is View.TABLE:
            log_file = terminal.log_file or terminal.log_beside_table("watch")
            terminal.say(f"logs: {log_file}")
            terminal.set_up_logs(log_file)
            from pipecat_workers_cli.cli.remote import show_bus_table

            show_bus_table(terminal, shared, seconds)
            return
        _follow_bus(terminal, shared, seconds, choice, lambda entry: _write(entry, view))
        raise typer.Exit(0 if choice.met else 1)
    with attached(find_session(session)) as attachment:
        if view is View.TABLE:
            terminal.set_up_logs()  # Pipecat greets as it is imported
            from pipecat_workers_cli.cli.remote import show_table

            show_table(terminal, attachment, seconds)
            return
        terminal.say(f"watching session '{attachment.name}'; Ctrl-C ends it")
        _follow(terminal, attachment, seconds, choice, lambda entry: _write(entry, view))
    if not choice.met:
        raise typer.Exit(1)


@takes_log_options
def record(
    context: typer.Context,
    file: Annotated[
        Path, typer.Argument(metavar="FILE", help="JSON lines; .gz or .zst packs them.")
    ],
    session: SessionOption = None,
    bus: BusOrSession = None,
    redis_url: RedisUrl = None,
    database_url: DatabaseUrl = None,
    channel: Channel = None,
    so_far: Annotated[
        bool,
        typer.Option("--so-far", help="The last ten minutes, instead of what comes."),
    ] = False,
    expression: FilterOption = None,
    count: CountOption = None,
    span: SpanOption = None,
    until: UntilOption = None,
) -> None:
    """Record a running session or a bus, or save what a session remembers."""
    from pipecat_workers_cli.session.attached import attached, find_session
    from pipecat_workers_cli.traffic.record import open_recording

    terminal = Terminal.of(context)
    shared = _shared_bus(terminal, BusOptions(bus, redis_url, database_url, channel), session)
    choice, seconds = Choice(expression, count, until), read_span(span)
    if so_far and shared is not None:
        raise ConfigurationError(
            "a session remembers what was, a bus doesn't", mend="-s NAME for --so-far"
        )
    if so_far and (count, span, until) != (None, None, None):
        raise ConfigurationError(
            "--so-far saves what was, whose end is now", mend="leave out --count, --for and --until"
        )
    saved = 0

    def keep(entry: "Entry") -> None:
        nonlocal saved
        saved += 1
        recorder.add([entry])
        if recorder.failure is not None:
            raise _full(file, recorder)

    if shared is not None:
        with open_recording(file) as recorder, suppress(KeyboardInterrupt):
            _follow_bus(terminal, shared, seconds, choice, keep)
    else:
        with attached(find_session(session)) as attachment, open_recording(file) as recorder:
            if so_far:
                _remember(attachment, choice, keep)
            else:
                terminal.say(f"recording session '{attachment.name}'; Ctrl-C ends it")
                with suppress(KeyboardInterrupt):
                    _follow(terminal, attachment, seconds, choice, keep)
    if recorder.failure is not None:
        raise _full(file, recorder)
    terminal.say(f"{saved} entries in {file}")
    if not choice.met:
        raise typer.Exit(1)


def _shared_bus(terminal: Terminal, options: BusOptions, session: str | None) -> "SharedBus | None":
    """Return the bus that was typed; None means a session of this machine.

    Raises:
        ConfigurationError: A session was typed as well, or the bus is wrong or not shared.
    """
    if options == BusOptions():
        return None
    if session is not None:
        raise ConfigurationError("a session and a bus are two places", mend="leave -s or --bus out")
    from pipecat_workers_cli.settings import load_env

    load_env(terminal.env_file)
    from pipecat_workers_cli.buses.urls import choose_bus

    if (chosen := choose_bus(options)) is None:
        raise ConfigurationError(
            "a local bus is inside a session", mend="-s NAME, or --bus with a URL"
        )
    return chosen


def _full(file: Path, recorder: "Recorder") -> PmwError:
    return PmwError(f"{file}: {recorder.failure}", mend="make room, or record elsewhere")


def _follow(
    terminal: Terminal,
    attachment: "Attachment",
    seconds: float | None,
    choice: Choice,
    take: "Callable[[Entry], None]",
) -> None:
    """Take the wanted entries of a session as they come, until it is enough."""
    from pipecat_workers_cli.session.messages import Bye, Told, Watch

    with suppress(TimeoutError):  # --for is over
        for reply in attachment.ask(Watch(), timeout=seconds):
            if isinstance(reply, Told):
                if choice.takes(reply.entry):
                    take(reply.entry)
                if choice.enough(reply.entry):
                    return
            elif isinstance(reply, Bye):
                terminal.say(f"session '{attachment.name}' has ended")
                return
        raise attachment.gone()


def _follow_bus(
    terminal: Terminal,
    bus: "SharedBus",
    seconds: float | None,
    choice: Choice,
    take: "Callable[[Entry], None]",
) -> None:
    """Take the wanted entries of all sessions on a bus as they come, until it is enough."""
    import asyncio

    from pipecat_workers_cli.session.bus_attached import watching
    from pipecat_workers_cli.session.messages import Told, Watch

    terminal.set_up_logs()  # the bus may be away for a while
    failures: list[Exception] = []

    async def follow() -> None:
        enough = asyncio.Event()

        def hear(_session: str, reply: "AnyReply") -> None:
            if enough.is_set() or not isinstance(reply, Told):
                return
            try:
                if choice.takes(reply.entry):
                    take(reply.entry)
                if choice.enough(reply.entry):
                    enough.set()
            except Exception as error:  # a full disk, or nobody reads stdout any more
                failures.append(error)
                enough.set()

        async with watching(bus, Watch(), hear):
            connecting.end()
            terminal.say(f"watching {bus.told}; Ctrl-C ends it")
            with suppress(TimeoutError):  # --for is over
                await asyncio.wait_for(enough.wait(), seconds)

    with Progress(terminal, f"connecting to {bus.shown}") as connecting:
        asyncio.run(follow())
    for failure in failures:
        raise failure


def _remember(attachment: "Attachment", choice: Choice, take: "Callable[[Entry], None]") -> None:
    from pipecat_workers_cli.session.messages import Done, Remember, Told

    for reply in attachment.ask(Remember(), timeout=None):
        if isinstance(reply, Told) and choice.takes(reply.entry):
            take(reply.entry)
        elif isinstance(reply, Done):
            return
    raise attachment.gone()


def _watch_program(
    terminal: Terminal, program: Sequence[str], view: View, choice: Choice, seconds: float | None
) -> int:
    """Run a program under the tap; return its exit code, or 1 if what was waited for didn't come.

    It is ended once it is enough.
    """
    import asyncio

    terminal.set_up_logs()  # Pipecat greets as it is imported
    from pipecat_workers_cli.session.stranger import run_tapped

    async def run() -> int:
        enough = asyncio.Event()

        def tell(entry: "Entry") -> None:
            if enough.is_set():
                return
            if choice.takes(entry):
                _write(entry, view)
            if choice.enough(entry):
                enough.set()

        running = asyncio.create_task(run_tapped(program, tell), name="run the program")
        waiting = asyncio.create_task(enough.wait(), name="enough")
        try:
            first = asyncio.FIRST_COMPLETED
            await asyncio.wait({running, waiting}, timeout=seconds, return_when=first)
            return await running if running.done() else 0
        finally:
            waiting.cancel()
            running.cancel()
            await asyncio.wait({running, waiting})

    code = asyncio.run(run())
    return code if choice.met else 1


def _write(entry: "Entry", view: View) -> None:
    if view is View.JSON:
        import msgspec

        print(msgspec.json.encode(entry).decode(), flush=True)
    else:
        from pipecat_workers_cli.cli.table import entry_line

        print(entry_line(entry), flush=True)
