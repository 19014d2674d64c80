"""Who may come in: the hosts and origins that are this server's own, and the page token.

A browser can be made to call any address by any page. What it can't be made to do is lie
in `Host` and `Origin`, so these two say whether a page of ours is calling. `Host` matters
as much as `Origin`: a name that was rebound to this machine makes a foreign page look
same-origin to the browser, and only its name in `Host` gives it away.
"""

import difflib
import ipaddress
import re
from dataclasses import dataclass, field
from typing import NamedTuple

from pipecat_workers_cli.addresses import is_address, is_loopback, own_host
from pipecat_workers_cli.errors import ConfigurationError
from pipecat_workers_cli.options import ServeOptions
from pipecat_workers_cli.tokens import require_fit

LOOPBACK_HOSTS = ("localhost", "127.0.0.1", "[::1]")
EVERY_ADDRESS = ("", "0", "0.0.0.0", "::", "[::]")  # noqa: S104  # what a bind may be called
DEFAULT_PORTS = {"http": 80, "https": 443}
PHONE_TRANSPORTS = ("twilio", "telnyx", "plivo", "exotel")
LONGEST_HOST = 253 + len(":65535")  # characters; DNS allows 253 to a name

AUTHORITY = re.compile(
    r"(?P<host>\[[0-9a-f:.]{2,45}\]|[a-z0-9_](?:[a-z0-9_.-]*[a-z0-9_])?\.?)"
    r"(?::(?P<port>[0-9]{1,5}))?",
    re.IGNORECASE | re.ASCII,
)


class Authority(NamedTuple):
    """A host with an optional port, as in `Host` and in an origin.

    Attributes:
        host: In lower case and without a trailing dot; IPv6 shortened, in brackets.
        port: None when it wasn't given.
    """

    host: str
    port: int | None

    def __str__(self) -> str:
        return self.host if self.port is None else f"{self.host}:{self.port}"


class Origin(NamedTuple):
    """A web page's origin; its port is always there, 80 or 443 when it wasn't written."""

    scheme: str
    host: str
    port: int

    def __str__(self) -> str:
        shown = None if self.port == DEFAULT_PORTS[self.scheme] else self.port
        return f"{self.scheme}://{Authority(self.host, shown)}"


def parse_authority(text: str) -> Authority | None:
    """Read `host[:port]`; None for anything else, such as user names, paths or blanks."""
    match = AUTHORITY.fullmatch(text) if len(text) <= LONGEST_HOST else None
    if match is None:
        return None
    host, port = match["host"].lower().removesuffix("."), match["port"]
    if host.startswith("["):
        try:
            host = f"[{ipaddress.IPv6Address(host[1:-1]).compressed}]"
        except ValueError:
            return None
    if port is not None and not 0 < int(port) < 65536:
        return None
    return Authority(host, None if port is None else int(port))


def parse_origin(text: str) -> Origin | None:
    """Read `http://host[:port]` or `https://…`; None for anything else, `null` included."""
    scheme, mark, rest = text.partition("://")
    scheme = scheme.lower()
    authority = parse_authority(rest) if mark and scheme in DEFAULT_PORTS else None
    if authority is None:
        return None
    return Origin(scheme, authority.host, authority.port or DEFAULT_PORTS[scheme])


@dataclass(frozen=True, slots=True)
class DoorRules:
    """Whom the door lets in. Made by `door_rules`.

    Attributes:
        hosts: What `Host` may say.
        origins: What `Origin` may say, when it is there.
        every_address: The server is bound to all addresses (`0.0.0.0`, `::`). Then `Host`
            may also be any IP address, because only a name can be rebound; with a page
            token it may be anything, because a stranger's page doesn't know the token. A
            page served under such a host is an own page, any other origin is foreign.
        page_token: Asked of every request but those for our page's own files.
        uploads: Pipecat's runner takes file uploads; their size is its own affair.
    """

    hosts: frozenset[Authority]
    origins: frozenset[Origin]
    every_address: bool = False
    page_token: str | None = field(default=None, repr=False)
    uploads: bool = False

    def admits_host(self, text: str) -> bool:
        """Say whether a `Host` header names this server."""
        authority = parse_authority(text)
        if authority is None:
            return False
        if authority in self.hosts:
            return True
        if not self.every_address:
            return False
        return bool(self.page_token) or is_address(authority.host) or authority.host == "localhost"

    def admits_origin(self, text: str, *, host: str) -> bool:
        """Say whether an `Origin` header is an own page's.

        Args:
            text: The header's value.
            host: The same request's `Host`, already admitted.
        """
        origin = parse_origin(text)
        if origin is None:
            return False
        if origin in self.origins:
            return True
        return self.every_address and parse_origin(f"{origin.scheme}://{host}") == origin


def door_rules(
    serve: ServeOptions, *, proxy_host: str | None = None, uploads: bool = False
) -> DoorRules:
    """Decide whom a server with these options lets in, before it listens.

    Args:
        serve: Where it listens, `--allowed-origins`, `--page-token`, `--insecure`.
        proxy_host: The public host of `-- --proxy HOST`, through which a telephony
            provider reaches this server.
        uploads: Pipecat's runner was told to take file uploads.

    Raises:
        ConfigurationError: The bind is reachable from outside and there is neither a page
            token nor `--insecure`; the token can't be sent or is too short; an allowed
            origin isn't `scheme://host[:port]`; a telephony provider would have to send
            the page token, which none can.
    """
    check_token(serve)
    bind = own_host(serve.host)
    every_address = serve.host in EVERY_ADDRESS
    own = {*LOOPBACK_HOSTS} | (set[str]() if every_address else {bind})
    allowed = [allowed_origin(typed) for typed in serve.allowed_origins]
    if proxy_host:
        allowed.append(proxy_origin(proxy_host))
    hosts = {Authority(host, port) for host in own for port in (None, serve.port)}
    for origin in allowed:
        # A proxy before us passes on its own port, ours, or none.
        hosts |= {Authority(origin.host, port) for port in (None, serve.port, origin.port)}
    origins = {Origin(scheme, host, serve.port) for scheme in DEFAULT_PORTS for host in own}
    return DoorRules(
        hosts=frozenset(hosts),
        origins=frozenset(origins.union(allowed)),
        every_address=every_address,
        page_token=serve.page_token,
        uploads=uploads,
    )


def check_token(serve: ServeOptions) -> None:
    """Refuse a bind beyond loopback that nothing protects, and a token that protects nothing.

    Raises:
        ConfigurationError: As `door_rules` says.
    """
    token = serve.page_token
    if token is None:
        if not serve.insecure and not is_loopback(serve.host):
            raise ConfigurationError(
                f"--host {serve.host or repr('')} lets other machines call without a page token",
                mend="add --page-token TOKEN, or --insecure, or keep to --host localhost",
            )
        return
    require_fit(token, "the page token")
    if serve.transport in PHONE_TRANSPORTS:
        raise ConfigurationError(
            f"-t {serve.transport} can't be used with --page-token: its provider can't send it",
            mend="leave the token out: listen on --host localhost behind the tunnel of -- --proxy",
        )


def allowed_origin(typed: str) -> Origin:
    """Read one value of `--allowed-origins`.

    Raises:
        ConfigurationError: It isn't `http://host[:port]` or `https://host[:port]`.
    """
    origin = parse_origin(typed)
    if origin is None:
        shown = printable(typed)
        raise ConfigurationError(
            f"--allowed-origins takes scheme://host[:port], not '{shown}'", mend=nearest(typed)
        )
    return origin


def nearest(typed: str) -> str:
    """Say what a wrong origin may have been meant to be."""
    if typed == "*":
        return "name each origin, such as https://example.com; there is no wildcard"
    if typed.lower() == "null":
        return "serve that page over http or https; a page without an origin could be anybody's"
    if "," in typed:
        return "give the option once for each origin"
    scheme, mark, rest = typed.strip().partition("://")
    if not mark:
        scheme, rest = "https", typed.strip()
    close = difflib.get_close_matches(scheme.lower(), DEFAULT_PORTS, n=1)
    guess = parse_origin(f"{close[0]}://{re.split(r'[/?#]', rest)[0]}") if close else None
    return f"did you mean '{guess}'?" if guess else "write it as in https://example.com:8443"


def proxy_origin(typed: str) -> Origin:
    """Read the host of `-- --proxy`, with or without a scheme, as its `https` origin.

    Raises:
        ConfigurationError: It isn't a host.
    """
    origin = parse_origin("https://" + typed.rpartition("://")[2].rstrip("/"))
    if origin is None:
        raise ConfigurationError(
            f"--proxy takes a host name, not '{printable(typed)}'",
            mend="write it as in -- --proxy mybot.ngrok.io",
        )
    return origin


def printable(text: str, *, longest: int = 100) -> str:
    """Make a stranger's text fit for a log line: one line, plain characters, cut short."""
    kept = "".join(c if c.isascii() and c.isprintable() else "?" for c in text[:longest])
    return kept if len(text) <= longest else f"{kept}…"
