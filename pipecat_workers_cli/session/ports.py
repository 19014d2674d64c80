"""What this machine offers callers: a port, a network, a browser, a microphone."""

import errno
import os
import shutil
import socket
import sys
from contextlib import ExitStack
from typing import TYPE_CHECKING

from pipecat_workers_cli.addresses import is_loopback
from pipecat_workers_cli.checks import Check, State
from pipecat_workers_cli.errors import PmwError
from pipecat_workers_cli.settings import variable

if TYPE_CHECKING:
    import ifaddr

BROWSERS = (
    *("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "brave-browser"),
    *("firefox", "firefox-esr", "microsoft-edge", "epiphany", "falkon"),
)


def check_port(host: str, port: int) -> Check:
    """Look at whether a server could listen there, by listening for a moment."""
    name = f"port {port}"
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        with ExitStack() as probes:
            for family, kind, protocol, _, address in found:
                probe = probes.enter_context(socket.socket(family, kind, protocol))
                if os.name == "posix":  # as servers do; elsewhere it would allow a second one
                    probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                if family == socket.AF_INET6:
                    probe.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
                probe.bind(address)
                probe.listen(1)
    except socket.gaierror:
        return Check(name, State.WRONG, f"{host} is no address", "use --host localhost")
    except OSError as error:
        return Check(name, State.WRONG, *why_not_listening(error, host, port))
    if not is_loopback(host):
        return Check(
            name,
            State.WARNING,
            f"free on {host}, which other machines may reach",
            "the command will want --page-token TOKEN or --insecure",
        )
    return Check(name, State.OK, f"free on {host}")


def require_port(host: str, port: int) -> None:
    """Refuse to start on a port that is taken, in our words instead of a traceback.

    Raises:
        PmwError: Something listens there, or the address isn't this machine's.
    """
    finding = check_port(host, port)
    if finding.state is State.WRONG:
        raise PmwError(f"cannot listen on port {port}: {finding.found}", mend=finding.mend)


def why_not_listening(error: OSError, host: str, port: int) -> tuple[str, str]:
    """Say what an error of bind means, and how to mend it."""
    if error.errno == errno.EADDRINUSE:
        other = port + 1 if port < 65535 else port - 1
        return f"taken on {host}", f"stop what runs there, or use --port {other}"
    if error.errno == errno.EACCES:
        return f"not allowed on {host}", "use --port 1024 or above"
    if error.errno == errno.EADDRNOTAVAIL:
        return f"{host} is no address of this machine", "use --host localhost"
    return f"cannot listen on {host}: {error.strerror}", "try another --host or --port"


def check_network() -> Check:
    """Look for an interface that WebRTC can use; it leaves loopback out."""
    import ifaddr  # noqa: PLC0415  # 20 ms, and only here

    usable = [
        adapter.nice_name
        for adapter in ifaddr.get_adapters()
        if not all(is_loopback(plain_address(ip)) for ip in adapter.ips)
    ]
    if usable:
        return Check("network", State.OK, f"up: {', '.join(usable)}")
    return Check(
        "network",
        State.WARNING,
        "only loopback is up, so no browser call will connect",
        "bring any other interface up; -t console needs none",
    )


def plain_address(ip: "ifaddr.IP") -> str:
    """Return an interface's address without flow and scope."""
    return ip.ip if isinstance(ip.ip, str) else ip.ip[0]


def check_browser(port: int) -> Check:
    """Look for a browser that could open the page on a port here."""
    if sys.platform != "linux":
        return Check("browser", State.OK, "the system's own")
    found = next((name for name in BROWSERS if shutil.which(name)), None)
    away = f"open the page on another machine, over: ssh -L {port}:localhost:{port} THIS-MACHINE"
    if found is None:
        mend = f"{away}; -t console needs none"
        return Check("browser", State.WARNING, "none was found on this machine", mend)
    if variable("DISPLAY") is None and variable("WAYLAND_DISPLAY") is None:
        return Check("browser", State.WARNING, f"{found}, but no display to show it on", away)
    return Check("browser", State.OK, found)


def check_microphone(host: str) -> Check:
    """Say whether browsers will give the page at `http://HOST` a microphone."""
    if is_loopback(host):
        return Check("microphone", State.OK, "browsers give it to a page on localhost")
    found = "browsers give none to http:// pages of other machines"
    mend = "put https before it, and --allowed-origins https://NAME; or: ssh -L PORT:localhost:PORT"
    return Check("microphone", State.WARNING, found, mend)
