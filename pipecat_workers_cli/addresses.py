"""Addresses as people read them, and who can reach one."""

import ipaddress
import re
import socket

LOOPBACK = "127.0.0.1"


def split_login(url: str) -> tuple[str, str, str]:
    """Split a URL into its scheme, who logs in, and where: host and path, to be shown.

    Who logs in ends at the last `@`, even if a password holds a `/`, `?` or `#` that is not
    escaped, where a parser would see the host's end.
    """
    scheme, _, rest = url.partition("://")
    login, _, where = rest.rpartition("@")
    if "?" in login:  # a password with one in it, or a query with an `@`: nobody knows
        return scheme, "", "***"
    return scheme, login, re.split("[?#]", where)[0]


def hides_login(url: str) -> bool:
    """Tell whether a parser would take part of who logs in for the host or what is behind it."""
    return bool(re.search("[/?#].*@", url.partition("://")[2]))


def shown_url(url: str) -> str:
    """Return a URL without what may be secret in it: user, password and query."""
    scheme, _, where = split_login(url)
    return f"{scheme}://{where}"


def own_host(bind: str) -> str:
    """Write a bind address as `Host` would: IPv6 in brackets, without its zone."""
    host = bind.strip("[]").partition("%")[0].lower().removesuffix(".")
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return host
    return f"[{address.compressed}]" if address.version == 6 else host


def is_loopback(bind: str) -> bool:
    """Say whether only this machine can reach a server bound there.

    A name other than `localhost` counts as reachable: what it means is up to a resolver.
    """
    host = own_host(bind)
    return host == "localhost" or (is_address(host) and to_address(host).is_loopback)


def is_address(host: str) -> bool:
    """Say whether a host, written as in `Host`, is an IP address and no name."""
    try:
        to_address(host)
    except ValueError:
        return False
    return True


def to_address(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    """Read an IP address written as in `Host`.

    Raises:
        ValueError: It is a name.
    """
    return ipaddress.ip_address(host.strip("[]"))


def free_port() -> int:
    """Return a port of this machine's own address that nobody listens on, at least not now."""
    with socket.socket() as probe:
        probe.bind((LOOPBACK, 0))
        return probe.getsockname()[1]
