"""What comes from the environment, and which of two sources wins."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from pipecat_workers_cli.errors import ConfigurationError
from pipecat_workers_cli.settings import find_env_file, load_env, variable


@pytest.fixture(autouse=True)
def environment_as_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let `load_env` change a copy."""
    monkeypatch.setattr(os, "environ", os.environ.copy())


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory three folders deep."""
    folder = tmp_path / "project" / "src" / "app"
    folder.mkdir(parents=True)
    monkeypatch.chdir(folder)
    return folder


def write(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


def test_the_nearest_env_file_upward_is_loaded_and_no_other(here: Path) -> None:
    nearest = write(here.parent / ".env", "PMW_A=near\n")
    write(here.parents[1] / ".env", "PMW_A=far\nPMW_B=far\n")
    assert find_env_file(here) == nearest
    assert load_env(None) == nearest
    assert variable("PMW_A") == "near"
    assert variable("PMW_B") is None


def test_the_working_directorys_own_env_file_comes_first(here: Path) -> None:
    own = write(here / ".env", "PMW_A=own\n")
    write(here.parent / ".env", "PMW_A=near\n")
    assert load_env(None) == own


def test_a_folder_named_env_is_no_env_file(here: Path) -> None:
    (here / ".env").mkdir()
    above = write(here.parent / ".env", "PMW_A=1\n")
    assert find_env_file(here) == above


def test_without_any_file_nothing_is_loaded(here: Path) -> None:
    found = load_env(None)
    assert found is None or found.parent not in (here, here.parent, here.parents[1])


def test_real_variables_win_over_the_file(here: Path) -> None:
    os.environ["PMW_A"] = "real"
    write(here / ".env", "PMW_A=file\nPMW_B=file\n")
    load_env(None)
    assert (variable("PMW_A"), variable("PMW_B")) == ("real", "file")


def test_an_empty_real_variable_counts_as_unset_and_the_file_fills_it(here: Path) -> None:
    os.environ |= {"PMW_A": "", "PMW_EMPTY": ""}
    write(here / ".env", "PMW_A=file\n")
    load_env(None)
    assert variable("PMW_A") == "file"
    assert "PMW_EMPTY" not in os.environ


def test_an_empty_line_of_the_file_counts_as_unset(here: Path) -> None:
    write(here / ".env", "OPENAI_API_KEY=\nDEEPGRAM_API_KEY=''\nCARTESIA_API_KEY\nPMW_A=1\n")
    load_env(None)
    for name in ("OPENAI_API_KEY", "DEEPGRAM_API_KEY", "CARTESIA_API_KEY"):
        assert name not in os.environ
    assert variable("PMW_A") == "1"


def test_quotes_comments_and_export_are_understood(here: Path) -> None:
    write(here / ".env", "# a comment\nexport PMW_A='two words' # why\nPMW_B=\"x\"\n")
    load_env(None)
    assert (variable("PMW_A"), variable("PMW_B")) == ("two words", "x")


def test_a_named_file_stands_in_for_the_nearest(here: Path, tmp_path: Path) -> None:
    write(here / ".env", "PMW_A=nearest\nPMW_B=nearest\n")
    named = write(tmp_path / "other.env", "PMW_A=named\n")
    assert load_env(named) == named
    assert variable("PMW_A") == "named"
    assert variable("PMW_B") is None


@pytest.mark.parametrize("kind", ["absent", "folder", "not text"])
def test_a_named_file_that_cannot_be_read_is_the_users_mistake(here: Path, kind: str) -> None:
    path = here / "my.env"
    if kind == "folder":
        path.mkdir()
    elif kind == "not text":
        path.write_bytes(b"PMW_A=\xff\xfe\n")
    with pytest.raises(ConfigurationError, match="cannot read the env file") as refused:
        load_env(path)
    assert refused.value.exit_code == 2
    assert str(path) in refused.value.what


def test_a_variable_is_none_when_unset_or_empty() -> None:
    os.environ["PMW_A"] = ""
    assert variable("PMW_A") is None
    assert variable("PMW_NEVER_SET") is None
    os.environ["PMW_A"] = "x"
    assert variable("PMW_A") == "x"


def test_pipecats_runner_does_not_load_another_file_over_it(here: Path) -> None:
    write(here / ".env", "PMW_A=file\n")
    program = (
        "from pipecat_workers_cli.settings import load_env, variable\n"
        "load_env(None)\n"
        "import pipecat.runner.run\n"
        "print(variable('PMW_A'))\n"
    )
    answer = subprocess.run(
        [sys.executable, "-c", program],
        cwd=here,
        env={**os.environ, "PMW_A": "real"},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert answer.stdout.strip().endswith("real")
