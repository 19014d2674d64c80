"""Whom this machine trusts, read once for all clients of providers."""

import ssl
from functools import cache
from pathlib import Path

import certifi


@cache
def tls() -> ssl.SSLContext:
    """Return one for all clients: each would read the machine's certificates anew, 40 ms."""
    paths = ssl.get_default_verify_paths()
    if paths.cafile or (paths.capath and any(Path(paths.capath).iterdir())):
        return ssl.create_default_context()
    return ssl.create_default_context(cafile=certifi.where())
