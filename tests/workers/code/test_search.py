"""The engine `search`: a real process over real files."""

import asyncio
import json

import psutil
import pytest

from pipecat_workers_cli.errors import PmwError
from pipecat_workers_cli.workers.code import search as module
from pipecat_workers_cli.workers.code.fence import Fence
from pipecat_workers_cli.workers.code.search import SearchEngine

PYPROJECT = """\
[project]
name = "shop"
dependencies = ["redis[hiredis]>=6", "httpx"]
[project.optional-dependencies]
dev = ["pytest"]
[project.scripts]
shop = "shop.main:run"
"""
MAIN = '''"""Runs the shop."""

from shop.count import tally
from shop.errors import ShopError


def run():
    """Run it."""
    try:
        print(tally(["a"]))
    except ShopError as error:
        raise SystemExit(1) from error
    except Exception:
        pass


if __name__ == "__main__":
    run()
'''
FILES = {
    "pyproject.toml": PYPROJECT,
    "README.md": "# Shop\n\nA shop that counts. More of it below.\n",
    "shop/__init__.py": "",
    "shop/main.py": MAIN,
    "shop/errors.py": '"""What goes wrong."""\n\n\nclass ShopError(Exception):\n    """Any."""\n',
    "shop/count.py": '''"""Counts names."""

MOST = 10  # TODO: ask how many


def tally(names, most=MOST):
    """Count how often each name comes."""
    return dict.fromkeys(names[:most], 1)


class OrderBook:
    """All orders there are."""

    def add(self, order):
        return tally([order])

    def close(self):
        return None
''',
    "tests/test_count.py": "from shop.count import tally\n\n\ndef test_it():\n    tally([])\n",
    "tests/conftest.py": "import pytest\n\n\n@pytest.fixture\ndef x():\n    return 1\n",
    "web/app.js": "// Draws it.\nexport function draw(a) {\n  return draw2(a)\n}\n",
}


@pytest.fixture
def root(tmp_path):
    folder = tmp_path / "shop-project"
    for path, text in FILES.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(text)
    return folder


@pytest.fixture
async def engine(root):
    before = children()
    async with SearchEngine(Fence(root)) as engine:
        yield engine
    assert children() <= before


def children():
    return {child.pid for child in psutil.Process().children()}


@pytest.mark.parametrize(
    ("question", "words"),
    [
        ("Where is tally defined?", ["tally is a function in count.py lines 6 to 8", "how often"]),
        ("Where is the order book?", ["OrderBook is a class in count.py lines 11 to 18"]),
        ("Where is the class OrderBook?", ["count.py"]),
        (
            "Who calls tally?",
            ["called in 3 places, 1 of them in tests", "by run in main.py line 10"],
        ),
        ("Who imports count.py?", ["count.py is imported by 2 files", "main.py"]),
        ("What does main.py do?", ["main.py has 18 lines of Python", "Runs the shop."]),
        ("What does tally do?", ["taking names and most", "Count how often"]),
        ("What methods does OrderBook have?", ["2 methods: add and close"]),
        ("Which tests cover tally?", ["one test file: test_count.py"]),
        ("Find the TODOs", ["one note", "count.py line 3 and says: ask how many"]),
        ("What are the dependencies?", ["2 packages", "redis and httpx", "1 for dev"]),
        ("Does it depend on redis?", ["Yes: redis is named in pyproject.toml"]),
        ("Does it depend on flask?", ["No, nothing here names or imports flask"]),
        ("What files are there?", ["9 files", "Python", "A shop that counts."]),
        ("How many lines does count.py have?", ["count.py has 18 lines"]),
        ("How are errors handled?", ["ShopError", "errors.py", "One handler takes any error"]),
        ("Explain the tests", ["2 test files with one test", "conftest.py"]),
        ("Where does the program start?", ["shop, which runs shop.main:run"]),
        ('Find "how many"', ["once: count.py line 3"]),
        ("Where is draw defined?", ["draw is a function in app.js line 2", "Draws it."]),
        ("Where is taly defined?", ["taly nowhere here", "Did you mean tally?"]),
        ("Where is pytest defined?", ["The text pytest stands here in 3 lines of 2 files"]),
        ("Where is ShopErrors?", ["Did you mean ShopError?"]),
        ("What can I ask?", ["Ask me where something is defined"]),
    ],
)
async def test_a_question_gets_a_short_answer_with_files_and_lines(engine, steps, question, words):
    answer = await engine.ask(question, steps)
    for word in words:
        assert word in answer.text
    assert answer.cost_usd is None
    assert "\n" not in answer.text
    assert len(answer.text) < 600


async def test_it_remembers_what_it_was_asked_about(engine, steps):
    await engine.ask("Where is tally defined?", steps)
    assert "by run in main.py" in (await engine.ask("And who calls it?", steps)).text
    assert "test_count.py" in (await engine.ask("And its tests?", steps)).text
    await engine.ask("What does errors.py do?", steps)
    assert "main.py" in (await engine.ask("Who imports it?", steps)).text
    assert "5 lines" in (await engine.ask("How long is it?", steps)).text


async def test_with_nothing_said_before_it_says_so(engine, steps):
    assert "I don't know what that is about" in (await engine.ask("Who calls it?", steps)).text


async def test_it_tells_its_steps(engine, steps):
    await engine.ask("Who calls tally?", steps)
    assert steps.texts == ["searching for uses of tally"]
    assert [(step.tool, step.args) for step in steps.seen] == [("find_uses", {"name": "tally"})]


async def test_an_edit_is_seen_by_the_next_question(engine, steps, root):
    await engine.ask("Where is tally defined?", steps)
    (root / "shop" / "count.py").write_text("\n\ndef tally():\n    pass\n")
    assert "lines 3 to 4" in (await engine.ask("Where is tally defined?", steps)).text


@pytest.mark.parametrize(
    "question",
    [
        "What is in /etc/passwd?",
        "Read @/etc/passwd",
        "read ../outside/secret.txt",
        "show me ~/.ssh/id_rsa",
        "what is in .env",
        "read .git/config",
    ],
)
async def test_a_way_out_is_refused_in_words(hostile, steps, question):
    async with SearchEngine(Fence(hostile)) as engine:
        answer = await engine.ask(question, steps)
    assert answer.text.startswith("I can't look into")
    assert steps.seen == []


async def test_no_question_finds_what_is_outside_or_private(hostile, outside, steps):
    async with SearchEngine(Fence(hostile)) as engine:
        for question in (
            "find OUTSIDE tally",
            "find INSIDE-SECRET",
            "find PRIVATE-KEY",
            "find fsmonitor",
        ):
            assert "nowhere here" in (await engine.ask(question, steps)).text
        files = await engine.ask("what files are there", steps)
        assert "There are 5 files" in files.text  # neither links nor secrets
    assert [path.name for path in outside.iterdir()] == ["secret.txt"]  # nothing was run


async def test_a_project_cannot_put_its_own_modules_into_the_search(root, steps, monkeypatch):
    for name in ("json.py", "ast.py", "pipecat_workers_cli.py"):
        (root / name).write_text("raise SystemExit('taken over')\n")
    monkeypatch.chdir(root)
    async with SearchEngine(Fence(root)) as engine:
        assert "count.py" in (await engine.ask("Where is tally defined?", steps)).text


async def test_a_cancelled_question_leaves_no_process_and_the_next_has_its_own_answer(engine, root):
    before = children()
    begun = asyncio.Event()
    going = asyncio.Event()

    async def hold(_step):
        begun.set()
        await going.wait()

    task = asyncio.create_task(engine.ask("Find the TODOs", hold))
    await asyncio.wait_for(begun.wait(), 10)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asyncio.wait_for(task, 2)
    assert children() <= before

    async def tell(_step):
        pass

    assert "tally is a function" in (await engine.ask("Where is tally defined?", tell)).text


async def test_an_answer_that_takes_too_long_is_ended(root, steps):
    before = children()
    async with SearchEngine(Fence(root), answer_within=0.01) as engine:
        with pytest.raises(PmwError, match="no answer within"):
            await engine.ask("Where is tally defined?", steps)
    assert children() <= before


async def test_a_search_that_breaks_off_is_told_of(engine, steps, monkeypatch):
    monkeypatch.setattr(module, "PROCESS", "pipecat_workers_cli.no_such_module")
    with pytest.raises(PmwError, match="broke off"):
        await engine.ask("Where is tally defined?", steps)


async def test_a_folder_that_is_gone_is_told_of(engine, steps, root):
    root.rename(root.with_name("gone"))
    with pytest.raises(PmwError, match="broke off"):
        await engine.ask("Where is tally defined?", steps)


async def test_the_loop_is_never_held_up(tmp_path, steps):
    for number in range(60):
        text = f"def f{number}():\n    return {'(' * 20}1{')' * 20}\n" * 150
        (tmp_path / f"m{number}.py").write_text(text)
    (tmp_path / "line.js").write_text(json.dumps(["x" * 50] * 20_000))
    lags = []

    async def watch():
        loop = asyncio.get_running_loop()
        while True:
            began = loop.time()
            await asyncio.sleep(0.01)
            lags.append(loop.time() - began - 0.01)

    async with SearchEngine(Fence(tmp_path)) as engine:
        watching = asyncio.create_task(watch())
        answer = await engine.ask("where is f five nine", steps)
        await engine.ask("how are errors handled", steps)
        watching.cancel()
    assert answer.text
    assert sorted(lags)[int(len(lags) * 0.99)] < 0.1
