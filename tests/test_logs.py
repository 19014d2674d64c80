"""No sink of the logs holds a secret, and nobody is shown what they didn't ask for."""

import io
import json
import os
import stat
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from loguru import logger

from pipecat_workers_cli import logs
from pipecat_workers_cli.logs import redact, set_up_logs
from pipecat_workers_cli.options import LogFormat

KEY = "dg-0123456789abcdef0123456789abcdef"


@pytest.fixture(autouse=True)
def loguru_as_it_was() -> Iterator[None]:
    """Give loguru back with its own sink."""
    yield
    logger.remove()
    logger.enable("pipecat")
    logger.add(sys.__stderr__ or sys.stderr)


@pytest.mark.parametrize(
    "name",
    [
        "DEEPGRAM_API_KEY",
        "PMW_PROXY_TOKEN",
        "LIVEKIT_API_SECRET",
        "PGPASSWORD",
        "AWS_CREDENTIALS",
        "MY_TOKENS",
        "OPENAI_API_KEY_2",
        "SMTP_PASSWD",
        "db_password",
    ],
)
def test_the_values_of_secret_variables_are_struck_out(
    monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setenv(name, KEY)
    assert redact(f"a {KEY} b, {KEY}!") == "a *** b, ***!"


def test_short_values_and_other_variables_are_words_like_any(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("MY_TOKEN", "to")
    monkeypatch.setenv("MY_COLOUR", "vermilion")
    assert redact("from vermilion to blue") == "from vermilion to blue"


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("redis://user:pass@host:6379/0", "redis://***@host:6379/0"),
        ("redis://:pass@host", "redis://***@host"),
        ("rediss://user:p%40ss@host", "rediss://***@host"),
        ("redis://user:pa/ss@host/0", "redis://***@host/0"),
        ("redis+pubsub://:p#a?s/s@host", "redis+pubsub://***@host"),
        ("postgresql://me:p@ss@host/db", "postgresql://***@host/db"),
        ("redis+pubsub://user:pass@host", "redis+pubsub://***@host"),
        ("POSTGRESQL://me:pass@host", "POSTGRESQL://***@host"),
        ("two: redis://a:b@c and redis://d:e@f", "two: redis://***@c and redis://***@f"),
        ("('redis://a:b@c', 'me@example.org')", "('redis://***@c', 'me@example.org')"),
        ("http://localhost:7860/a@b", "http://localhost:7860/a@b"),
        ("write to me@example.org", "write to me@example.org"),
    ],
)
def test_passwords_in_urls_are_struck_out(text: str, told: str) -> None:
    assert redact(text) == told


@pytest.mark.parametrize(
    "text",
    [
        "Incorrect API key provided: sk-proj-aBcDeF123456",
        "key sk_live_aBcDeF123456",
        "{'Authorization': 'Bearer aBcDeF123456.x.y'}",
        "provided: sk-aBcDe*****************3456",
    ],
)
def test_what_looks_like_a_key_is_struck_out_though_no_variable_holds_it(text: str) -> None:
    told = redact(text)
    assert "***" in told
    assert "aBcDe" not in told


def test_no_key_is_in_the_lines_on_stderr(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("DEEPGRAM_API_KEY", KEY)
    set_up_logs("debug", None)
    logger.debug(f"connecting with {KEY} to redis://user:hunter2@host")
    told = capsys.readouterr()
    assert told.out == ""
    assert "connecting with *** to redis://***@host" in told.err


def test_no_key_is_in_a_log_file_not_even_in_a_traceback(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("DEEPGRAM_API_KEY", KEY)
    log_file = tmp_path / "logs" / "handoff.log"
    set_up_logs("debug", log_file)
    try:
        raise ValueError(f"refused: {KEY}")
    except ValueError:
        logger.exception(f"no luck with {KEY}")
    written = log_file.read_text(encoding="utf-8")
    assert "no luck with ***" in written
    assert "ValueError: refused: ***" in written
    assert KEY not in written
    assert capsys.readouterr() == ("", "")


def test_a_log_that_can_not_be_written_is_told_once_and_shows_nothing_of_its_lines(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("DEEPGRAM_API_KEY", KEY)
    set_up_logs("debug", Path("/dev/full"))
    for _ in range(3):
        logger.error(f"connecting with {KEY}")
    assert capsys.readouterr() == (
        "",
        "error: the log file /dev/full can't be written: No space left on device\n"
        "  try: make room; nothing more is logged\n",
    )


def test_an_stderr_that_nobody_reads_any_more_stays_open_for_who_writes_there_next(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Unread(io.StringIO):
        def write(self, _text: str) -> int:
            raise BrokenPipeError

    monkeypatch.setattr("sys.stderr", Unread())
    set_up_logs(None, None)
    logger.error("lost")
    assert not sys.stderr.closed


def test_a_traceback_does_not_show_the_values_of_variables(tmp_path: Path) -> None:
    log_file = tmp_path / "handoff.log"
    set_up_logs("debug", log_file)
    whispered = "correct horse battery staple"
    try:
        int(whispered[:7])
    except ValueError:
        logger.exception("failed")
    assert "battery staple" not in log_file.read_text(encoding="utf-8")


def test_nothing_of_the_frameworks_inner_life_is_shown_unasked(
    capsys: pytest.CaptureFixture[str],
) -> None:
    set_up_logs(None, None)
    logger.patch(lambda record: record.update(name="pipecat.pipeline")).error("inner life")
    logger.patch(lambda record: record.update(name="pipecat_workers_cli.call")).info("detail")
    logger.patch(lambda record: record.update(name="pipecat_workers_cli.call")).warning("look")
    assert capsys.readouterr().err == "WARNING look\n"


def test_a_level_that_was_asked_for_shows_the_framework_too(
    capsys: pytest.CaptureFixture[str],
) -> None:
    set_up_logs("debug", None)
    logger.patch(lambda record: record.update(name="pipecat.pipeline")).debug("inner life")
    assert "inner life" in capsys.readouterr().err


def test_a_log_file_is_added_to_and_its_folder_made(tmp_path: Path) -> None:
    log_file = tmp_path / "new" / "folder" / "pmw.log"
    for word in ("one", "two"):
        set_up_logs(None, log_file)
        logger.info(word)
    assert [line.rpartition(" ")[2] for line in log_file.read_text().splitlines()] == ["one", "two"]


def test_setting_up_twice_writes_each_line_once(capsys: pytest.CaptureFixture[str]) -> None:
    set_up_logs("info", None)
    set_up_logs("info", None)
    logger.info("once")
    assert capsys.readouterr().err.count("once") == 1


def test_lines_of_the_standard_librarys_logging_go_the_same_way(tmp_path: Path) -> None:
    """Asyncio and the client libraries log there; unrouted, it all lands on the screen."""
    program = (
        "import logging, pathlib, sys\n"
        "from pipecat_workers_cli.logs import set_up_logs\n"
        "set_up_logs(None, pathlib.Path(sys.argv[1]) if len(sys.argv) > 1 else None)\n"
        f"logging.getLogger('asyncio').error('never retrieved: {KEY}')\n"
    )

    def run(*words: str) -> str:
        return subprocess.run(
            [sys.executable, "-c", program, *words],
            env={**os.environ, "DEEPGRAM_API_KEY": KEY},
            capture_output=True,
            text=True,
            timeout=60,
            check=True,
        ).stderr

    assert run().endswith("never retrieved: ***\n")
    log_file = tmp_path / "pmw.log"
    assert run(str(log_file)) == ""
    assert log_file.read_text(encoding="utf-8").endswith("never retrieved: ***\n")


def lines(text: str) -> list[dict[str, str]]:
    return [json.loads(line) for line in text.splitlines()]


def test_a_json_line_says_when_what_and_of_whom(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logs, "_everywhere", {})
    set_up_logs("info", None, LogFormat.JSON)
    logs.name_session("handoff-2")
    with logger.contextualize(call="7c0a", worker="support", job="41f", secret="no"):
        logger.warning("late by {s:.1f} s\nand more", s=2.5)
    (line,) = lines(capsys.readouterr().err)
    at = datetime.fromisoformat(line.pop("time"))
    assert at.utcoffset() == timedelta(0)
    assert abs(at - datetime.now(UTC)) < timedelta(seconds=10)
    assert line == {
        "level": "WARNING",
        "message": "late by 2.5 s\nand more",
        "logger": __name__,
        "process": os.getpid(),
        "session": "handoff-2",
        "call": "7c0a",
        "worker": "support",
        "job": "41f",
    }


def test_no_json_line_holds_a_secret_and_each_is_whole(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DEEPGRAM_API_KEY", KEY)
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_HEADERS", "x-team=opensesame")
    set_up_logs("debug", None, LogFormat.JSON)
    said = f'{KEY} "redis://user:hunter2@host" Bearer aBcDeF123456 x-team=opensesame'
    try:
        raise ValueError(said)
    except ValueError:
        with logger.contextualize(call=KEY):
            logger.exception(said)
    (line,) = lines(capsys.readouterr().err)
    assert line["call"] == "***"
    for text in (line["message"], line["exception"]):
        assert '*** "redis://***@host" Bearer *** ***' in text
    assert "ValueError" in line["exception"]


def test_a_traceback_is_in_json_only_for_who_asked_for_more(
    capsys: pytest.CaptureFixture[str],
) -> None:
    told = []
    for level in ("info", "debug"):
        set_up_logs(level, None, LogFormat.JSON)
        try:
            int("what a caller said")
        except ValueError:
            logger.exception("failed")
        (line,) = lines(capsys.readouterr().err)
        told.append(line["exception"])
    assert told[0] == "ValueError"
    assert "Traceback" in told[1]


def test_what_callers_say_is_in_no_json_line_of_the_framework(
    capsys: pytest.CaptureFixture[str],
) -> None:
    set_up_logs("trace", None, LogFormat.JSON)
    inner = logger.patch(lambda record: record.update(name="pipecat.services.llm"))
    inner.debug("Generating chat from context [my card is 4711]")
    inner.warning("disconnected")
    assert [line["message"] for line in lines(capsys.readouterr().err)] == ["disconnected"]


def test_json_goes_to_a_log_file_too(tmp_path: Path) -> None:
    log_file = tmp_path / "pmw.log"
    set_up_logs(None, log_file, LogFormat.JSON)
    logger.info("one")
    assert [line["message"] for line in lines(log_file.read_text())] == ["one"]


def test_a_log_file_and_its_folder_are_for_their_owners_eyes_alone(tmp_path):
    path = tmp_path / "logs" / "pmw.log"
    set_up_logs(None, path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
