"""A package of somebody else's adds a kind, a provider and a tool, installed as a user would."""

import json
import shutil
from pathlib import Path

import pytest

from tests.installing import CHECKOUT, add, run

SOURCE = CHECKOUT / "tests" / "added_package"
KEY = {"PARROT_API_KEY": "parrot-key-0123456789"}

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(240),
    pytest.mark.xdist_group("installed"),
]


@pytest.fixture(scope="module")
def pmw(uv: str, installed: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The program, in an environment to which the package was added."""
    source = tmp_path_factory.mktemp("added") / "source"
    shutil.copytree(SOURCE, source)  # a build leaves files behind
    add(uv, installed, source)
    return installed / "pmw"


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    return Path(shutil.copy(SOURCE / "recipe.toml", tmp_path / "acme.toml"))


def test_a_recipe_names_its_kind_its_provider_and_its_tool(pmw: Path, recipe: Path) -> None:
    turns = ("--say", "Count the boots", "--say", "reverse", "--say", "hello")
    held = run(pmw, "run", recipe, *turns, cwd=recipe.parent, **KEY)
    assert (held.returncode, held.stderr) == (0, "")
    said = [line for line in held.stdout.splitlines() if line.startswith("desk: ")]
    assert said == [
        'desk: DESK SAYS: "12 LEFT"',
        'desk: DESK SAYS: "ESREVER"',
        "desk: DESK SAYS: HELLO",
    ]


def test_a_typed_provider_wins_and_a_missing_key_is_told_before(pmw: Path, recipe: Path) -> None:
    def hold(llm: str, **variables: str) -> tuple[int, str]:
        words = ("--llm", llm, "--say", "hello")
        done = run(pmw, "run", recipe, *words, cwd=recipe.parent, **variables)
        return done.returncode, done.stdout + done.stderr

    code, told = hold("parrot:calm", **KEY)
    assert (code, told.splitlines()[-2]) == (0, "desk: desk says: hello")
    code, told = hold("parrot")
    assert (code, told.splitlines()[0]) == (1, "error: llm by parrot: PARROT_API_KEY is not set")


def test_the_doctor_looks_at_it_when_it_is_named(pmw: Path, tmp_path: Path, free_port: int) -> None:
    words = ("doctor", "--llm", "parrot", "--json", "--port", str(free_port))
    for variables, state in ((KEY, "ok"), ({}, "wrong")):
        done = run(pmw, *words, cwd=tmp_path, **variables)
        found = {row["name"]: row for row in map(json.loads, done.stdout.splitlines())}
        assert found["llm by parrot"]["state"] == state, done.stderr
        assert KEY["PARROT_API_KEY"] not in done.stdout


def test_a_recipe_is_checked_by_the_model_of_its_kinds_options(pmw: Path, recipe: Path) -> None:
    wrong = recipe.with_name("wrong.toml")
    wrong.write_text(recipe.read_text().replace("boots = 12", "boots = 'many'"))
    checked = run(pmw, "recipe", "check", recipe, wrong, cwd=recipe.parent)
    assert checked.returncode == 2
    assert checked.stdout.startswith(f"{recipe}: ok\n")
    assert "workers.shelf.options.stock.boots = 'many'" in checked.stdout
    assert "(write { THING = HOW_MANY })" in checked.stdout
