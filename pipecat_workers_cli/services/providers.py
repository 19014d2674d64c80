"""The table of providers: who can hear, think and speak, and what each needs.

Choosing looks at the table and at the environment alone; only building imports
Pipecat and the picked row's module. Installed packages add rows of their own, each read
when somebody asks for it by name.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from importlib import import_module
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, cast

from pipecat_workers_cli.entry_points import (
    SERVICES,
    added_names,
    load_added,
    mend_package,
    package_of,
)
from pipecat_workers_cli.errors import ConfigurationError, PmwError, near_miss
from pipecat_workers_cli.logs import told
from pipecat_workers_cli.options import Profile, ServiceOptions
from pipecat_workers_cli.recipe.model import Rule, Service
from pipecat_workers_cli.services.provider_settings import (
    ANTHROPIC_SETTINGS,
    CARTESIA_SETTINGS,
    DEEPGRAM_SETTINGS,
    OPENAI_SETTINGS,
    Kind,
)
from pipecat_workers_cli.services.questions import (
    ASK_ANTHROPIC,
    ASK_CARTESIA,
    ASK_DEEPGRAM,
    ASK_OLLAMA,
    ASK_OPENAI,
    Question,
)
from pipecat_workers_cli.settings import variable

if TYPE_CHECKING:
    from pipecat.services.llm_service import LLMService
    from pipecat.services.stt_service import STTService
    from pipecat.services.tts_service import TTSService


class Role(StrEnum):
    """What a service does in a call."""

    STT = "stt"
    LLM = "llm"
    TTS = "tts"


@dataclass(frozen=True, slots=True)
class Choice:
    """Which provider serves a role, and why.

    Attributes:
        role: What it does.
        provider: The row of the table, such as `openai`.
        model: The model, or for TTS the voice; None takes the provider's default.
        settings: The provider's own further keys, from a recipe.
        why: A few words for the banner: `--llm`, `--services offline`, `recipe`,
            `OPENAI_API_KEY is set`, `no OPENAI_API_KEY`.
    """

    role: Role
    provider: str
    model: str | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)
    why: str = ""


@dataclass(frozen=True, slots=True)
class Persona:
    """Who an LLM speaks as.

    Attributes:
        name: The worker's name.
        summary: What the worker is for, in a line.
        prompt: The system instruction.
        script: The rules of the scripted LLM; others ignore them.
    """

    name: str
    summary: str = ""
    prompt: str = ""
    script: tuple[Rule, ...] = ()


HERE = "pipecat_workers_cli.services"
ANTHROPIC, CARTESIA, DEEPGRAM = f"{HERE}.anthropic", f"{HERE}.cartesia", f"{HERE}.deepgram"
OPENAI, OFFLINE, SCRIPTED = f"{HERE}.openai", f"{HERE}.offline", f"{HERE}.scripted"


TOOL_TIMEOUT = 30.0  # seconds for a tool that says nothing else; as long as a job may take

# Calls at once with which the event loop's lag stays under 50 ms (p99) on two cores, all callers
# talking without a pause: with 4 offline 9 to 32 ms, with 6 it was 57; with 12 by wire 37, with 16
# 57 (benchmarks/offline_calls.py). In words 50 were tried, and no more (benchmarks/calls.py).
ON_TWO_CORES, BY_WIRE, IN_WORDS = 4, 12, 50


@dataclass(frozen=True, slots=True)
class Provider:
    """One row: who serves a role, what it needs, how it is built.

    A package adds a provider by an entry point of the group `pmw.services` that has the
    provider's name and loads such a row, or a tuple of rows where it has several roles. The
    module with the row is imported for each look at the provider: keep it light, and let the
    factory's module import Pipecat.

    Attributes:
        role: What it does.
        name: As after `--llm`, `--stt` or `--tts`.
        module: Where the factory is; imported only when it is built.
        factory: Its name there. Called with keywords: `model` (TTS: `voice`) if there is one to
            name, `key` if `key` names a variable, `base_url` and `settings` if the row has `url`
            or `settings`, and for an LLM `persona`. Returns Pipecat's service, not yet started;
            an LLM's with `function_call_timeout_secs=TOOL_TIMEOUT`, so that every tool ends.
        default: The model or voice when none is named; empty where there is no choice.
        models: All models there are; None for "whatever the provider has".
        packages: Modules that have to be installed.
        extra: The extra of ours that brings them; empty for the base installation.
        key: The variable with its key; empty if it needs none.
        url: The variable that names another server; empty if there can be none.
        question: What it is asked to learn whether it takes the key; None asks nothing.
        settings: The further keys a recipe may give, and what each may be.
        calls: How many calls at once one process bears with it.
        local: It runs on this machine, so nothing leaves it.
    """

    role: Role
    name: str
    module: str
    factory: str
    calls: int = BY_WIRE
    default: str = ""
    models: tuple[str, ...] | None = None
    packages: tuple[str, ...] = ()
    extra: str = ""
    key: str = ""
    url: str = ""
    question: Question | None = None
    settings: Mapping[str, Kind] = field(default_factory=dict)
    local: bool = False


STT, LLM, TTS = Role.STT, Role.LLM, Role.TTS

# fmt: off
ROWS = (
    Provider(STT, "deepgram", DEEPGRAM, "build_deepgram", calls=BY_WIRE, default="nova-3-general",
             packages=("deepgram",), key="DEEPGRAM_API_KEY", url="DEEPGRAM_BASE_URL",
             question=ASK_DEEPGRAM, settings=DEEPGRAM_SETTINGS),
    Provider(STT, "moonshine", OFFLINE, "build_moonshine", calls=ON_TWO_CORES, default="tiny",
             models=("tiny",), packages=("moonshine_voice",), extra="offline", local=True),
    Provider(LLM, "openai", OPENAI, "build_openai", calls=IN_WORDS, default="gpt-4.1-mini",
             packages=("openai",), key="OPENAI_API_KEY", url="OPENAI_BASE_URL",
             question=ASK_OPENAI, settings=OPENAI_SETTINGS),
    Provider(LLM, "anthropic", ANTHROPIC, "build_anthropic", calls=IN_WORDS,
             default="claude-haiku-4-5", packages=("anthropic",), key="ANTHROPIC_API_KEY",
             url="ANTHROPIC_BASE_URL", question=ASK_ANTHROPIC, settings=ANTHROPIC_SETTINGS),
    Provider(LLM, "ollama", OPENAI, "build_ollama", calls=ON_TWO_CORES, default="qwen3",
             packages=("openai",), url="OLLAMA_BASE_URL", question=ASK_OLLAMA,
             settings=OPENAI_SETTINGS, local=True),
    Provider(LLM, "scripted", SCRIPTED, "ScriptedLLMService", calls=IN_WORDS, models=(),
             local=True),
    Provider(TTS, "cartesia", CARTESIA, "build_cartesia", calls=BY_WIRE,
             default="71a7ad14-091c-4e8e-a314-022ece01c121",
             packages=("websockets",), key="CARTESIA_API_KEY", url="CARTESIA_BASE_URL",
             question=ASK_CARTESIA, settings=CARTESIA_SETTINGS),
    Provider(TTS, "piper", OFFLINE, "build_piper", calls=ON_TWO_CORES, default="joe",
             packages=("piper", "soxr"), extra="offline", local=True),
)
# fmt: on
PROVIDERS: Mapping[tuple[Role, str], Provider] = MappingProxyType(
    {(row.role, row.name): row for row in ROWS}
)
PROFILES: Mapping[Profile, Mapping[Role, str]] = MappingProxyType(
    {
        Profile.CLOUD: {STT: "deepgram", LLM: "openai", TTS: "cartesia"},
        Profile.OFFLINE: {STT: "moonshine", LLM: "scripted", TTS: "piper"},
    }
)


def choose(
    role: Role,
    *,
    options: ServiceOptions,
    worker: Service | None = None,
    main: Service | None = None,
) -> Choice:
    """Choose who serves a role; the first that speaks wins.

    That is `--llm`, `--stt` or `--tts`, then `--services`, then the recipe's worker, then
    its `[main]`; else each role is the cloud's where its key is there.

    Args:
        role: What is wanted.
        options: What was typed.
        worker: What the worker's table says.
        main: What `[main]` says.

    Raises:
        ConfigurationError: There is no such provider, model or setting.
    """
    typed: str | None = getattr(options, role.value)
    if typed is not None:
        return _named(role, typed, {}, why=f"--{role}")
    if options.profile is not None:
        return _by_profile(role, options.profile)
    for service in (worker, main):
        if service is not None:
            return _named(role, service.use, service.settings, why="recipe")
    return _by_profile(role, Profile.AUTO)


def provider(choice: Choice) -> Provider:
    """Return the row that a choice names.

    Raises:
        ConfigurationError: There is none.
    """
    return _row(choice.role, choice.provider)


def is_ours(role: Role, use: str) -> bool:
    """Say whether `NAME` or `NAME:MODEL` is no provider that an installed package adds."""
    name = use.partition(":")[0].strip()
    return (role, name) in PROVIDERS or name not in added_names(SERVICES)


def build_stt(choice: Choice) -> "STTService":
    """Build the service that hears, not yet connected or started."""
    row, options = _prepared(choice)
    return cast("STTService", _built(row, options))


def build_llm(choice: Choice, persona: Persona) -> "LLMService":
    """Build the service that thinks as `persona`; its prompt is the system instruction."""
    row, options = _prepared(choice)
    return cast("LLMService", _built(row, {**options, "persona": persona}))


def build_tts(choice: Choice, voice: str | None) -> "TTSService":
    """Build the service that speaks.

    Args:
        choice: The provider.
        voice: The speaker's voice; None takes the choice's, else the provider's default.

    Raises:
        PmwError: The voice isn't installed.
    """
    row, options = _prepared(choice)
    spoken = voice or choice.model or row.default
    return cast("TTSService", _built(row, {**options, "voice": spoken}))


def calls_at_once(choices: Iterable[Choice]) -> int:
    """Return how many calls at once one process bears: what the slowest of `choices` does.

    A process without any, such as a host of workers that don't think, is bound by words alone.
    """
    return min((provider(choice).calls for choice in choices), default=IN_WORDS)


def _named(role: Role, use: str, settings: Mapping[str, Any], *, why: str) -> Choice:
    name, colon, model = (part.strip() for part in use.partition(":"))
    row = _row(role, name)
    if colon and not model:
        noun = "voice" if role is Role.TTS else "model"
        raise ConfigurationError(
            f"'{use}' names no {noun}", mend=f"write {name}, or {name}:{noun.upper()}"
        )
    if model and row.models is not None and model not in row.models:
        raise ConfigurationError(
            f"{name} has no model '{model}'", mend=near_miss(model, row.models)
        )
    _refuse_bad_settings(row, settings)
    return Choice(role, name, model or None, settings, why)


def _row(role: Role, name: str) -> Provider:
    row = PROVIDERS.get((role, name))
    if row is not None:
        return row
    added = _added_rows(name)
    row = next((row for row in added if row.role is role), None)
    if row is not None:
        return row
    elsewhere = [row.role for row in (*ROWS, *added) if row.name == name]
    hint = f"'{name}' is for --{elsewhere[0]}; " if elsewhere else ""
    names = {row.name for row in ROWS if row.role is role} | added_names(SERVICES) - {name}
    known = near_miss(name.lower(), names)
    raise ConfigurationError(f"no {role.upper()} provider '{name}'", mend=f"{hint}{known}")


def _added_rows(name: str) -> tuple[Provider, ...]:
    """Return the rows that an installed package adds under a name; none if none does.

    Raises:
        ConfigurationError: They can't be imported, or are no rows of that name.
    """
    found = load_added(SERVICES, name)
    if found is None:
        return ()
    rows = cast("tuple[object, ...]", found if isinstance(found, tuple) else (found,))
    providers = tuple(row for row in rows if isinstance(row, Provider) and row.name == name)
    if not providers or len(providers) < len(rows):
        what = f"'{name}' of the package {package_of(SERVICES, name)} is no Provider of that name"
        raise ConfigurationError(what, mend=mend_package(SERVICES, name))
    return providers


def _refuse_bad_settings(row: Provider, settings: Mapping[str, Any]) -> None:
    for key, value in settings.items():
        kind = row.settings.get(key)
        if kind is None:
            what = f"{row.name} has no setting '{key}'"
            raise ConfigurationError(what, mend=near_miss(key, row.settings))
        if not kind.fits(value):
            raise ConfigurationError(f"'{key}' of {row.name} is of a wrong kind", mend=kind.mend)


def _by_profile(role: Role, profile: Profile) -> Choice:
    if profile is not Profile.AUTO:
        return Choice(role, PROFILES[profile][role], why=f"--services {profile}")
    cloud = PROVIDERS[role, PROFILES[Profile.CLOUD][role]]
    if variable(cloud.key) is not None:
        return Choice(role, cloud.name, why=f"{cloud.key} is set")
    return Choice(role, PROFILES[Profile.OFFLINE][role], why=f"no {cloud.key}")


def _prepared(choice: Choice) -> tuple[Provider, dict[str, Any]]:
    """Return the row, and what its factory takes besides voice or persona."""
    row = provider(choice)
    options: dict[str, Any] = {}
    if row.role is not Role.TTS and (model := choice.model or row.default):
        options["model"] = model
    if row.key:
        options["key"] = (variable(row.key) or "").strip()
    if row.settings or row.url:
        settings = dict(choice.settings)
        options["base_url"] = settings.pop("base_url", None) or (row.url and variable(row.url))
        options["settings"] = settings
    return row, options


def _built(row: Provider, options: Mapping[str, Any]) -> object:
    """Build a service; what goes wrong in somebody else's package is said in its name."""
    if is_ours(row.role, row.name):
        return _factory(row)(**options)
    try:
        return _factory(row)(**options)
    except PmwError:
        raise
    except Exception as error:
        owner = package_of(SERVICES, row.name)
        what = f"{row.role} by {row.name} of the package {owner} can't be built: {told(error)}"
        raise PmwError(what, mend=mend_package(SERVICES, row.name)) from error


def _factory(row: Provider) -> Callable[..., object]:
    return getattr(import_module(row.module), row.factory)
