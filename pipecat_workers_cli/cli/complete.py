"""What may be chosen for an option or an argument, looked up when somebody presses Tab.

Options name one of these functions as their `autocompletion`; it takes what was begun, or the
words before it, or neither. A Tab must not wait for the imports of the tables, so the names of
those stand here once more, and a test holds them to it.
"""

import os
from collections.abc import Callable, Iterable, Iterator

from pipecat_workers_cli.cli.words import shipped_recipes

LLMS = ("anthropic", "ollama", "openai", "scripted")
STTS = ("deepgram", "moonshine")
TTSS = ("cartesia", "piper")
TRANSPORTS = (
    "console",
    "daily",
    "exotel",
    "livekit",
    "local",
    "moq",
    "plivo",
    "telnyx",
    "twilio",
    "vonage",
    "webrtc",
    "websocket",
)
BUSES = (
    "local",
    "redis",
    "pgmq",
    "redis://",
    "rediss://",
    "postgresql://",
    "postgres://",
    "redis+pubsub://",
    "rediss+pubsub://",
)
LOG_LEVELS = ("trace", "debug", "info", "success", "warning", "error", "critical")
WITHIN = 2000  # entries of a folder that are looked at

Offer = tuple[str, str]
"""A word and what it means; the meaning may be empty."""


def complete_llm() -> Iterable[Offer]:
    """Offer who may think."""
    return _bare(LLMS)


def complete_stt() -> Iterable[Offer]:
    """Offer who may hear."""
    return _bare(STTS)


def complete_tts() -> Iterable[Offer]:
    """Offer who may speak."""
    return _bare(TTSS)


def complete_transport() -> Iterable[Offer]:
    """Offer the ways in which callers come."""
    return _bare(TRANSPORTS)


def complete_bus() -> Iterable[Offer]:
    """Offer the buses, and how the URL of one begins."""
    return _bare(BUSES)


def complete_log_level() -> Iterable[Offer]:
    """Offer how much is logged."""
    return _bare(LOG_LEVELS)


def complete_recipe(incomplete: str) -> Iterable[Offer]:
    """Offer the recipes that ship, each with its summary, and files that may be one."""
    for name, row in shipped_recipes().items():
        yield name, row.help
    yield from _recipe_files(incomplete)


def _recipe_files(incomplete: str) -> Iterator[Offer]:
    """Give the `.toml` files of the folder that was begun, and folders to look further in."""
    folder, begun = os.path.split(incomplete)
    shown = f"{folder.rstrip('/')}/" if folder else ""
    try:
        with os.scandir(os.path.expanduser(shown) or ".") as entries:
            there = [entry for entry, _ in zip(entries, range(WITHIN), strict=False)]
    except OSError:
        return
    for entry in sorted(there, key=lambda entry: entry.name):
        if entry.name.startswith(".") and not begun.startswith("."):
            continue
        if incomplete and entry.is_dir():
            yield f"{shown}{entry.name}/", ""
        elif entry.name.endswith(".toml") and entry.name != "pyproject.toml":
            yield f"{shown}{entry.name}", ""


def complete_worker(args: list[str]) -> Iterable[Offer]:
    """Offer the workers of the recipe that `--recipe` names, else of the command's own."""
    recipe = "assistant" if args[:1] == ["proxy"] else "handoff"
    for word, following in zip(args, [*args[1:], ""], strict=True):
        if word == "--recipe":
            recipe = following
        elif word.startswith("--recipe="):
            recipe = word.partition("=")[2]
    shipped = shipped_recipes().get(recipe)
    if shipped is not None:
        return _bare(shipped.takes.split())
    from pathlib import Path

    from pipecat_workers_cli.recipe.files import read_workers

    return _bare(read_workers(Path(recipe).expanduser()))


def complete_session() -> Iterable[Offer]:
    """Offer this user's sessions."""
    from pipecat_workers_cli.errors import PmwError
    from pipecat_workers_cli.session.address import living

    try:
        return _bare([one.name for one in living()])
    except (PmwError, OSError):
        return ()


def _bare(names: Iterable[str]) -> Iterable[Offer]:
    return [(name, "") for name in names]


_ALL = (
    complete_llm,
    complete_stt,
    complete_tts,
    complete_transport,
    complete_bus,
    complete_log_level,
    complete_recipe,
    complete_worker,
    complete_session,
)
COMPLETERS: dict[str, Callable[..., Iterable[Offer]]] = {one.__name__: one for one in _ALL}


def look_up(name: str, *, incomplete: str, args: list[str]) -> Iterable[Offer]:
    """Return what one of the functions offers.

    Args:
        name: The function's.
        incomplete: What is there of the word.
        args: The words before it.
    """
    completer = COMPLETERS[name]
    code = completer.__code__  # `inspect` would take longer to import than all of the rest
    wanted = code.co_varnames[: code.co_argcount]
    given = {"incomplete": incomplete, "args": args}
    return completer(**{key: given[key] for key in wanted})
