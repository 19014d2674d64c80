"""What this machine has of what a provider needs; nothing is asked, loaded or imported."""

from collections.abc import Iterator
from importlib.util import find_spec

from pipecat_workers_cli.checks import Check, State
from pipecat_workers_cli.entry_points import SERVICES, package_of
from pipecat_workers_cli.errors import PmwError
from pipecat_workers_cli.services.provider_settings import HTTP
from pipecat_workers_cli.services.providers import (
    PROVIDERS,
    Choice,
    Provider,
    Role,
    is_ours,
    provider,
)
from pipecat_workers_cli.services.voices import find_voice
from pipecat_workers_cli.settings import variable


def check(choice: Choice, voice: str | None = None) -> list[Check]:
    """Look whether this machine has what a provider needs; asks nobody and loads nothing.

    Args:
        choice: The provider.
        voice: The voice it would speak with, when the choice names none.

    Returns:
        A finding for its key, its packages, its address and its voice, each where it has one.
    """
    row = provider(choice)
    return [
        *_check_key(row),
        *_check_packages(row),
        *_check_url(row, choice),
        *_check_voice(row, choice, voice),
    ]


def _check_key(row: Provider) -> Iterator[Check]:
    if not row.key:
        return
    key = variable(row.key)
    if key is None:
        mend = f"set {row.key} in the environment or in .env, or use --services offline"
        yield Check(row.key, State.WRONG, f"{row.key} is not set", mend)
    elif not key.strip().isascii() or not key.strip().isprintable() or " " in key.strip():
        # A client would put it into a header, and an error about that header into a log.
        mend = f"copy {row.key} anew, without quotes or line breaks"
        yield Check(row.key, State.WRONG, f"{row.key} holds characters that no key has", mend)
    else:
        yield Check(row.key, State.OK, "set")


def _check_packages(row: Provider) -> Iterator[Check]:
    for package in row.packages:
        if find_spec(package) is not None:
            yield Check(package, State.OK, "installed")
            continue
        missing = f"the package {package} is not installed"
        if not is_ours(row.role, row.name):
            owner = package_of(SERVICES, row.name)
            mend = f"install what {owner} needs: uv pip install --upgrade {owner}"
            yield Check(package, State.WRONG, missing, mend)
            continue
        suffix = f"[{row.extra}]" if row.extra else ""
        sync = f"uv sync --extra {row.extra}" if row.extra else "uv sync"
        mend = f"{sync}, or pip install 'pipecat-workers-cli{suffix}'"
        yield Check(package, State.WRONG, missing, mend)


def _check_url(row: Provider, choice: Choice) -> Iterator[Check]:
    if "base_url" in choice.settings or not row.url or not (url := variable(row.url)):
        return
    kind = row.settings.get("base_url", HTTP)
    if kind.fits(url):
        yield Check(row.url, State.OK, "set")
    else:
        yield Check(row.url, State.WRONG, f"{row.url} is no address of a server", kind.mend)


def _check_voice(row: Provider, choice: Choice, voice: str | None) -> Iterator[Check]:
    if row is not PROVIDERS[Role.TTS, "piper"]:
        return
    name = voice or choice.model or row.default
    try:
        find_voice(name)
    except PmwError as error:
        yield Check(f"voice {name}", State.WRONG, error.what, error.mend)
    else:
        yield Check(f"voice {name}", State.OK, "installed")
