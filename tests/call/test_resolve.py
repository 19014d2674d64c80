"""What is found wrong with the kinds, options, tools and services that a recipe names."""

import subprocess
import sys

import pytest

from pipecat_workers_cli.call.resolve import find_faults
from pipecat_workers_cli.recipe.load import RecipeError, load_recipe

WORKERS = '''
from pipecat.pipeline.pipeline import Pipeline
from pipecat.pipeline.worker import PipelineWorker
from pipecat.processors.filters.identity_filter import IdentityFilter
from pipecat.workers.base_worker import BaseWorker
from pipecat.workers.llm import LLMWorker
from pydantic import BaseModel, Field, field_validator

class Plain(BaseWorker):
    def __init__(self, name, *, shelf: str, copies: int = 1):
        super().__init__(name)

class Open(BaseWorker):
    def __init__(self, **options):
        super().__init__(options["name"])

class Modelled(BaseWorker):
    class Options(BaseModel):
        shelf: str = Field(default="a", max_length=3, description="a shelf: one to three letters")
        copies: int = 1

        @field_validator("copies")
        @classmethod
        def few(cls, value):
            if value > 9:
                raise ValueError("Too many, says sk-live-0123456789")
            return value // (value - 5) if value == 5 else value

    def __init__(self, name, *, shelf, copies):
        super().__init__(name)

class Nameless(BaseWorker):
    def __init__(self):
        super().__init__("fixed")

class Brainless(LLMWorker):
    def __init__(self, name):
        super().__init__(name, llm=None)

class Thinker(LLMWorker):
    """Takes what Pipecat's class takes."""

class Silent(PipelineWorker):
    def __init__(self, name):
        super().__init__(Pipeline([IdentityFilter()]), name=name)

class Clerk(LLMWorker):
    def __init__(self, name, *, llm):
        super().__init__(name, llm=llm, bridged=())

def function():
    """No class."""
'''

TOOLS = '''
async def find_order(params, number: int):
    """Find an order."""
'''


@pytest.fixture
def faults(tmp_path):
    """Return what is wrong with a recipe whose one worker has these lines, as one text each."""
    (tmp_path / "own.py").write_text(WORKERS)
    (tmp_path / "tools.py").write_text(TOOLS)

    def find(lines, *, main='prompt = "Talk."', more="", resolve=find_faults):
        path = tmp_path / "mine.toml"
        path.write_text(
            f'name = "mine"\n[main]\n{main}\n[[workers]]\nname = "one"\n{lines}\n{more}'
        )
        try:
            load_recipe(str(path), resolve=resolve)
        except RecipeError as error:
            return [str(fault).removeprefix(f"{path}:") for fault in error.faults]
        return []

    return find


@pytest.mark.parametrize(
    "lines",
    [
        'kind = "own:Plain"\noptions = { shelf = "b" }',
        'kind = "own:Open"\noptions = { anything = 1 }',
        'kind = "own:Modelled"\noptions = { shelf = "b" }',
        'kind = "own:Modelled"',
        'kind = "own:Thinker"\ntools = ["tools:find_order"]',
        'kind = "own:Silent"',
    ],
)
def test_a_class_that_fits_has_no_fault(lines, faults):
    assert faults(lines) == []


@pytest.mark.parametrize(
    ("lines", "told"),
    [
        ('kind = "own:Plan"', "6: workers.one.kind = 'own:Plan': own has nothing called 'Plan' "
         "(did you mean 'Plain'?"),
        ('kind = "gone:Plain"', "6: workers.one.kind = 'gone:Plain': there is no module 'gone' ("),
        ('kind = "specialst"', "6: workers.one.kind = 'specialst': there is no such kind "
         "(did you mean 'specialist'?"),
        ('kind = "own:function"', "6: workers.one.kind = 'own:function': this is no class of "
         "Pipecat workers (name a class derived from"),
        ('kind = "own:Nameless"', "6: workers.one.kind = 'own:Nameless': its class can't be called "
         "with name= (take it in __init__"),
        ('kind = "own:Brainless"', "6: workers.one.kind = 'own:Brainless': its class can't be "
         "called with llm= (take it in __init__"),
        ('kind = "own:Plain"', "4: workers.one.options.shelf: is missing (add it: options = "),
        ('kind = "own:Plain"\noptions = { shelf = "b", copes = 2 }',
         "7: workers.one.options.copes = 2: unknown option (did you mean 'copies'?"),
        ('kind = "own:Modelled"\noptions = { shef = "b" }',
         "7: workers.one.options.shef = 'b': unknown option (did you mean 'shelf'?"),
        ('kind = "own:Modelled"\noptions = { shelf = "long" }',
         "7: workers.one.options.shelf = 'long': string should have at most 3 characters "
         "(a shelf: one to three letters)"),
        ('kind = "own:Modelled"\noptions = { copies = 10 }',
         "7: workers.one.options.copies = 10: too many, says *** (see what its Options"),
        ('kind = "own:Modelled"\noptions = { copies = 5 }',
         "7: workers.one.options: its options can't be checked: ZeroDivisionError: integer "
         "division or modulo by zero (own.py:"),
        ('kind = "own:Silent"\ntools = ["tools:find_order"]',
         "7: workers.one.tools: a worker of the kind 'own:Silent' has no LLM that could call it "
         "(derive its class from Pipecat's LLMWorker)"),
        ('kind = "specialist"\ntools = ["tools:find_oder"]',
         "7: workers.one.tools[0] = 'tools:find_oder': tools has nothing called 'find_oder' "
         "(did you mean 'find_order'?"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_named_by_line_and_key_with_its_mend(lines, told, faults):
    (found,) = faults(lines)
    assert found.startswith(told)
    assert "\n" not in found


def test_a_tool_of_main_is_looked_at_too(faults):
    (found,) = faults('kind = "own:Silent"', main='prompt = "Talk."\ntools = ["tools:x"]')
    assert found.startswith("4: main.tools[0] = 'tools:x': tools has nothing called 'x'")


def test_who_has_no_pipeline_is_not_to_have_the_call(faults):
    agent = '[[workers]]\nname = "two"\ntransfers = ["one"]'
    plain = 'kind = "own:Plain"\noptions = { shelf = "b" }'
    opening = "opening = { worker = 'two', message = 'Hi.' }"
    for main in ("", opening):
        (found,) = faults(plain, main=main, more=agent)
        assert found.startswith(
            "6: workers.one.kind = 'own:Plain': it is to have the call, but has no pipeline ("
        )
    assert faults('kind = "own:Clerk"', main="", more=agent) == []


def test_with_a_tts_per_worker_a_class_must_take_its_voice(faults):
    (found,) = faults('kind = "own:Clerk"', main="tts_per_worker = true")
    assert found.startswith("6: workers.one.kind = 'own:Clerk': it has no voice for tts_per_worker")
    agent = 'kind = "agent"\n[[workers]]\nname = "asked"\nkind = "own:Clerk"'
    assert faults(agent, main="tts_per_worker = true") == []


def test_without_imports_user_code_is_left_alone_and_ours_is_checked(faults, tmp_path):
    (tmp_path / "own.py").write_text("raise SystemExit('imported')")

    def shape_only(recipe, folder):
        return find_faults(recipe, folder, imports=False)

    lines = 'kind = "own:Plain"\ntools = ["own:x"]\nllm = "opnai"'
    (found,) = faults(lines, resolve=shape_only)
    assert found.startswith("8: workers.one.llm")
    assert faults('kind = "anything"', resolve=shape_only) == []


def test_without_imports_no_framework_comes_in(tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text('name = "mine"\n[[workers]]\nname = "one"\n[[workers]]\nname = "two"\n'
                    'kind = "own:Plain"\n')  # fmt: skip
    program = f"""
import sys
from pipecat_workers_cli.call.resolve import find_faults
from pipecat_workers_cli.recipe.load import load_recipe
load_recipe({str(path)!r}, resolve=lambda *recipe: find_faults(*recipe, imports=False))
print("pipecat" in sys.modules)
"""
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=60
    )
    assert done.stdout.strip() == "False", done.stderr
