"""Where a proxy listens, and what is answered there before anything is made for who knocks."""

import asyncio
import errno
import socket
import ssl
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipecat_workers_cli.errors import ConfigurationError, PmwError

HEAD_BYTES = 8_192  # of a request that is looked at
HEAD_WITHIN = 5  # seconds that the system keeps a connection over which nothing is said
AT_ONCE = 4  # strangers answered before others have their turn; some third of a millisecond
BACKLOG = 512  # connections that wait to be taken
NOT_HERE = (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT)
"""What this machine says of an address of the kind, IPv6 say, that it doesn't have."""

Answer = Callable[[bytes, str], bytes | None]
"""Given the first bytes of a request and from where, gives what to answer it; None lets it in."""


@dataclass(frozen=True, slots=True)
class Doorstep:
    """Where a gateway listens.

    Attributes:
        host: The address to bind.
        port: The port to bind.
        tls: The certificate's file and its key's; None speaks plainly.
    """

    host: str = "localhost"
    port: int = 8765
    tls: tuple[Path, Path | None] | None = None

    @property
    def url(self) -> str:
        """Where a link is opened, for whoever is told."""
        host = f"[{self.host}]" if ":" in self.host and "[" not in self.host else self.host
        return f"{'wss' if self.tls else 'ws'}://{host}:{self.port}/ws"

    def context(self) -> ssl.SSLContext | None:
        """Return what TLS is spoken by.

        Raises:
            ConfigurationError: A file can't be read, or doesn't hold what it should.
        """
        if self.tls is None:
            return None
        cert, key = self.tls
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        try:
            context.load_cert_chain(cert, key)
        except (OSError, ValueError) as error:
            why = "they are no certificate and its key, in PEM"
            if not isinstance(error, ssl.SSLError) and isinstance(error, OSError):
                why = error.strerror or why
            what = f"cannot use {cert}{f' and {key}' if key else ''}: {why}"
            raise ConfigurationError(what, mend="--tls-cert CHAIN.pem --tls-key KEY.pem") from None
        return context

    async def open(self, answer: Answer) -> list[socket.socket]:
        """Return a listening socket for each address of the host.

        Args:
            answer: Asked for each connection, unless TLS hides what it says.

        Raises:
            PmwError: The port is taken, or there is no such address.
        """
        opened: list[socket.socket] = []
        try:
            loop = asyncio.get_running_loop()
            kind = {"type": socket.SOCK_STREAM, "flags": socket.AI_PASSIVE}
            found = await loop.getaddrinfo(self.host.strip("[]"), self.port, **kind)
            for family, _, _, _, address in dict.fromkeys(found):
                try:
                    opened.append(_Threshold(family, address, None if self.tls else answer))
                except OSError as error:
                    if error.errno not in NOT_HERE or len(found) == 1:
                        raise
        except OSError as error:
            for one in opened:
                one.close()
            why = error.strerror or "no such address"
            what = f"cannot listen at {self.host}:{self.port}: {why}"
            raise PmwError(what, mend="choose another --port, or another --host") from None
        return opened


class _Threshold(socket.socket):
    """A listening socket that answers by itself whom it needn't let in.

    The event loop asks it for a connection, and never sees those that it has answered: each
    would cost a transport, a task and a parser, five times as much (`benchmarks/proxy.py flood`).
    """

    def __init__(self, family: int, address: Any, answer: Answer | None) -> None:
        # By its protocol asyncio knows that it may switch off the waiting for fuller packets.
        super().__init__(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
        self._answer = answer
        try:
            self.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family == socket.AF_INET6:
                self.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            if hasattr(socket, "TCP_DEFER_ACCEPT"):  # connections come with what they say
                self.setsockopt(socket.IPPROTO_TCP, socket.TCP_DEFER_ACCEPT, HEAD_WITHIN)
            self.bind(address)
            self.setblocking(False)
        except OSError:
            self.close()
            raise

    def accept(self) -> tuple[socket.socket, Any]:
        """Return the next connection that is let in.

        Raises:
            BlockingIOError: There is none now, or others have their turn first.
        """
        for _ in range(AT_ONCE):
            connection, address = super().accept()
            if self._answer is None or not _is_answered(connection, address[0], self._answer):
                return connection, address
        raise BlockingIOError


def _is_answered(connection: socket.socket, address: str, answer: Answer) -> bool:
    """Answer a connection by its first bytes and close it, if there is an answer to them."""
    try:
        first = connection.recv(HEAD_BYTES, socket.MSG_PEEK | socket.MSG_DONTWAIT)
        said = answer(first, address)
        if said is None:
            return False
        connection.recv(len(first))  # unread, it would have the system take the answer back
        connection.send(said, socket.MSG_DONTWAIT)
    except BlockingIOError:
        return False  # it says something later, and is asked then
    except OSError:
        pass  # it is gone already
    connection.close()
    return True
