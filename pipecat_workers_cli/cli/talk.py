"""A call at the console: from `--say`, from a pipe, or with a person at a prompt."""

import asyncio
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import nullcontext

from pipecat_workers_cli.call.plan import Plan
from pipecat_workers_cli.cli.terminal import Terminal
from pipecat_workers_cli.cli.turns import EVENTS, TurnPrinter
from pipecat_workers_cli.options import CallOptions, Output
from pipecat_workers_cli.session.console import run_console
from pipecat_workers_cli.traffic.entry import Event
from pipecat_workers_cli.traffic.tap import Tap

TURN = 16_384  # bytes; the longest line that counts as one turn


def talk(terminal: Terminal, plan: Plan, options: CallOptions) -> None:
    """Hold one call at the console; blocks until it is over.

    Raises:
        PmwError: A turn got no answer.
        KeyboardInterrupt: SIGINT ended the call.
    """
    person = options.say is None and sys.stdin.isatty() and options.output is Output.TEXT
    if options.say is not None:
        turns = _each(options.say)
    elif person:
        turns = _prompted(plan.loaded.recipe.name)
        terminal.say(_banner(plan))
    else:
        turns = _lines_of_stdin()
    tap = Tap()
    asyncio.run(_until_stopped(plan, turns, tap, options, person=person))


def _banner(plan: Plan) -> str:
    recipe = plan.loaded.recipe
    llm = ", ".join(f"{c.provider} ({c.why})" for c in plan.choices())
    return f"{recipe.name}: {recipe.summary}\nllm: {llm} · Ctrl-D hangs up\n"


async def _until_stopped(
    plan: Plan, turns: AsyncIterator[str], tap: Tap, options: CallOptions, *, person: bool
) -> None:
    """Run the call; SIGTERM ends it as a hang-up does."""
    task = asyncio.current_task()
    terminated = False

    def terminate() -> None:
        nonlocal terminated
        terminated = True
        if task is not None:
            task.cancel()

    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, terminate)
    if person:
        from prompt_toolkit.patch_stdout import patch_stdout

        drawing = patch_stdout(raw=True)
    else:
        drawing = nullcontext()
    # At a prompt, what the caller says stands there already; in a script, an error ends it.
    left_out: set[Event] = {"user"} if person else {"error"}
    shown = EVENTS if options.output is Output.JSON else EVENTS - left_out
    try:
        with drawing:
            tap.subscribe(TurnPrinter(options.output, events=shown))
            await run_console(
                plan,
                turns,
                tap=tap,
                idle_timeout=options.idle_timeout,
                wait_for_answers=not person,
            )
    except asyncio.CancelledError:
        if not terminated:
            raise


async def _each(turns: tuple[str, ...]) -> AsyncIterator[str]:
    for turn in turns:
        yield turn


async def _prompted(recipe: str) -> AsyncIterator[str]:
    """Ask a person for turns, with history and editing, until Ctrl-D."""
    from platformdirs import user_state_path
    from prompt_toolkit import PromptSession
    from prompt_toolkit.history import FileHistory

    history = user_state_path("pmw", appauthor=False) / f"{recipe}.history"
    history.parent.mkdir(parents=True, exist_ok=True)
    session: PromptSession[str] = PromptSession(history=FileHistory(str(history)))
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


async def _lines_of_stdin() -> AsyncIterator[str]:
    """Give each line of a pipe as a turn, as it comes."""
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader(limit=TURN)
    try:
        transport, _ = await loop.connect_read_pipe(
            lambda: asyncio.StreamReaderProtocol(reader), sys.stdin
        )
    except ValueError:  # a plain file: nothing to wait for
        for line in sys.stdin:
            if line.strip():
                yield line.strip()
        return
    try:
        while line := await reader.readline():
            if text := line.decode(errors="replace").strip():
                yield text
    finally:
        transport.close()
