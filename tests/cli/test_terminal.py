"""Where the logs of a session with a table go."""

import time
from pathlib import Path

import pytest
from platformdirs import user_log_path

from pipecat_workers_cli.cli.terminal import KEPT_LOGS, Terminal


def test_only_the_newest_logs_of_a_recipe_are_kept() -> None:
    folder = user_log_path("pmw", appauthor=False)
    folder.mkdir(parents=True)
    old = [folder / f"handoff-20260101-0000{number:02}.log" for number in range(KEPT_LOGS + 5)]
    others = [folder / "handoff-2-20250101-000000.log", folder / "handoff-notes.log"]
    for path in (*old, *others):
        path.touch()
    chosen = Terminal().log_beside_table("handoff")
    assert chosen.parent == folder
    assert sorted(folder.iterdir()) == sorted([*old[-(KEPT_LOGS - 1) :], *others])


def test_logs_go_to_a_temporary_folder_where_the_users_cannot_be_made(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "file"))
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    chosen = Terminal().log_beside_table("handoff")
    assert chosen.parent.parent == tmp_path
    assert chosen.parent.is_dir()
    assert chosen.name.startswith(f"handoff-{time.strftime('%Y')}")
