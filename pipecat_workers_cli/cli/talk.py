"""A call at the console: from `--say`, from a pipe, or with a person at a prompt."""

import asyncio
import os
import signal
import stat
import sys
import threading
from collections.abc import AsyncIterator, Callable, Generator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from types import FrameType
from typing import TYPE_CHECKING

from pipecat_workers_cli.buses.urls import SharedBus
from pipecat_workers_cli.call.audio import AudioRecorder
from pipecat_workers_cli.call.latency import turn_limit
from pipecat_workers_cli.call.plan import Plan
from pipecat_workers_cli.cli.terminal import Terminal
from pipecat_workers_cli.cli.turns import TurnPrinter
from pipecat_workers_cli.errors import ConfigurationError, PmwError
from pipecat_workers_cli.options import CallOptions, Output
from pipecat_workers_cli.session.console import check_caller, run_console
from pipecat_workers_cli.session.recording import recorded
from pipecat_workers_cli.traffic.entry import TOLD, Event
from pipecat_workers_cli.traffic.tap import Tap

if TYPE_CHECKING:
    from prompt_toolkit.history import History

TURN = 16_384  # bytes; the longest line that counts as one turn
PATIENCE = 12.0  # seconds to end the workers, longer than all that a well-behaved one is given


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
    with turn_limit(tap, options.max_turn_ms), recorded(tap, options.record) as recorder:
        # A thread, since what must be left behind may hold the loop.
        patience = threading.Timer(PATIENCE, _abandon)
        patience.daemon = True
        talking = _until_stopped(
            plan, turns, tap, options, bus=bus, person=person, audio=audio, leaving=patience.start
        )
        try:
            asyncio.run(talking)
        finally:
            patience.cancel()
    for path, kept in ((options.record, recorder), (options.audio, audio)):
        if kept is not None and kept.failure is not None:
            raise PmwError(f"{path}: {kept.failure}", mend="make room, or record elsewhere")


def _abandon() -> None:
    """Leave the process, whatever a worker of the user's still does."""
    print(
        f"error: a worker did not end within {PATIENCE:.0f} seconds of the call\n"
        "  try: let CancelledError through in the code of your workers",
        file=sys.stderr,
        flush=True,
    )
    os._exit(1)


def _banner(plan: Plan) -> str:
    recipe = plan.loaded.recipe
    return f"{recipe.name}: {recipe.summary}\n{plan.told()} · Ctrl-D hangs up\n"


async def _until_stopped(
    plan: Plan,
    turns: AsyncIterator[str],
    tap: Tap,
    options: CallOptions,
    *,
    bus: SharedBus | None,
    person: bool,
    audio: AudioRecorder | None,
    leaving: Callable[[], None],
) -> None:
    """Run the call; a signal ends it as a hang-up does, and so does a stdout that fails."""
    task = asyncio.current_task()
    signals: list[int] = []
    failures: list[OSError] = []

    def stop() -> None:
        if task is not None:
            task.cancel()

    def stdout_failed(error: OSError) -> None:
        failures.append(error)
        stop()

    # At a prompt, what the caller says stands there already; in a script, an error ends it.
    # Of what is spoken for them, what has been heard.
    left_out: set[Event] = {"error"} if not person else {"user"} if audio is None else set()
    shown = TOLD if options.output is Output.JSON else TOLD - left_out
    try:
        with _taking_signals(signals, stop), _drawing(person=person):
            tap.subscribe(
                TurnPrinter(
                    options.output,
                    events=shown,
                    latency=sys.stdout is not None and sys.stdout.isatty(),
                    on_failure=stdout_failed,
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
    except asyncio.CancelledError:
        if not signals and not failures:
            raise
    for error in failures:
        raise _unwritten(error)
    if signal.SIGINT in signals:
        raise KeyboardInterrupt


@contextmanager
def _taking_signals(taken: list[int], stop: Callable[[], None]) -> Generator[None]:
    """Have the first signal noted and `stop` called; the second leaves the process at once."""
    loop = asyncio.get_running_loop()

    def take(number: int, _frame: FrameType | None) -> None:
        if taken:
            os._exit(130 if number == signal.SIGINT else 1)
        taken.append(number)
        loop.call_soon_threadsafe(stop)

    # Not the event loop's own way, which a worker that holds up the loop would hold up, too.
    before = {number: signal.signal(number, take) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _drawing(*, person: bool) -> AbstractContextManager[None]:
    """Keep what is printed above a prompt, where there is one."""
    if not person:
        return nullcontext()
    from prompt_toolkit.patch_stdout import patch_stdout

    return patch_stdout(raw=True)


def _unwritten(error: OSError) -> Exception:
    if isinstance(error, BrokenPipeError):
        return error  # no trouble: the reader has seen enough
    return PmwError(
        f"cannot write to stdout: {error.strerror}", mend="make room, or write elsewhere"
    )


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
        path.parent.mkdir(parents=True, exist_ok=True)
        path.open("ab").close()
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
