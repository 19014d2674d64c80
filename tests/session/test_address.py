"""Names of sessions: who gets which, whose files are cleaned up, whose folder is refused."""

import os
import signal
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pipecat_workers_cli.errors import PmwError
from pipecat_workers_cli.session.address import (
    Address,
    Departure,
    claim,
    living,
    sessions_folder,
)

HOLD = """
import sys, time
from pipecat_workers_cli.session.address import claim
claimed = claim(sys.argv[1])
print(claimed.address.name, flush=True)
sys.stdin.read()
if "leave" in sys.argv:
    claimed.leave()
    print("left", flush=True)
    time.sleep(60)
"""
"""A session that does nothing but have a name, until its stdin is closed."""


class Held:
    """A process that has a name."""

    def __init__(self, *words: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", HOLD, *words],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def line(self) -> str:
        assert self.process.stdout is not None
        return self.process.stdout.readline().strip()

    def kill(self, number: int = signal.SIGKILL) -> None:
        self.process.send_signal(number)
        self.process.wait(5)


@pytest.fixture
def held() -> Iterator[Callable[..., Held]]:
    """Start a process that claims a name."""
    running: list[Held] = []

    def start(*words: str) -> Held:
        running.append(Held(*words))
        return running[-1]

    yield start
    for one in running:
        one.process.kill()
        one.process.wait(5)
        for stream in (one.process.stdin, one.process.stdout):
            stream.close()


def names() -> list[str]:
    return [address.name for address in living()]


def files() -> list[str]:
    return sorted(path.name for path in sessions_folder().iterdir())


def test_the_second_session_of_a_recipe_gets_a_number(held) -> None:
    assert [held("handoff").line() for _ in range(3)] == ["handoff", "handoff-2", "handoff-3"]
    assert names() == ["handoff", "handoff-2", "handoff-3"]


def test_sessions_that_start_at_once_get_a_name_each(held) -> None:
    starting = [held("handoff") for _ in range(8)]
    expected = {"handoff", *(f"handoff-{number}" for number in range(2, 9))}
    assert {one.line() for one in starting} == expected


def test_only_this_user_can_reach_folder_and_socket(held) -> None:
    held("handoff").line()
    folder = sessions_folder()
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert stat.S_IMODE((folder / "handoff.sock").stat().st_mode) == 0o600


def test_what_a_killed_session_left_is_cleaned_up_by_whoever_looks(held) -> None:
    one = held("handoff")
    one.line()
    one.kill()
    assert files() == ["handoff.lock", "handoff.sock"]
    assert names() == []
    assert files() == []


def test_a_killed_sessions_name_is_free_for_the_next(held) -> None:
    one = held("handoff")
    one.line()
    one.kill()
    assert held("handoff").line() == "handoff"
    assert names() == ["handoff"]


def test_a_frozen_session_keeps_its_name(held) -> None:
    one = held("handoff")
    one.line()
    one.process.send_signal(signal.SIGSTOP)
    assert held("handoff").line() == "handoff-2"
    assert names() == ["handoff", "handoff-2"]
    one.process.send_signal(signal.SIGCONT)


def test_a_session_that_has_a_name_and_no_socket_yet_is_left_alone(held) -> None:
    one = held("handoff")
    one.line()
    (sessions_folder() / "handoff.sock").unlink()
    assert names() == []
    assert files() == ["handoff.lock"]
    assert held("handoff").line() == "handoff-2"


def test_a_living_session_whose_lock_was_removed_keeps_its_socket(held) -> None:
    held("handoff").line()
    (sessions_folder() / "handoff.lock").unlink()
    assert held("handoff").line() == "handoff-2"
    assert names() == ["handoff", "handoff-2"]


def test_leaving_removes_both_files_and_the_process_is_seen_to_its_end(held) -> None:
    one = held("handoff", "leave")
    one.line()
    departure = Departure(Address(sessions_folder(), "handoff"))
    one.process.stdin.close()
    assert one.line() == "left"
    assert files() == []
    assert not departure.is_over()
    one.kill()
    assert departure.is_over()
    departure.close()


def test_leaving_takes_nothing_from_a_session_that_has_the_name_now() -> None:
    first = claim("handoff")
    for path in (first.address.path, first.address.lock):
        path.unlink()
    second = claim("handoff")
    assert second.address.name == "handoff"
    first.leave()
    assert names() == ["handoff"]
    second.leave()


def test_a_folder_that_a_link_stands_for_is_refused(tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    sessions_folder().symlink_to(elsewhere)
    with pytest.raises(PmwError, match="not a folder of yours"):
        claim("handoff")
    with pytest.raises(PmwError, match="not a folder of yours"):
        list(living())
    assert list(elsewhere.iterdir()) == []


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a folder away")
def test_another_users_folder_is_refused() -> None:
    sessions_folder().mkdir()
    os.chown(sessions_folder(), 65534, 65534)
    with pytest.raises(PmwError, match="not a folder of yours"):
        claim("handoff")


def test_a_folder_that_others_may_read_is_closed_to_them() -> None:
    sessions_folder().mkdir(mode=0o755)
    claim("handoff").leave()
    assert stat.S_IMODE(sessions_folder().stat().st_mode) == 0o700


def test_a_path_too_long_for_a_socket_is_replaced_by_a_short_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    deep = tmp_path / ("x" * 90)
    deep.mkdir(mode=0o700)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(deep))
    monkeypatch.setenv("TMPDIR", "/tmp")
    claimed = claim("a" * 40)
    try:
        assert claimed.address.folder != deep / "pmw"
        assert names() == ["a" * 40]
    finally:
        claimed.leave()
        claimed.address.folder.rmdir()


def test_without_a_runtime_folder_there_still_is_a_private_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, recwarn: pytest.WarningsRecorder
) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path / "missing" / "run"))
    claimed = claim("no-runtime-folder")
    assert stat.S_IMODE(claimed.address.folder.stat().st_mode) == 0o700
    assert claimed.address.name in names()
    claimed.leave()
    assert not list(recwarn)


def test_no_folder_means_no_sessions() -> None:
    assert names() == []
    assert not sessions_folder().exists()
