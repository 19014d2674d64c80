"""What a user installs: the wheel holds all it needs and works far from the checkout."""

import zipfile
from pathlib import Path

import pytest

from tests.installing import CHECKOUT, run

SHIPPED = ("recipes", "evals", "completions")  # beside the package here, inside it in a wheel
PAGE = CHECKOUT / "pipecat_workers_cli" / "session" / "page"

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(240),
    pytest.mark.xdist_group("installed"),
]


@pytest.fixture
def elsewhere(tmp_path: Path) -> Path:
    """A working directory that knows nothing of the checkout."""
    return tmp_path


def test_the_wheel_holds_everything_that_ships(wheel: Path) -> None:
    inside = set(zipfile.ZipFile(wheel).namelist())
    for folder in SHIPPED:
        files = [path for path in (CHECKOUT / folder).iterdir() if path.is_file()]
        assert files, f"{folder} is empty"
        for path in files:
            assert f"pipecat_workers_cli/{folder}/{path.name}" in inside
    for path in PAGE.iterdir():
        assert f"pipecat_workers_cli/session/page/{path.name}" in inside
    assert "pipecat_workers_cli/py.typed" in inside
    assert any(name.endswith("/licenses/LICENSE") for name in inside)


def test_the_wheel_holds_nothing_else(wheel: Path) -> None:
    tops = {name.split("/")[0] for name in zipfile.ZipFile(wheel).namelist()}
    assert len(tops) == 2
    assert "pipecat_workers_cli" in tops
    junk = [name for name in zipfile.ZipFile(wheel).namelist() if "__pycache__" in name]
    assert junk == []


def test_the_installed_program_is_not_the_checkouts(installed: Path, elsewhere: Path) -> None:
    where = "import pipecat_workers_cli; print(pipecat_workers_cli.__file__)"
    answer = run(installed / "python", "-c", where, cwd=elsewhere)
    assert Path(answer.stdout.strip()).is_relative_to(installed.parent)


def test_recipe_list_names_the_shipped_recipes(installed: Path, elsewhere: Path) -> None:
    answer = run(installed / "pmw", "recipe", "list", cwd=elsewhere)
    assert (answer.returncode, answer.stderr) == (0, "")
    names = [line.split()[0] for line in answer.stdout.splitlines()]
    assert names == sorted(path.stem for path in (CHECKOUT / "recipes").glob("*.toml"))


def test_completions_are_those_of_the_checkout(installed: Path, elsewhere: Path) -> None:
    answer = run(installed / "pmw", "completions", "bash", cwd=elsewhere)
    assert answer.stdout == (CHECKOUT / "completions" / "pmw.bash").read_text(encoding="utf-8")


def test_a_shipped_recipe_holds_what_its_shipped_scenario_asks(
    installed: Path, elsewhere: Path
) -> None:
    answer = run(installed / "pmw", "eval", "handoff", "--quiet", cwd=elsewhere)
    assert (answer.returncode, answer.stderr) == (0, "")
    assert answer.stdout.startswith("✓ handoff/")


def test_a_call_in_words_is_answered_by_both_workers(installed: Path, elsewhere: Path) -> None:
    question = "How much are the rocket boots?"
    answer = run(
        installed / "pmw",
        "handoff",
        "--services",
        "offline",
        "--say",
        question,
        cwd=elsewhere,
    )
    assert (answer.returncode, answer.stderr) == (0, "")
    lines = answer.stdout.splitlines()
    assert lines[0].startswith("greeter: ")
    asked = lines.index(f"user: {question}")
    assert "* transfer greeter -> support" in lines[asked:]
    told = [line for line in lines[asked:] if line.startswith("support: ")]
    assert any("299" in line for line in told)
    assert lines[-1].startswith("* end ")
