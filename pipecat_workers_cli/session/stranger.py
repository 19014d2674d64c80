"""Any Pipecat program under the tap: it runs as a child, and tells what crosses its buses."""

import asyncio
import contextlib
import os
import signal
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec

from pipecat_workers_cli.errors import ConfigurationError
from pipecat_workers_cli.logs import redactor
from pipecat_workers_cli.traffic import setup_file
from pipecat_workers_cli.traffic.classify import struck
from pipecat_workers_cli.traffic.entry import Entry
from pipecat_workers_cli.traffic.kinds import kind_by_name

SETUP_FILE = Path(setup_file.__file__).resolve()
LONGEST = 1 << 20  # bytes of one line; the child's texts are cut long before
END_WITHIN = 5.0  # seconds that a child has for its own way out
LAST_WORDS = 2.0  # seconds for what a child that has ended sent before


class _Line(Entry, frozen=True, kw_only=True):
    """An entry as the child tells it: of a message, the names of its class and its ancestors."""

    types: tuple[str, ...] = ()


async def run_tapped(command: Sequence[str], tell: Callable[[Entry], None]) -> int:
    """Run a program with our setup file until it ends; what it prints goes to stderr.

    SIGINT and SIGTERM are the program's own affair: it is told, and we wait. Cancelling
    ends it.

    Args:
        command: The program and its arguments.
        tell: Told each entry as it comes.

    Returns:
        Its exit code; 128 and the signal's number if one ended it.

    Raises:
        ConfigurationError: There is no such program.
    """
    strike = redactor()
    with tempfile.TemporaryDirectory(prefix="pmw-") as folder:  # for this user's eyes only
        path = Path(folder) / "tap"
        heard: set[asyncio.Task[None]] = set()

        async def hear(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            task = asyncio.current_task()
            assert task is not None
            heard.add(task)
            try:
                await _hear(reader, lambda entry: tell(struck(entry, strike)))
            finally:
                heard.discard(task)
                writer.close()

        server = await asyncio.start_unix_server(hear, path, limit=LONGEST)
        async with server:
            code = await _run(command, path)
            if heard:
                await asyncio.wait(heard, timeout=LAST_WORDS)
    return code


async def _run(command: Sequence[str], path: Path) -> int:
    files = [name for name in (os.environ.get("PIPECAT_SETUP_FILES"), str(SETUP_FILE)) if name]
    environment = {**os.environ, "PMW_TAP": str(path)}
    environment["PIPECAT_SETUP_FILES"] = os.pathsep.join(files)
    try:
        # Our stdout is for what was asked for: what the program's workers say.
        child = await asyncio.create_subprocess_exec(*command, env=environment, stdout=sys.stderr)
    except OSError as error:
        reason = (error.strerror or "it can't be run").lower()
        what = f"cannot start {command[0]}: {reason}"
        raise ConfigurationError(what, mend="name a program after --") from None
    loop = asyncio.get_running_loop()

    def pass_on(number: int) -> None:
        # Ctrl-C reaches the child from the terminal; what was sent to us alone doesn't.
        with contextlib.suppress(ProcessLookupError):
            if number == signal.SIGTERM:
                child.send_signal(number)

    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, pass_on, number)
    try:
        code = await child.wait()
    finally:
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.remove_signal_handler(number)
        if child.returncode is None:
            await _end(child)
    return code if code >= 0 else 128 - code


async def _end(child: asyncio.subprocess.Process) -> None:
    with contextlib.suppress(ProcessLookupError):
        child.terminate()
        try:
            await asyncio.wait_for(child.wait(), END_WITHIN)
        except TimeoutError:
            child.kill()


async def _hear(reader: asyncio.StreamReader, tell: Callable[[Entry], None]) -> None:
    decode = msgspec.json.Decoder(_Line).decode
    with contextlib.suppress(ValueError, ConnectionError):  # a line without end, a child that died
        while line := await reader.readline():
            with contextlib.suppress(msgspec.DecodeError):
                tell(_entry(decode(line)))


def _entry(line: _Line) -> Entry:
    fields = msgspec.structs.asdict(line)
    types = fields.pop("types")
    if line.event == "message" and types:
        fields["type"] = types[0]
        fields["kind"] = kind_by_name(types)
        fields["size"] = line.size or len(msgspec.json.encode(line.payload))
    return Entry(**fields)
