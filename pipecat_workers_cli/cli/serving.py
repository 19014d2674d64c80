"""A session that serves callers, as seen from a terminal: its banner or its live table."""

import asyncio
import os
import sys
from collections.abc import AsyncGenerator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager

from pipecat_workers_cli.buses.urls import SharedBus
from pipecat_workers_cli.call.latency import turn_limit
from pipecat_workers_cli.call.plan import Plan
from pipecat_workers_cli.cli.detach import announce_ready, how_to_end, is_detached
from pipecat_workers_cli.cli.keys import restore_terminal, terminal_fd
from pipecat_workers_cli.cli.progress import Progress
from pipecat_workers_cli.cli.sheet import Header
from pipecat_workers_cli.cli.table import run_lines, run_table
from pipecat_workers_cli.cli.terminal import Terminal
from pipecat_workers_cli.cli.turns import TurnPrinter
from pipecat_workers_cli.options import CallOptions, Output, TrafficMode
from pipecat_workers_cli.services.providers import calls_at_once
from pipecat_workers_cli.session.current import CurrentPlan
from pipecat_workers_cli.session.recording import recorded
from pipecat_workers_cli.session.serve import Serving, serve
from pipecat_workers_cli.traffic.entry import Event
from pipecat_workers_cli.traffic.tap import Tap

PROBLEMS = frozenset[Event]({"error"})


def serve_calls(
    terminal: Terminal,
    plan: Plan,
    options: CallOptions,
    *,
    bus: SharedBus | None,
    read: Callable[[], Plan],
) -> None:
    """Serve callers until the session is stopped; blocks.

    Args:
        terminal: Where to show it.
        plan: The recipe with its providers, checked.
        options: What was typed.
        bus: Where the workers are that don't run here; None runs all of them.
        read: Reads, plans and checks the recipe anew, for the next call.

    Raises:
        PmwError: The port isn't there, or an answer took too long.
        ConfigurationError: The bind isn't safe.
        KeyboardInterrupt: SIGINT ended the session.
    """
    tap = Tap()
    if options.output is Output.JSON:
        tap.subscribe(TurnPrinter(Output.JSON))
    shown = options.traffic or default_traffic(terminal)
    log_file = terminal.log_file
    if shown is TrafficMode.TABLE and log_file is None:
        log_file = terminal.log_beside_table(plan.loaded.recipe.name)
        terminal.say(f"logs: {log_file}")

    def renewed(plan: Plan) -> None:
        if shown is not TrafficMode.TABLE:  # whose first line has it
            terminal.say(
                f"{plan.loaded.recipe.name} {plan.loaded.hash}: read anew, calls begin with it"
            )

    most = calls_at_once(tuple(plan.choices()))
    current = CurrentPlan(plan, read, refused=tap.tell_trouble, renewed=renewed)
    serving = Serving(
        current,
        options.serve,
        tap=tap,
        max_calls=bus.room(options.max_calls, otherwise=most) if bus else options.max_calls or most,
        idle_timeout=options.idle_timeout,
        set_up_logs=lambda: terminal.set_up_logs(log_file),
        audio=options.audio,
        bus=bus,
        links=options.links,
    )
    with (
        turn_limit(tap, options.max_turn_ms),
        recorded(tap, options.record),
        Progress(terminal, f"starting {plan.loaded.recipe.name}") as progress,
    ):

        def beside(running: Serving) -> AbstractAsyncContextManager[None]:
            progress.end()  # what is shown from now on has the screen for itself
            return shown_beside(running, current, tap, terminal, shown)

        serve(serving, beside=beside)


def default_traffic(terminal: Terminal) -> TrafficMode:
    """Choose what to show when nothing was typed: a table, where one can be drawn and read."""
    drawable = sys.stderr.isatty() and os.environ.get("TERM") != "dumb"
    wanted = not terminal.quiet and not terminal.verbose
    return TrafficMode.TABLE if drawable and wanted else TrafficMode.OFF


@asynccontextmanager
async def shown_beside(
    serving: Serving, current: CurrentPlan, tap: Tap, terminal: Terminal, shown: TrafficMode
) -> AsyncGenerator[None]:
    """Say where the session is, and show its traffic while the block lasts."""
    has_keys = shown is TrafficMode.TABLE and terminal_fd() is not None

    def header() -> Header:
        return header_of(serving, current.latest, has_keys=has_keys)

    terminal.say(banner(header()))
    announce_ready(serving.name, serving.address)
    stop = asyncio.Event()
    console = terminal.console(stderr=True)
    match shown:
        case TrafficMode.OFF:
            tap.subscribe(TurnPrinter(Output.TEXT, events=PROBLEMS))
            yield
            return
        case TrafficMode.LINES:
            showing = run_lines(tap, console=console, stop=stop)
        case TrafficMode.TABLE:
            serving.signals.aborting.append(restore_terminal)
            showing = run_table(
                tap,
                header=header,
                console=console,
                stop=stop,
                event_loop_lag=lambda: serving.lag,
            )
    leaving = False

    def quit_session(_task: asyncio.Task[None]) -> None:
        if not leaving:  # `q` ended the table, and with the table goes the session
            serving.stop()

    task = asyncio.create_task(showing, name=f"show {shown}")
    task.add_done_callback(quit_session)
    try:
        yield
    finally:
        leaving = True
        stop.set()
        await asyncio.wait({task}, timeout=1)


def header_of(serving: Serving, plan: Plan, *, has_keys: bool) -> Header:
    """Return what the banner and the table's first lines say."""
    return Header(
        recipe=plan.loaded.recipe.name,
        hash=plan.loaded.hash,
        address=serving.address,
        providers=plan.told(),
        ending=_ending(serving.name, has_keys=has_keys),
        max_calls=serving.max_calls,
        link=serving.link,
    )


def _ending(session: str | None, *, has_keys: bool) -> str:
    if is_detached():
        return how_to_end(session)
    return "q or Ctrl-C ends" if has_keys else "Ctrl-C ends"


def banner(header: Header) -> str:
    """Return the lines that a session without a table begins with."""
    how = f"({header.ending}; up to {header.max_calls} calls)"
    return f"{header.recipe} {header.hash} at {header.address}  {how}\n{header.providers}"
