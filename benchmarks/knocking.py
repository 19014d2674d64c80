"""Knocks at a proxy without a token, for `proxy.py`; prints how often a second it was told 401.

    python benchmarks/knocking.py PORT SECONDS

A process of its own that does as little as can be, so that it measures nothing but the proxy.
"""

import math
import select
import socket
import sys
import time
from collections import deque

KNOCKS = 1_000  # a second


def knock(port: int, seconds: float) -> None:
    """Ask to open links, `KNOCKS` times a second; print how many a second were told 401."""
    request = (
        b"GET /ws HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n"
        b"Sec-WebSocket-Protocol: pmw.1\r\n\r\n"
    )
    waiting: deque[socket.socket] = deque()
    turned = 0

    def take() -> None:
        nonlocal turned
        with waiting.popleft() as knocking:
            select.select([knocking], [], [], 10)
            turned += knocking.recv(100).startswith(b"HTTP/1.1 401")

    began = time.perf_counter()
    for number in range(math.ceil(KNOCKS * seconds)):
        early = began + number / KNOCKS - time.perf_counter()
        if early > 0:
            time.sleep(early)
        knocking = socket.create_connection(("127.0.0.1", port), timeout=10)
        knocking.sendall(request)
        waiting.append(knocking)
        if len(waiting) > 50:
            take()
    while waiting:
        take()
    print(turned / (time.perf_counter() - began))


if __name__ == "__main__":
    knock(int(sys.argv[1]), float(sys.argv[2]))
