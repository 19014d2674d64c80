"""A call at the console: from `--say`, from a pipe, or with a person at a prompt."""

import asyncio
import os
import signal
import stat
import sys
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any

from pipecat_workers_cli.buses.urls import SharedBus
from pipecat_workers_cli.call.audio import AudioRecorder
from pipecat_workers_cli.call.plan import Plan
from pipecat_workers_cli.cli.one_call import OnFailure, hold, until_stopped
from pipecat_workers_cli.cli.terminal import Terminal
from pipecat_workers_cli.cli.turns import TurnPrinter
from pipecat_workers_cli.errors import ConfigurationError
from pipecat_workers_cli.logs import owner_only
from pipecat_workers_cli.options import CallOptions, Output
from pipecat_workers_cli.session.console import check_caller, run_console
from pipecat_workers_cli.traffic.entry import TOLD, Event
from pipecat_workers_cli.traffic.tap import Tap

if TYPE_CHECKING:
    from prompt_toolkit.history import History

TURN = 16_384  # bytes; the longest line that counts as one turn


def talk(terminal: Terminal, plan: Plan, options: CallOptions, *, bus: SharedBus | None) -> None:
    """Hold one call at the console; blocks until it is over.

    Raises:
        PmwError: A turn got no answer, or one that took too long; stdout can't be written to.
        ConfigurationError: A line of a pipe is too long for a turn.
        BrokenPipeError: Whoever read stdout has gone.
        KeyboardInterrupt: SIGINT ended the call.
    """
    at_terminal = sys.stdin is not None and sys.stdin.isatty()  # None: stdin is closed
    person = options.say is None and at_terminal and options.output is Output.TEXT
    if options.say is not None:
        turns = _each(options.say)
    elif person:
        turns = _prompted(plan.loaded.recipe.name)
        terminal.say(_banner(plan))
    else:
        turns = _lines_of_stdin()
    if plan.trust.bash and not person:
        terminal.say(
            plan.told()
        )  # a script has no banner; what it was granted is told all the same
    if options.audio is not None:
        check_caller()
    tap = Tap()
    audio = AudioRecorder(options.audio) if options.audio is not None else None

    def begin(leaving: Callable[[], None]) -> Coroutine[Any, Any, None]:
        return until_stopped(
            lambda failed: _run(
                plan,
                turns,
                tap,
                options,
                bus=bus,
                person=person,
                audio=audio,
                leaving=leaving,
                on_failure=failed,
            )
        )

    hold(options, tap, audio, begin)


def _banner(plan: Plan) -> str:
    recipe = plan.loaded.recipe
    return f"{recipe.name}: {recipe.summary}\n{plan.told()} · Ctrl-D hangs up\n"


async def _run(
    plan: Plan,
    turns: AsyncIterator[str],
    tap: Tap,
    options: CallOptions,
    *,
    bus: SharedBus | None,
    person: bool,
    audio: AudioRecorder | None,
    leaving: Callable[[], None],
    on_failure: OnFailure,
) -> None:
    # At a prompt, what the caller says stands there already; in a script, an error ends it, but
    # not that a worker elsewhere is missing. Of what is spoken for them, what has been heard.
    left_out: set[Event] = {"user"} if person and audio is None else set()
    if not person and bus is None and not plan.linked:
        left_out = {"error"}
    shown = TOLD if options.output is Output.JSON else TOLD - left_out
    with _drawing(person=person):
        tap.subscribe(
            TurnPrinter(
                options.output,
                events=shown,
                latency=sys.stdout is not None and sys.stdout.isatty(),
                on_failure=on_failure,
            )
        )
        await run_console(
            plan,
            turns,
            tap=tap,
            idle_timeout=options.idle_timeout,
            wait_for_answers=not person,
            attachable=options.say is None,
            audio=audio,
            bus=bus,
            links=options.links,
            leaving=leaving,
        )


def _drawing(*, person: bool) -> AbstractContextManager[None]:
    """Keep what is printed above a prompt, where there is one."""
    if not person:
        return nullcontext()
    from prompt_toolkit.patch_stdout import patch_stdout

    return patch_stdout(raw=True)


async def _each(turns: tuple[str, ...]) -> AsyncIterator[str]:
    for turn in turns:
        yield turn


async def _prompted(recipe: str) -> AsyncIterator[str]:
    """Ask a person for turns, with history and editing, until Ctrl-D."""
    from prompt_toolkit import PromptSession

    session: PromptSession[str] = PromptSession(history=_history(recipe))
    while True:
        try:
            text = await session.prompt_async("> ", handle_sigint=False)
        except EOFError:
            return
        except KeyboardInterrupt:  # the key, which the prompt takes before it is a signal
            signal.raise_signal(signal.SIGINT)
            await asyncio.Event().wait()
            return
        if text.strip():
            yield text


def _history(recipe: str) -> "History":
    """Return what was typed in earlier calls; of this one only, where it can't be kept."""
    from platformdirs import user_state_path
    from prompt_toolkit.history import FileHistory, InMemoryHistory

    path = user_state_path("pmw", appauthor=False) / f"{recipe}.history"
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        open(path, "ab", opener=owner_only).close()
        path.chmod(0o600)  # one of an older version
    except OSError:
        return InMemoryHistory()
    return FileHistory(str(path))


async def _lines_of_stdin() -> AsyncIterator[str]:
    """Give each line of stdin as a turn, as it comes.

    Raises:
        ConfigurationError: A line is too long for a turn.
    """
    if sys.stdin is None:
        return
    lines = _lines_of_pipe() if _can_wait(sys.stdin.fileno()) else _lines_of_file()
    async for line in lines:
        if len(line) > TURN:
            raise _too_long()
        if text := line.decode(errors="replace").strip():
            yield text


def _can_wait(fd: int) -> bool:
    """Tell whether an event loop can wait for what `fd` will bring; for a file it can't."""
    mode = os.fstat(fd).st_mode
    return stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode) or os.isatty(fd)


async def _lines_of_file() -> AsyncIterator[bytes]:
    while line := sys.stdin.buffer.readline(TURN + 1):
        yield line


async def _lines_of_pipe() -> AsyncIterator[bytes]:
    reader = asyncio.StreamReader(limit=TURN)
    transport, _ = await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(reader), sys.stdin
    )
    try:
        while line := await reader.readline():
            yield line
    except ValueError:  # the reader's way to say that its limit is passed
        raise _too_long() from None
    finally:
        transport.close()


def _too_long() -> ConfigurationError:
    return ConfigurationError(f"a turn has more than {TURN} bytes", mend="break it into lines")
