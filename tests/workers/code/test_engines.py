"""Which engine answers, and what it needs."""

import sys

import pytest

from pipecat_workers_cli.checks import State
from pipecat_workers_cli.errors import PmwError
from pipecat_workers_cli.options import EngineName, Profile
from pipecat_workers_cli.workers.code import engines
from pipecat_workers_cli.workers.code.engines import (
    check_engine,
    choose_engine,
    open_engine,
    require_engine,
)
from pipecat_workers_cli.workers.code.fence import Fence

KEY = "ANTHROPIC_API_KEY"
CLAUDE, SEARCH = EngineName.CLAUDE, EngineName.SEARCH


@pytest.mark.parametrize(
    ("named", "profile", "key", "chosen"),
    [
        (None, None, "sk-x", CLAUDE),
        (None, Profile.AUTO, "sk-x", CLAUDE),
        (None, Profile.CLOUD, "sk-x", CLAUDE),
        (None, Profile.OFFLINE, "sk-x", SEARCH),
        (None, None, "", SEARCH),
        (None, Profile.CLOUD, "", SEARCH),
        (SEARCH, None, "sk-x", SEARCH),
        (CLAUDE, Profile.OFFLINE, "", CLAUDE),
    ],
)
def test_it_is_claude_where_its_key_is_unless_told_otherwise(
    monkeypatch, named, profile, key, chosen
):
    monkeypatch.setenv(KEY, key)
    assert choose_engine(named, profile) is chosen


def test_the_search_needs_nothing():
    assert check_engine(SEARCH) == []
    require_engine(SEARCH)


@pytest.mark.parametrize("key", ["", "   ", "sk ant", "sk-änt", "sk\nant"])
def test_claude_needs_a_key_and_the_mend_names_the_other_engine(monkeypatch, key):
    monkeypatch.setenv(KEY, key)
    [wrong] = [check for check in check_engine(CLAUDE) if check.state is State.WRONG]
    assert wrong.name == KEY
    assert wrong.mend
    with pytest.raises(PmwError) as refused:
        require_engine(CLAUDE)
    assert refused.value.exit_code == 1
    assert refused.value.what.startswith("--engine claude: ANTHROPIC_API_KEY")
    assert not key.strip() or key.strip() not in f"{refused.value.what} {refused.value.mend}"


def test_claude_needs_its_package_and_the_mend_says_how_to_install_it(monkeypatch):
    monkeypatch.setenv(KEY, "sk-x")
    monkeypatch.setattr(engines, "PACKAGE", "no_such_package")
    with pytest.raises(PmwError, match="no_such_package is not installed") as refused:
        require_engine(CLAUDE)
    assert "--extra code" in refused.value.mend


def test_looking_loads_nothing(monkeypatch):
    monkeypatch.setenv(KEY, "sk-x")
    monkeypatch.delitem(sys.modules, engines.PACKAGE, raising=False)
    assert [check.state for check in check_engine(CLAUDE)] == [State.OK, State.OK]
    assert engines.PACKAGE not in sys.modules


@pytest.mark.parametrize("name", [CLAUDE, SEARCH])
async def test_an_engine_is_opened_by_its_name(monkeypatch, tmp_path, name):
    monkeypatch.setenv(KEY, "sk-x")
    engine = await open_engine(
        name, Fence(tmp_path), model="sonnet", max_turns=10, allow_bash=False
    )
    assert type(engine).__name__.lower().startswith(name)
