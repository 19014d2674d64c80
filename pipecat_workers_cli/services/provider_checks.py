"""What this machine has of what a provider needs; nothing is asked, loaded or imported."""

from collections.abc import Iterator
from importlib.util import find_spec

from pipecat_workers_cli.checks import Check, State, check_key
from pipecat_workers_cli.entry_points import SERVICES, package_of
from pipecat_workers_cli.errors import PmwError, mend_extra
from pipecat_workers_cli.services.provider_settings import HTTP
from pipecat_workers_cli.services.providers import (
    PROVIDERS,
    ROWS,
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
        *_check_key(row, choice),
        *_check_packages(row),
        *_check_url(row, choice),
        *_check_voice(row, choice, voice),
    ]


def _check_key(row: Provider, choice: Choice) -> Iterator[Check]:
    if not row.key:
        return
    finding = check_key(row.key, instead="use --services offline")
    other = _whose((variable(row.key) or "").strip())
    if finding.state is State.OK and other not in (None, row.name) and not _elsewhere(row, choice):
        mend = f"copy {row.key} anew from {row.name}'s console"
        finding = Check(row.key, State.WARNING, f"{row.key} looks like a key of {other}'s", mend)
    yield finding


def _whose(key: str) -> str | None:
    """Return the provider whose keys begin like this one; None if that can't be told."""
    marks = {row.question.key_begins: row.name for row in ROWS if row.question is not None}
    begins = [mark for mark in marks if mark and key.startswith(mark)]
    return marks[max(begins, key=len)] if begins else None


def _elsewhere(row: Provider, choice: Choice) -> bool:
    """Say whether another server stands in the provider's place, with keys of its own."""
    return "base_url" in choice.settings or bool(row.url and variable(row.url))


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
        yield Check(package, State.WRONG, missing, mend_extra(row.extra))


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
