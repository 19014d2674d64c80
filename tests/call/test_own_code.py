"""A recipe's own code: where it is found, what it may import, what is said when it fails."""

import sys

import pytest

from pipecat_workers_cli.call.own_code import load_own, load_tool
from pipecat_workers_cli.errors import ConfigurationError

SECRET = "sk-live-0123456789abcdef"


@pytest.fixture
def folder(tmp_path):
    """A recipe's folder; called with file names and texts, it holds them."""

    def hold(name="here", **files):
        place = tmp_path / name
        for stem, text in files.items():
            path = place / f"{stem.replace('__', '/')}.py"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        return place

    return hold


def fault(reference, folder):
    with pytest.raises(ConfigurationError) as caught:
        load_own(reference, folder)
    return caught.value.what, caught.value.mend


def test_a_module_beside_the_recipe_comes_before_one_of_the_environment(folder):
    here = folder(colorsys="WHOSE = 'mine'")
    assert load_own("colorsys:WHOSE", here) == "mine"
    assert load_own("colorsys:rgb_to_hsv", folder("bare", other="")) is not None


def test_only_those_beside_it_see_a_module_that_is_called_like_a_library(folder):
    here = folder(colorsys="WHOSE = 'mine'", tools="import colorsys\nWHOSE = colorsys.WHOSE")
    assert load_own("tools:WHOSE", here) == "mine"
    import colorsys

    assert not hasattr(colorsys, "WHOSE")


def test_two_folders_may_have_modules_of_the_same_name_with_siblings_of_the_same_name(folder):
    texts = {"tools": "from words import HELLO\ndef later():\n    import words\n    return words"}
    one = folder("one", words="HELLO = 'one'", **texts)
    two = folder("two", words="HELLO = 'two'", **texts)
    assert [load_own("tools:HELLO", place) for place in (one, two)] == ["one", "two"]
    # What is imported when a function runs is the same module as before.
    assert [load_own("tools:later", place)().HELLO for place in (one, two)] == ["one", "two"]
    assert load_own("tools:later", one)() is load_own("tools:later", one)()


@pytest.mark.parametrize(
    "line",
    [
        "from shop.words import HELLO",
        "from .words import HELLO",
        "import shop.words\nHELLO = shop.words.HELLO",
        "from shop import words\nHELLO = words.HELLO",
        "from shop.words import *",
        "import shop.words as w\nHELLO = w.HELLO",
    ],
)
@pytest.mark.parametrize("packaged", [True, False])
def test_a_package_beside_the_recipe_imports_its_parts_in_every_way(line, packaged, folder):
    files = {"shop____init__": ""} if packaged else {}
    here = folder(shop__words="HELLO = 'hi'", shop__tools=line, **files)
    assert load_own("shop.tools:HELLO", here) == "hi"


def test_a_module_is_read_once_whoever_names_it(folder):
    here = folder(tools="import log\nlog.READ.append(1)\nREAD = log.READ", log="READ = []")
    load_own("tools:READ", here)
    assert load_own("log:READ", here) == [1]
    assert load_own("tools:READ", here.parent / "here" / ".." / "here") == [1]


def test_a_failed_import_may_be_tried_again(folder):
    here = folder(tools="raise ValueError('not yet')")
    fault("tools:x", here)
    (here / "tools.py").write_text("x = 'mended, and longer than before'")
    assert load_own("tools:x", here).startswith("mended")


@pytest.mark.parametrize(
    ("reference", "text", "what", "mend"),
    [
        ("nowhere:x", "", "there is no module 'nowhere'", "put nowhere.py beside the recipe"),
        ("a.b.c:x", "", "there is no module 'a.b.c'", "put a/b/c.py beside the recipe"),
        ("json.nope:x", "", "there is no module 'json.nope'", "put json/nope.py beside"),
        ("tools:x", "import nowhere_at_all.deep", "tools needs the module 'nowhere_at_all'",
         "install it beside pmw: uv pip install nowhere_at_all"),
        ("tools:fid", "def find(): ...", "tools has nothing called 'fid'", "did you mean 'find'?"),
        ("tools:x", "def (", "tools can't be imported: SyntaxError: invalid syntax (tools.py,",
         "mend the code"),
        ("tools:x", "\n\nint('a')", "tools can't be imported: ValueError: invalid literal for "
         "int() with base 10: 'a' (tools.py:3)", "mend the code"),
        ("tools:x", "import sys\nsys.exit(3)", "tools can't be imported: SystemExit: 3", "mend"),
        ("tools:x", "raise ValueError('one\\ntwo\\x1b[31m')",
         "tools can't be imported: ValueError: one (tools.py:1)", "mend the code"),
    ],
)  # fmt: skip
def test_code_that_cannot_be_had_is_told_in_two_lines(reference, text, what, mend, folder):
    told, mended = fault(reference, folder(tools=text))
    assert told.startswith(what)
    assert mended.startswith(mend)
    assert "\n" not in told + mended
    assert "pmw_recipe" not in told + mended


def test_what_an_import_raises_is_told_without_its_secrets(folder, monkeypatch):
    monkeypatch.setenv("SHOP_TOKEN", "hush-hush-hush")
    text = f"raise OSError('{SECRET} at https://me:pw123@host and hush-hush-hush')"
    told, _ = fault("tools:x", folder(tools=text))
    assert told.startswith("tools can't be imported: OSError: ***")
    assert not [word for word in (SECRET, "pw123", "hush") if word in told]


def test_a_function_becomes_a_tool_as_its_docstring_and_its_types_say(folder):
    here = folder(
        tools='''
async def find_order(params, number: int, gift: bool = False):
    """Find an order.

    Args:
        number: As on the receipt.
        gift: Whether it is one.
    """
'''
    )
    tool = load_tool("tools:find_order", here)
    assert (tool.name, tool.schema.description) == ("find_order", "Find an order.")
    assert tool.schema.required == ["number"]
    assert tool.schema.properties["number"] == {
        "type": "integer",
        "description": "As on the receipt.",
    }


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("f = 3", "this is no function"),
        ("def f(params): ...", "this is no tool: Direct function f must be async"),
        ("async def f(x): ...", "this is no tool: Direct function f first parameter"),
        ("async def f(params, x: 'Nope'): ...", "this is no tool: NameError: name 'Nope'"),
    ],
)
def test_what_is_no_tool_is_told_with_how_to_write_one(text, what, folder):
    with pytest.raises(ConfigurationError) as caught:
        load_tool("tools:f", folder(tools=text))
    assert caught.value.what.startswith(what)
    assert caught.value.mend.startswith("write async def NAME(params, …)")


def test_nothing_of_a_folder_gets_onto_the_path(folder):
    before = list(sys.path)
    load_own("tools:x", folder(tools="x = 1"))
    assert sys.path == before
