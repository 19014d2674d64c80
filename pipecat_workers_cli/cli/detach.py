"""`--detach`: the same command once more, in the background and out of the terminal's reach.

The child tells by a pipe that it is ready, or is gone before it could: nothing is guessed from
the time that passes.
"""

import json
import os
import select
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import typer

from pipecat_workers_cli.cli.arguments import PROXY_TOKEN
from pipecat_workers_cli.cli.call_arguments import PAGE_TOKEN
from pipecat_workers_cli.cli.terminal import Terminal
from pipecat_workers_cli.errors import ConfigurationError, PmwError
from pipecat_workers_cli.logs import owner_only
from pipecat_workers_cli.options import CallOptions, Output, TrafficMode

READY = "PMW_READY_FD"
"""Names the pipe in the child's environment; there it is also the sign to detach no further."""

SECRETS = {"--page-token": PAGE_TOKEN, "--token": PROXY_TOKEN}
"""Options whose values go by a variable: of a process any user can read the words."""

READY_WITHIN = 60.0  # seconds; a cold start on a slow disk takes ten
NEWS = 65_536  # bytes of what the child says at once, and of its log that are looked at
GIVEN_UP_WITHIN = 6.0  # seconds for a child that is told to end, longer than a session takes


def is_detached() -> bool:
    """Say whether this process is the one in the background."""
    return READY in os.environ


def check_detachable(options: CallOptions) -> None:
    """Refuse what needs a terminal or ends by itself.

    Raises:
        ConfigurationError: There is such an option.
    """
    if options.serve.transport in ("console", "local"):
        raise ConfigurationError(
            "a call at a terminal can't be detached from it",
            mend="leave the transport out, and talk to the session with pmw say",
        )
    if options.traffic is TrafficMode.TABLE:
        raise ConfigurationError(
            "a session in the background has no terminal for a table",
            mend="leave --traffic out, or --traffic lines for its log",
        )


def how_to_end(session: str | None) -> str:
    """Return how a process that serves until it is told to end is told so."""
    stop = f"pmw stop {session} ends" if session else ""
    if is_detached():
        return stop or "SIGTERM ends"
    return f"Ctrl-C or {stop}" if stop else "Ctrl-C ends"


def announce_ready(name: str | None, address: str) -> None:
    """Tell whoever started this process in the background that it serves; else do nothing."""
    number = os.environ.pop(READY, None)
    if number is not None:
        with os.fdopen(int(number), "w") as pipe:
            json.dump({"session": name, "address": address}, pipe)


def in_background(terminal: Terminal, recipe: str, output: Output = Output.TEXT) -> bool:
    """Start the same command in the background and wait until it serves, unless this is that one.

    Args:
        terminal: Knows what was typed.
        recipe: Names the log.
        output: How to say what was started.

    Returns:
        Whether it serves there now, and nothing is left to do here.

    Raises:
        PmwError: It was not ready in time.
        typer.Exit: It did not start; what its log says of it has been printed.
    """
    if is_detached():
        return False
    log = terminal.log_file or terminal.log_beside_table(Path(recipe).stem)
    began = log.stat().st_size if log.exists() else 0
    told, tell = os.pipe()
    try:
        child = _start(terminal, log, tell)
    finally:
        os.close(tell)
    try:
        news = _wait_for_news(told)
    except BaseException:
        _give_up(child)
        raise
    finally:
        os.close(told)
    if not news:
        raise typer.Exit(_say_why_not(child, log, began))
    _print_started({**json.loads(news), "pid": child.pid, "log": str(log)}, output)
    return True


def _start(terminal: Terminal, log: Path, tell: int) -> "subprocess.Popen[bytes]":
    typed, secrets = _without_secrets(terminal.words)
    words = [sys.executable, "-m", "pipecat_workers_cli", "--log-file", str(log), *typed]
    env = {**os.environ, **secrets, READY: str(tell)}
    if terminal.runner_args:
        words += ["--", *terminal.runner_args]
    try:
        log.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with open(log, "ab", opener=owner_only) as output:
            return subprocess.Popen(  # noqa: S603  # what was typed, once more
                words,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,  # no Ctrl-C and no hang-up of this terminal reaches it
                pass_fds=[tell],
                env=env,
            )
    except OSError as error:
        raise PmwError(
            f"cannot start in the background: {error.strerror}", mend="name a log: --log-file FILE"
        ) from None


def _without_secrets(words: Sequence[str]) -> tuple[list[str], dict[str, str]]:
    """Return what was typed but for secrets, and these as variables; several of a kind in one."""
    kept: list[str] = []
    found: dict[str, list[str]] = {}
    rest = iter(words)
    for word in rest:
        option, equals, value = word.partition("=")
        if option in SECRETS:
            found.setdefault(SECRETS[option], []).append(value if equals else next(rest, ""))
        else:
            kept.append(word)
    return kept, {name: " ".join(values) for name, values in found.items()}


def _wait_for_news(told: int) -> bytes:
    """Return what the child tells; nothing, if it ended before.

    Raises:
        PmwError: It did neither in time.
    """
    until = time.monotonic() + READY_WITHIN
    news = b""
    while select.select([told], [], [], max(0.0, until - time.monotonic()))[0]:
        read = os.read(told, NEWS)
        if not read:
            return news
        news += read
    raise PmwError(f"not ready within {READY_WITHIN:.0f} s", mend="start it without --detach")


def _give_up(child: "subprocess.Popen[bytes]") -> None:
    child.terminate()
    try:
        child.wait(GIVEN_UP_WITHIN)
    except subprocess.TimeoutExpired:
        child.kill()


def _say_why_not(child: "subprocess.Popen[bytes]", log: Path, began: int) -> int:
    """Print the child's own error, and return the exit code that it had."""
    code = child.wait(GIVEN_UP_WITHIN)
    with log.open("rb") as file:
        file.seek(began)
        lines = file.read(NEWS).decode(errors="replace").splitlines()
    told = [line for line in lines if line.startswith(("error: ", "  try: "))]
    if not told:
        told = [f"error: it ended with exit code {code}", f"  try: see its log: {log}"]
    print("\n".join(told), file=sys.stderr)
    return code if code > 0 else 1


def _print_started(started: dict[str, object], output: Output) -> None:
    if output is Output.JSON:
        print(json.dumps(started))
        return
    name = started["session"] or f"process {started['pid']}"
    print(f"{name} at {started['address']}\nlog: {started['log']}")
