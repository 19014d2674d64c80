import os
import tomllib

import pytest

from pipecat_workers_cli.recipe.load import RecipeError, load_recipe
from tests.recipe.shop import GOOD, fault_of, faults_of, write

pytestmark = pytest.mark.usefixtures("in_a_folder_of_its_own")

WITH_FILE = GOOD.replace('prompt = "You know prices."', 'prompt_file = "prompts/support.md"')


def prompt(tmp_path, content, name="support.md"):
    (tmp_path / "prompts").mkdir(exist_ok=True)
    path = tmp_path / "prompts" / name
    path.write_bytes(content)
    return path


def test_a_prompt_file_becomes_the_prompt(tmp_path):
    write(tmp_path, WITH_FILE)
    prompt(tmp_path, b"You know ${PRICES}.\n")
    worker = load_recipe("./mine.toml").recipe.worker("support")
    assert worker.prompt == "You know ${PRICES}.\n"
    assert worker.prompt_file is None


def test_the_main_worker_may_have_its_prompt_in_a_file_too(tmp_path):
    write(tmp_path, 'name = "m"\n[main]\nprompt_file = "prompts/main.md"\n' + SPECIALIST)
    prompt(tmp_path, b"You moderate.", name="main.md")
    main = load_recipe("./mine.toml").recipe.main
    assert (main.prompt, main.prompt_file) == ("You moderate.", None)
    (tmp_path / "prompts" / "main.md").unlink()
    with pytest.raises(RecipeError) as refused:
        load_recipe("./mine.toml")
    (fault,) = refused.value.faults
    assert (fault.line, fault.key) == (3, "main.prompt_file")


SPECIALIST = '[[workers]]\nname = "critic"\nkind = "specialist"\nprompt = "You doubt."\n'


def test_a_loaded_recipe_names_all_files_that_it_was_read_from(tmp_path):
    write(tmp_path, WITH_FILE)
    file = prompt(tmp_path, b"words")
    assert load_recipe("./mine.toml").files == (tmp_path / "mine.toml", file)


def test_a_prompt_file_is_found_beside_the_recipe_from_wherever_one_stands(tmp_path, monkeypatch):
    path = write(tmp_path, WITH_FILE)
    prompt(tmp_path, b"words")
    monkeypatch.chdir("/")
    assert load_recipe(str(path)).recipe.worker("support").prompt == "words"


def test_the_main_worker_may_have_a_prompt_file_too(tmp_path):
    text = 'name = "x"\n[main]\nprompt_file = "prompts/support.md"\n[[workers]]\n'
    text += 'name = "sage"\nkind = "specialist"\n'
    prompt(tmp_path, b"You moderate.")
    write(tmp_path, text)
    main = load_recipe("./mine.toml").recipe.main
    assert (main.prompt, main.prompt_file) == ("You moderate.", None)
    (tmp_path / "prompts" / "support.md").unlink()
    assert fault_of(text, tmp_path).startswith("mine.toml:3: main.prompt_file = 'prompts/")


@pytest.mark.parametrize(
    "name", ["/etc/passwd", "../outside.md", "prompts/../../outside.md", "link"]
)
def test_a_prompt_file_stays_in_the_recipes_folder(name, tmp_path):
    folder = tmp_path / "inner"
    folder.mkdir()
    (tmp_path / "outside.md").write_text("secret")
    (folder / "link").symlink_to(tmp_path / "outside.md")
    write(folder, WITH_FILE.replace("prompts/support.md", name))
    with pytest.raises(RecipeError) as raised:
        load_recipe("inner/mine.toml")
    assert raised.value.what == (
        f"inner/mine.toml:11: workers.support.prompt_file = '{name}': not in the recipe's folder"
    )


@pytest.mark.parametrize(
    ("content", "what"),
    [
        (None, "there is no such file"),
        (b"\xff\xfe", "not UTF-8 text"),
        (b"", "is empty"),
        (b"x" * 20_001, "is longer than 20000 characters"),
        (b"x" * 80_001, "80,001 bytes are too many"),
    ],
)
def test_a_prompt_file_that_cannot_be_had_is_a_fault_of_its_key(content, what, tmp_path):
    if content is not None:
        prompt(tmp_path, content)
    (fault,) = faults_of(WITH_FILE, tmp_path)
    assert (fault.line, fault.key) == (11, "workers.support.prompt_file")
    assert what in fault.what


def test_a_prompt_files_name_that_a_variable_holds_is_never_printed(tmp_path, monkeypatch):
    monkeypatch.setenv("SECRET", "hunter2")
    text = WITH_FILE.replace("prompts/support.md", "${SECRET}.md")
    assert fault_of(text, tmp_path) == (
        "mine.toml:11: workers.support.prompt_file = '${SECRET}.md': there is no such file "
        "(look for a typo in the path)"
    )


def test_a_folder_or_a_pipe_is_no_prompt_file(tmp_path):
    (tmp_path / "prompts" / "support.md").mkdir(parents=True)
    assert "this is a folder" in fault_of(WITH_FILE, tmp_path)
    (tmp_path / "prompts" / "support.md").rmdir()
    os.mkfifo(tmp_path / "prompts" / "support.md")
    assert "pipe or a device" in fault_of(WITH_FILE, tmp_path)


def test_a_prompt_and_a_prompt_file_are_one_too_many(tmp_path):
    prompt(tmp_path, b"words")
    fault = fault_of(WITH_FILE + 'prompt = "You know prices."', tmp_path)
    assert "mine.toml:11: workers.support.prompt_file = 'prompts/support.md': there is a" in fault


# --- hash ---


def test_the_hash_tells_apart_files_sets_and_prompt_files(tmp_path):
    def digest(*sets):
        return load_recipe("./mine.toml", sets=sets).hash

    write(tmp_path, WITH_FILE)
    prompt(tmp_path, b"one")
    first = digest()
    assert len(first) == 12
    assert int(first, 16) >= 0
    assert digest() == first
    different = {first, digest("main.name=b"), digest("main.name=b", "main.name=b")}
    prompt(tmp_path, b"two")
    different.add(digest())
    write(tmp_path, WITH_FILE + "# a comment\n")
    different.add(digest())
    assert len(different) == 5


def test_the_text_is_the_files(tmp_path):
    write(tmp_path, GOOD)
    loaded = load_recipe("./mine.toml", sets=["main.name=other"])
    assert loaded.text == GOOD
    assert tomllib.loads(loaded.text)["main"]["name"] == "acme"
