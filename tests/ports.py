"""Ports for the servers that tests start."""

import random
import socket

# Below those that Linux gives to outgoing connections, of which the tests beside make thousands.
LOWEST, HIGHEST = 20_000, 32_000


def free_port(host: str = "localhost") -> int:
    """Return a port that nobody listens on, and that no connection will take by chance."""
    while True:
        port = random.randrange(LOWEST, HIGHEST)
        with socket.socket() as probe:
            try:
                probe.bind((host, port))
            except OSError:
                continue
        return port
