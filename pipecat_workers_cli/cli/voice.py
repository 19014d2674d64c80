"""A call by this machine's microphone: what was said, a level bar, and the key that mutes."""

import asyncio
import math
import sys
from collections.abc import AsyncGenerator, Callable, Coroutine
from contextlib import asynccontextmanager, suppress
from functools import partial
from typing import Any

from rich.console import Console
from rich.live import Live
from rich.text import Text

from pipecat_workers_cli.buses.urls import SharedBus
from pipecat_workers_cli.call.audio import AudioRecorder
from pipecat_workers_cli.call.plan import Plan
from pipecat_workers_cli.cli.keys import open_keys, terminal_fd
from pipecat_workers_cli.cli.one_call import OnFailure, hold, until_stopped
from pipecat_workers_cli.cli.sheet import Header
from pipecat_workers_cli.cli.table import run_lines, run_table
from pipecat_workers_cli.cli.terminal import Terminal
from pipecat_workers_cli.cli.turns import TurnPrinter
from pipecat_workers_cli.options import CallOptions, Duplex, Output, TrafficMode
from pipecat_workers_cli.session.microphone import Voice, run_local
from pipecat_workers_cli.traffic.tap import Tap
from pipecat_workers_cli.transports.devices import Line

DRAW_EVERY = 0.1  # seconds
CELLS = 10  # of the level bar
QUIETEST = -50.0  # dB below the loudest there is; a quiet room


def talk_aloud(
    terminal: Terminal,
    plan: Plan,
    options: CallOptions,
    lines: tuple[Line, Line],
    *,
    bus: SharedBus | None,
) -> None:
    """Hold one call by this machine's microphone and loudspeaker; blocks until it is over.

    Args:
        terminal: Where to show it.
        plan: The recipe with its providers, checked.
        options: What was typed.
        lines: The microphone's and the loudspeaker's.
        bus: Where the workers are that don't run here; None runs all of them.

    Raises:
        PmwError: A device can't be opened or vanishes; an answer took too long.
        KeyboardInterrupt: SIGINT ended the call.
    """
    drawn = sys.stderr.isatty() and options.output is Output.TEXT and not terminal.quiet
    shown = options.traffic or TrafficMode.OFF
    if shown is TrafficMode.TABLE and terminal.log_file is None:
        log_file = terminal.log_beside_table(plan.loaded.recipe.name)
        terminal.set_up_logs(log_file)
        terminal.say(f"logs: {log_file}")
    terminal.say(_banner(plan, lines, options.local.duplex, has_keys=terminal_fd() is not None))
    tap = Tap()
    audio = AudioRecorder(options.audio) if options.audio is not None else None

    def begin(leaving: Callable[[], None]) -> Coroutine[Any, Any, None]:
        def run(on_failure: OnFailure) -> Coroutine[Any, Any, None]:
            return run_local(
                plan,
                lines,
                duplex=options.local.duplex,
                tap=tap,
                idle_timeout=options.idle_timeout,
                audio=audio,
                bus=bus,
                links=options.links,
                beside=partial(
                    _shown, plan, tap, terminal.console(stderr=True), options, shown, on_failure
                )
                if drawn
                else partial(_printed, tap, options, on_failure),
                leaving=leaving,
            )

        return until_stopped(run)

    hold(options, tap, audio, begin)


def _banner(plan: Plan, lines: tuple[Line, Line], duplex: Duplex, *, has_keys: bool) -> str:
    recipe, (heard, played) = plan.loaded.recipe, lines
    how = "m mutes, q hangs up" if has_keys else "Ctrl-C hangs up"
    return (
        f"{recipe.name}: {recipe.summary}\n{plan.told()}\n"
        f"hears by {heard.device.name}, speaks by {played.device.name}, {duplex} duplex · {how}\n"
    )


@asynccontextmanager
async def _printed(
    tap: Tap, options: CallOptions, on_failure: OnFailure, _voice: Voice
) -> AsyncGenerator[None]:
    """Print what is said; nothing is drawn."""
    tap.subscribe(TurnPrinter(options.output, on_failure=on_failure))
    yield


@asynccontextmanager
async def _shown(
    plan: Plan,
    tap: Tap,
    console: Console,
    options: CallOptions,
    shown: TrafficMode,
    on_failure: OnFailure,
    voice: Voice,
) -> AsyncGenerator[None]:
    """Show what is said above a level bar, or the live table with the bar in its first line."""
    stop = asyncio.Event()
    if shown is TrafficMode.TABLE:
        if not _to_screen():
            tap.subscribe(TurnPrinter(options.output, on_failure=on_failure))

        def header() -> Header:
            return Header(plan.loaded.recipe.name, None, plan.told(), render_bar(voice).plain)

        drawing = [
            run_table(
                tap,
                header=header,
                console=console,
                stop=stop,
                event_loop_lag=lambda: 0.0,
                keys={"m": voice.mute},
            )
        ]
    else:
        drawing = [_run_bar(tap, voice, console, stop, options, on_failure)]
        if shown is TrafficMode.LINES:
            drawing.append(run_lines(tap, console=console, stop=stop))
    tasks = [asyncio.create_task(one, name="draw") for one in drawing]
    tasks[0].add_done_callback(lambda _: voice.hang_up())  # `q` ended it
    try:
        yield
    finally:
        stop.set()
        await asyncio.wait(tasks, timeout=1)


async def _run_bar(
    tap: Tap,
    voice: Voice,
    console: Console,
    stop: asyncio.Event,
    options: CallOptions,
    on_failure: OnFailure,
) -> None:
    """Draw the bar below all that is printed, until `stop` is set."""
    keys = {"m": voice.mute, "q": stop.set}
    to_screen = _to_screen()  # what goes to a file must not pass through the drawing
    live = Live(
        render_bar(voice),
        console=console,
        auto_refresh=False,
        transient=True,
        redirect_stdout=to_screen,
    )
    with live, open_keys(lambda key: keys.get(key, _nothing)()):
        if not to_screen or options.traffic is not TrafficMode.LINES:  # which tell it, too
            tap.subscribe(TurnPrinter(options.output, latency=to_screen, on_failure=on_failure))
        while not stop.is_set():
            # In a thread, because a terminal may be slower than the call can wait.
            await asyncio.to_thread(live.update, render_bar(voice), refresh=True)
            with suppress(TimeoutError):
                async with asyncio.timeout(DRAW_EVERY):
                    await stop.wait()


def _to_screen() -> bool:
    return sys.stdout is not None and sys.stdout.isatty()


def _nothing() -> None:
    """Do what a key does that means nothing."""


def render_bar(voice: Voice) -> Text:
    """Return the level bar: how loud the microphone is, and whether it is heard."""
    loudness = 20 * math.log10(max(voice.level, 1e-6))
    full = round(CELLS * min(1.0, max(0.0, 1 - loudness / QUIETEST)))
    if voice.muted:
        state, style = "muted: m lets you be heard", "yellow"
    elif voice.bot_sounds:
        state, style = "closed while the bot speaks", "dim"
    else:
        state, style = "you are heard", "green"
    bar = Text("mic ")
    bar.append("▮" * full, style=style).append("▯" * (CELLS - full), style="dim")
    return bar.append(f" {state} · m mutes · q hangs up", style="dim")
