"""A first recipe: what is written, what is refused, and that it runs as it is."""

import subprocess

import pytest

from pipecat_workers_cli.errors import ConfigurationError, PmwError
from pipecat_workers_cli.recipe.load import load_recipe
from pipecat_workers_cli.recipe.new import new_recipe, write_recipe
from pipecat_workers_cli.recipe.schema import SCHEMA_FILE, render_schema
from tests.program import PMW


def test_it_is_right_and_teaches_transfers_a_job_a_filler_a_script_and_voices(tmp_path):
    assert write_recipe("shop", tmp_path) == [tmp_path / "shop.toml", tmp_path / SCHEMA_FILE]
    recipe = load_recipe(str(tmp_path / "shop.toml")).recipe
    assert recipe.name == "shop"
    assert {worker.kind for worker in recipe.workers} == {"agent", "specialist"}
    desk = recipe.worker("desk")
    assert desk.transfers
    assert desk.jobs[0].filler is not None
    assert desk.voice_for("piper")
    assert all(worker.script and worker.prompt for worker in recipe.workers)


def test_it_can_be_read_in_two_minutes():
    text = new_recipe("shop")
    assert "@" not in text
    assert len(text.splitlines()) < 80
    assert len(text.split()) < 800


@pytest.mark.parametrize(
    ("name", "mend"),
    [
        ("Shop", "pmw recipe new shop"),
        ("shop.toml", "pmw recipe new shop"),
        ("./folder/shop.toml", "pmw recipe new shop"),
        ("../shop", "pmw recipe new shop"),
        ("", "begin with a lower-case letter"),
        ("1st", "begin with a lower-case letter"),
        ("a b", "begin with a lower-case letter"),
        ("shop\n", "begin with a lower-case letter"),
        ("a" * 41, "begin with a lower-case letter"),
    ],
)
def test_a_name_is_a_name_and_no_path(name, mend, tmp_path):
    with pytest.raises(ConfigurationError) as raised:
        write_recipe(name, tmp_path)
    assert raised.value.mend.startswith(mend)
    assert "\n" not in raised.value.what + raised.value.mend
    assert list(tmp_path.iterdir()) == []


def test_nothing_is_overwritten(tmp_path):
    (tmp_path / "shop.toml").write_text("mine")
    (tmp_path / SCHEMA_FILE).write_text("mine too")
    with pytest.raises(ConfigurationError, match="is there already"):
        write_recipe("shop", tmp_path)
    assert write_recipe("other", tmp_path) == [tmp_path / "other.toml"]
    assert (tmp_path / "shop.toml").read_text() == "mine"
    assert (tmp_path / SCHEMA_FILE).read_text() == "mine too"


def test_a_link_that_leads_nowhere_is_not_written_through(tmp_path):
    (tmp_path / "shop.toml").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(ConfigurationError, match="is there already"):
        write_recipe("shop", tmp_path)


def test_a_folder_that_cannot_be_written_is_told(tmp_path):
    with pytest.raises(PmwError, match="cannot write") as raised:
        write_recipe("shop", tmp_path / "nowhere")
    assert raised.value.exit_code == 1


def test_the_command_says_what_it_wrote_and_what_to_try(tmp_path):
    command = [*PMW, "recipe", "new", "shop"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=30)
    assert (done.returncode, done.stdout) == (0, f"wrote shop.toml\nwrote {SCHEMA_FILE}\n")
    assert [line.split()[:3] for line in done.stderr.splitlines()] == [
        ["try:"],
        ["pmw", "run", "./shop.toml"],
        ["pmw", "recipe", "graph"],
        ["pmw", "recipe", "check"],
    ]
    assert (tmp_path / SCHEMA_FILE).read_text(encoding="utf-8") == render_schema()
    again = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=30)
    assert again.returncode == 2
    assert again.stderr.splitlines()[0] == "error: shop.toml is there already"
