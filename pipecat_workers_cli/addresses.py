"""Addresses as people read them, and who can reach one."""

import ipaddress
from urllib.parse import urlsplit


def shown_url(url: str) -> str:
    """Return a URL without what may be secret in it: user, password and query."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"


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
