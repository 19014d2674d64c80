import os
import shutil
import socket
import time

import pytest

from pipecat_workers_cli.errors import ConfigurationError
from pipecat_workers_cli.recipe import files
from pipecat_workers_cli.recipe.files import shipped_path, shipped_recipes
from pipecat_workers_cli.recipe.load import RecipeError, load_recipe
from tests.recipe.shop import GOOD, fault_of, faults_of, write

pytestmark = pytest.mark.usefixtures("in_a_folder_of_its_own")

# --- which file ---


def test_the_shipped_handoff_loads():
    loaded = load_recipe("handoff")
    assert loaded.recipe.name == "handoff"
    assert [worker.name for worker in loaded.recipe.workers] == ["greeter", "support"]
    assert loaded.path == shipped_path("handoff")
    assert loaded.folder == loaded.path.parent
    assert loaded.text.encode() == loaded.path.read_bytes()


def test_every_shipped_recipe_loads():
    assert "handoff" in shipped_recipes()
    for name in shipped_recipes():
        assert load_recipe(name).recipe.name == name


def test_a_wheel_has_its_recipes_inside_the_package(tmp_path, monkeypatch):
    package = tmp_path / "site-packages" / "pipecat_workers_cli"
    shutil.copytree(shipped_path("handoff").parent, package / "recipes")
    (package.parent / "recipes").mkdir()  # some other package's
    monkeypatch.setattr(files, "_PACKAGE", package)
    assert shipped_path("handoff") == package / "recipes" / "handoff.toml"
    assert load_recipe("handoff").recipe.name == "handoff"


def test_a_slash_or_an_ending_makes_a_path(tmp_path):
    write(tmp_path, GOOD)
    write(tmp_path, GOOD, "plain")
    by_path = [load_recipe(ref) for ref in ("mine.toml", "./mine.toml", "./plain")]
    assert {loaded.recipe.name for loaded in by_path} == {"shop"}
    assert by_path[0].path == tmp_path / "mine.toml"


@pytest.mark.parametrize(
    ("name", "mend"),
    [
        ("handof", "did you mean 'handoff'?"),
        ("", "choose one of"),
        ("mine", "./mine.toml"),
        ("..", "pmw recipe list"),
    ],
)
def test_an_unknown_name_gets_a_near_miss(name, mend, tmp_path):
    write(tmp_path, GOOD)
    with pytest.raises(ConfigurationError) as raised:
        load_recipe(name)
    assert f"'{name}'" in raised.value.what
    assert mend in raised.value.mend


@pytest.mark.parametrize(
    "ref", ["./nope.toml", "/nowhere/nope.toml", "nope.toml", "a\0b.toml", "./"]
)
def test_what_is_no_file_is_told_in_two_lines(ref):
    with pytest.raises(ConfigurationError) as raised:
        load_recipe(ref)
    assert raised.value.what
    assert raised.value.mend


def test_a_name_too_long_or_a_loop_of_links_is_no_file(tmp_path):
    (tmp_path / "loop.toml").symlink_to("loop.toml")
    for ref in ("./loop.toml", "./" + "a" * 5000):
        with pytest.raises(ConfigurationError):
            load_recipe(ref)


def test_a_file_that_cannot_be_read_is_told(tmp_path):
    path = write(tmp_path, GOOD)
    path.chmod(0)
    # Root may read any file, but not its own memory at address 0.
    ref = "/proc/self/mem" if os.geteuid() == 0 else str(path)
    with pytest.raises(ConfigurationError) as raised:
        load_recipe(ref)
    assert raised.value.what in {f"{ref}: permission denied", f"{ref}: input/output error"}
    assert raised.value.mend == "name a file that you may read"


@pytest.mark.timeout(5)
def test_a_pipe_a_socket_or_a_device_is_refused_and_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe.toml")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind("socket.toml")
        for ref in ("./pipe.toml", "/dev/zero", "./socket.toml"):
            with pytest.raises(ConfigurationError, match="pipe or a device"):
                load_recipe(ref)


def test_a_file_of_50_mb_is_refused_at_once(tmp_path):
    with (tmp_path / "big.toml").open("wb") as file:
        file.truncate(50_000_000)
    started = time.process_time()
    with pytest.raises(ConfigurationError) as raised:
        load_recipe("./big.toml")
    assert time.process_time() - started < 0.1
    assert raised.value.what == "big.toml: 50,000,000 bytes are too many"
    assert "1,000,000" in raised.value.mend


def test_a_file_of_exactly_one_mb_is_read(tmp_path):
    text = GOOD + "#" * (1_000_000 - len(GOOD))
    write(tmp_path, text)
    assert load_recipe("./mine.toml").recipe.name == "shop"
    write(tmp_path, text + "#")
    with pytest.raises(ConfigurationError):
        load_recipe("./mine.toml")


# --- text and TOML ---


def test_a_file_that_is_not_utf8_names_the_line(tmp_path):
    (tmp_path / "mine.toml").write_bytes(GOOD.encode() + 'summary = "Käse"'.encode("latin-1"))
    with pytest.raises(RecipeError) as raised:
        load_recipe("./mine.toml")
    assert raised.value.what == "mine.toml:13: this is not UTF-8 text"
    assert "UTF-8" in raised.value.mend


def test_a_byte_order_mark_and_windows_line_ends_are_welcome(tmp_path):
    (tmp_path / "mine.toml").write_bytes(b"\xef\xbb\xbf" + GOOD.replace("\n", "\r\n").encode())
    assert load_recipe("./mine.toml").recipe.worker("support").prompt == "You know prices."


@pytest.mark.parametrize(
    ("tail", "line", "mend"),
    [
        ('script = [\n { match = "\\d+", say = "x" },\n]', 14, r"single quotes: match = '\d+'"),
        ("summary = hello", 13, "quotes"),
        ("summary 'x'", 13, "KEY = VALUE"),
        ('prompt = "y"\nkind = "agent"', 13, "already"),
        ("script = [\n  { say = 'x' }\n  { say = 'y' }\n]", 15, "comma"),
        ('summary = "a\nb"', 13, '"""'),
        ('voice = { piper = "a",\n cartesia = "b" }', 13, "stands on one line"),
        ('summary = """\nnever\nclosed\n', 13, "close the quotes"),
        ("[main]", 13, "already"),
        ("delay = " + "1" * 5000, None, "shorter"),
        ("x = " + "[" * 100_000, None, "levels"),
        ("x" + ".x" * 10 + " = 1", 13, "tables"),
    ],
)
def test_what_is_not_toml_is_told_with_line_and_mend(tail, line, mend, tmp_path):
    (fault,) = faults_of(GOOD + tail, tmp_path)
    assert fault.line == line
    assert mend in fault.mend


def test_a_backslash_in_double_quotes_names_its_key(tmp_path):
    assert fault_of(GOOD + 'script = [{ match = "\\d+", say = "x" }]', tmp_path) == (
        "mine.toml:13: match: not TOML: Unescaped '\\' in a string (a backslash in double quotes "
        r"begins an escape; use single quotes: match = '\d+')"
    )


def test_an_empty_file_lacks_a_name_and_workers(tmp_path):
    assert [(fault.line, fault.key) for fault in faults_of("", tmp_path)] == [
        (1, "name"),
        (1, "workers"),
    ]
