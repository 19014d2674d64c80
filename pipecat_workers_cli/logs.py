"""Log lines: where they go, how they look, how loud they are, and that they hold no secret."""

import json
import logging
import os
import re
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from datetime import UTC
from pathlib import Path
from traceback import format_exception
from typing import TYPE_CHECKING, Any, TextIO

from pipecat_workers_cli.errors import ConfigurationError
from pipecat_workers_cli.options import LogFormat

if TYPE_CHECKING:
    from loguru import Message, Record

SECRET_NAME = re.compile(
    r"((KEY|TOKEN|SECRET|PASSWORD|PASSWD|PASSPHRASE|CREDENTIAL)S?(_?\d+)?|OTLP_\w*HEADERS)$",
    re.IGNORECASE,
)
PASSWORD_IN_URL = re.compile(  # a bus's may hold a slash; other URLs have paths with an `@`
    r"(?P<scheme>\b(?:(?P<bus>(?:rediss?|postgres(?:ql)?)(?:\+\w+)?)|[a-z][a-z0-9+.-]*)://)"
    r"(?(bus)[^\s'\"]|[^\s/'\"])*@",
    re.IGNORECASE,
)
LOOKS_LIKE_A_KEY = re.compile(
    r"\b(sk|pk|rk)[-_][A-Za-z0-9_*-]{6,}|(?<=Bearer )\S+"
    r"|[^\s*]{0,40}\*{4,}[^\s*]{0,40}"  # a provider's own way of showing part of a key
)
KEY_BEGINS = re.compile(r"\b[spr]k[-_]")  # quick to tell that there is none
QUIET: dict[str | None, str | int | bool] = {
    "": "ERROR",
    "pipecat_workers_cli": "WARNING",
    "pipecat": False,
}
"""What is shown when nobody asked: nothing of the framework's inner life. What of it concerns
a caller comes as an entry of the call."""
SHORTEST_SECRET = 6  # characters; shorter values would strike out ordinary words
TOLD = 200  # characters of a stranger's exception
_filled: set[str] = set()  # what a recipe's `${VAR}`s stand for; the names are no guide to secrets


def redact(text: str) -> str:
    """Strike out keys, tokens and passwords: of the environment, in URLs, by their look."""
    return redactor()(text)


def redactor() -> Callable[[str], str]:
    """Return what does as `redact`, for many texts: it knows the environment of this moment."""
    secrets = {value for name, value in os.environ.items() if SECRET_NAME.search(name)}
    # The longest first: one may begin like another.
    longest_first = sorted((s for s in secrets if len(s) >= SHORTEST_SECRET), key=len, reverse=True)
    known = re.compile("|".join(map(re.escape, longest_first))) if longest_first else None

    def strike(text: str) -> str:
        if len(text) < SHORTEST_SECRET:
            return text
        if known is not None:
            text = known.sub("***", text)
        if "@" in text:
            text = PASSWORD_IN_URL.sub(r"\g<scheme>***@", text)
        if "****" in text or "Bearer" in text or KEY_BEGINS.search(text):
            text = LOOKS_LIKE_A_KEY.sub("***", text)
        return text

    return strike


def keep_from_errors(value: str) -> None:
    """Have a value struck out of what a stranger's code raises, such as a password in an address.

    Not out of all that is told: what a caller says may well hold the same words.
    """
    if len(value) >= SHORTEST_SECRET:
        _filled.add(value)


def redact_told(text: str) -> str:
    """Strike out what `redact` does, and the values that a recipe took from variables."""
    for value in sorted(_filled, key=len, reverse=True):
        text = text.replace(value, "***")
    return redact(text)


def told(error: BaseException) -> str:
    """Say what a stranger's code raised: its type and the first line of its text, redacted."""
    lines = redact_told(str(error)).strip().splitlines() or [""]
    text = "".join(sign if sign.isprintable() else " " for sign in lines[0])[:TOLD]
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


IDS = ("session", "call", "worker", "job", "trace_id", "span_id")
"""What a line is about, where it is about one: `loguru.contextualize` says so."""

LONGEST = 4_000  # characters of one message in JSON; collectors cut off or refuse longer lines
VERBOSE = ("trace", "debug")

_everywhere: dict[str, str] = {}
_correlate: list[Callable[[], Mapping[str, str]]] = []


def name_session(name: str) -> None:
    """Let every JSON line of this process say which session it is of."""
    _everywhere["session"] = name


def correlate(ids: Callable[[], Mapping[str, str]]) -> None:
    """Let every JSON line say of which span it is, as far as `ids` knows."""
    _correlate[:] = [ids]


def set_up_logs(
    level: str | None, log_file: Path | None, log_format: LogFormat | None = None
) -> None:
    """Send log lines to a file or to stderr.

    Args:
        level: A loguru level; None shows what goes wrong and nothing of the framework's
            inner life.
        log_file: Where to; None is stderr.
        log_format: Lines for people, the default, or a JSON object a line.

    Raises:
        ConfigurationError: The file can't be written.
    """
    from loguru import logger  # noqa: PLC0415  # 60 ms, and not on the way to --help

    logger.remove()
    logger.enable("pipecat")
    if log_file is None:
        stream, line = sys.stderr, "{level.name:<7} {message}"
    else:
        stream = _open_log(log_file)
        line = "{time:YYYY-MM-DD HH:mm:ss.SSS} {level.name:<7} {name}: {message}"
    verbose = (level or "").lower() in VERBOSE

    is_lost = False

    def put(text: str) -> None:
        nonlocal is_lost
        if is_lost:
            return
        try:
            stream.write(text)
            stream.flush()
        except OSError as error:  # what raised here would be told with all that was to be logged
            is_lost = True
            if log_file is not None:
                with suppress(OSError):
                    stream.close()
                _tell_lost(log_file, error)

    def write_redacted(message: "Message") -> None:
        put(redact(message))

    def write_json(message: "Message") -> None:
        if not _quotes_callers(message.record):
            fields = dict(_fields(message.record, verbose=verbose))
            put(json.dumps(fields, ensure_ascii=False) + "\n")

    write = write_json if log_format is LogFormat.JSON else write_redacted
    if level is None and log_file is None:
        logger.add(write, filter=QUIET, format=line, diagnose=False)
    else:
        logger.add(write, level=(level or "info").upper(), format=line, diagnose=False)
    logging.basicConfig(handlers=[_Loguru()], level=logging.WARNING, force=True)


def _tell_lost(log_file: Path, error: OSError) -> None:
    what = f"the log file {log_file} can't be written: {error.strerror}"
    with suppress(OSError):
        sys.stderr.write(f"error: {what}\n  try: make room; nothing more is logged\n")


def _quotes_callers(record: "Record") -> bool:
    """Tell of the framework's inner life, which is full of what callers and LLMs say."""
    from loguru import logger  # noqa: PLC0415

    inner = (record["name"] or "").partition(".")[0] == "pipecat"
    return inner and record["level"].no < logger.level("INFO").no


def _fields(record: "Record", *, verbose: bool) -> Iterator[tuple[str, str | int]]:
    """Give what a line in JSON says, none of it a secret."""
    strike = redactor()
    yield "time", record["time"].astimezone(UTC).isoformat(timespec="milliseconds")[:-6] + "Z"
    yield "level", record["level"].name
    yield "message", strike(record["message"])[:LONGEST]
    yield "logger", record["name"] or ""
    yield "process", record["process"].id
    ids: dict[str, Any] = {**_everywhere, **record["extra"]}
    for of_span in _correlate:
        ids.update(of_span())
    for name in IDS:
        if name in ids:
            yield name, strike(str(ids[name]))
    if (raised := record["exception"]) is not None and raised.type is not None:
        lines = format_exception(raised.type, raised.value, raised.traceback)
        yield "exception", strike("".join(lines)) if verbose else raised.type.__name__


def owner_only(path: str, flags: int) -> int:
    """Open a file for its owner's eyes alone, if it is new; `open` takes it as its `opener`."""
    return os.open(path, flags, 0o600)


def _open_log(log_file: Path) -> TextIO:
    try:
        log_file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        return open(log_file, "a", encoding="utf-8", buffering=1, opener=owner_only)
    except OSError as error:
        raise ConfigurationError(
            f"cannot write the log file {log_file}: {error.strerror}",
            mend="name another with --log-file",
        ) from None


class _Loguru(logging.Handler):
    """Takes what asyncio and client libraries log, which would go past redaction to stderr."""

    def emit(self, record: logging.LogRecord) -> None:
        from loguru import logger  # noqa: PLC0415

        found = logger.opt(exception=record.exc_info)
        found.patch(lambda told: told.update(name=record.name)).log(
            record.levelname, "{}", record.getMessage()
        )
