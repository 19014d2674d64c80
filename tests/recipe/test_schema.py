"""The JSON Schema: what the loader takes it takes, and what has a wrong shape it refuses."""

import json
import tomllib
from collections.abc import Iterator, Mapping

import pytest
from jsonschema import Draft202012Validator

from pipecat_workers_cli.recipe.explain import _PATTERNS
from pipecat_workers_cli.recipe.files import shipped_path, shipped_recipes
from pipecat_workers_cli.recipe.load import load_recipe
from pipecat_workers_cli.recipe.new import new_recipe
from pipecat_workers_cli.recipe.schema import (
    SCHEMA_FILE,
    SCHEMA_LINE,
    VARIABLE_PATTERN,
    recipe_schema,
    render_schema,
)
from tests.recipe.reading import EXAMPLES, faults_in

WORKER = 'name = "x"\n[[workers]]\nname = "a"\n'
MAIN = 'name = "x"\n[[workers]]\nname = "a"\n[main]\n'


@pytest.fixture(scope="module")
def validator() -> Draft202012Validator:
    schema = recipe_schema()
    Draft202012Validator.check_schema(schema)
    return Draft202012Validator(schema)


def test_the_shipped_schema_is_that_of_the_models_today():
    shipped = shipped_path("handoff").with_name(SCHEMA_FILE)
    assert shipped.read_text(encoding="utf-8") == render_schema(), (
        "run python -m pipecat_workers_cli.recipe.schema"
    )


@pytest.mark.parametrize("name", shipped_recipes())
def test_an_editor_finds_the_schema_by_a_shipped_recipes_first_line_and_is_content(name):
    path = shipped_path(name)
    text = path.read_text(encoding="utf-8")
    mark, _, reference = text.splitlines()[0].partition(" ")
    assert mark == "#:schema"
    schema = json.loads((path.parent / reference).read_text(encoding="utf-8"))
    assert schema["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    Draft202012Validator(schema).validate(tomllib.loads(text))


@pytest.mark.parametrize("name", EXAMPLES)
def test_the_examples_of_the_format_are_valid(name, validator):
    validator.validate(tomllib.loads(EXAMPLES[name]))


def test_a_new_recipe_is_valid_and_names_its_schema(validator):
    text = new_recipe("shop")
    assert text.startswith(f"{SCHEMA_LINE}\n")
    validator.validate(tomllib.loads(text))


@pytest.mark.parametrize(
    "line",
    [
        'llm = "openai:gpt-4.1"',
        'llm = { use = "openai:gpt-4.1", temperature = 0.2 }',
        'voice = "joe"',
        'voice = { piper = "joe", cartesia = "71a7ad14" }',
        'script = [{ say = "x" }, { say = ["x", "y"] }, { call = "end_conversation" }]',
        'script = [{ match = \'\\bhi\\b\', on = "tool:end_conversation", say = "x", delay = 1 }]',
        'kind = "acme.workers:Porter"',
        'kind = "installed-one"',
        "options = { a = 1, b = [2], c = { d = true } }",
        'tools = ["acme_tools:find", "acme.tools:find_more"]',
        'summary = "Käse für alle"',
        'prompt = "${X:-y}"',
        'kind = "${KIND:-agent}"',
        'transfers = ["${WHO:-b}"]',
    ],
)
def test_what_the_loader_takes_is_valid(line, validator, tmp_path):
    text = f'{WORKER}{line}\n[[workers]]\nname = "b"\n'
    assert faults_in(text, tmp_path) == []
    validator.validate(tomllib.loads(text))


@pytest.mark.parametrize(
    "text",
    [
        "",
        'name = "x"',
        'name = "X"\n[[workers]]\nname = "a"',
        'name = "x"\nworkers = []',
        'name = "x"\n[workers]\nname = "a"',
        f"{WORKER}nme = 1",
        f"{WORKER}kind = 'My Kind'",
        f"{WORKER}llm = 5",
        f"{WORKER}llm = {{ model = 'x' }}",
        f"{WORKER}voice = []",
        f"{WORKER}voice = {{ 'A B' = 'x' }}",
        f"{WORKER}voice = {{ piper = 5 }}",
        f"{WORKER}tools = ['find']",
        f"{WORKER}options = {{ a-b = 1 }}",
        f"{WORKER}prompt = 'x'\nprompt_file = 'y'",
        f"{WORKER}script = [{{ delay = 1 }}]",
        f"{WORKER}script = [{{ say = 'x', call = 'f' }}]",
        f"{WORKER}script = [{{ say = 'x', args = {{ a = 1 }} }}]",
        f"{WORKER}script = [{{ say = [] }}]",
        f"{WORKER}script = [{{ say = 'x', on = 'tol' }}]",
        f"{WORKER}script = [{{ call = 'f', args = {{ a = [] }} }}]",
        f"{WORKER}script = [{{ say = 'x', delay = 61 }}]",
        f"{WORKER}jobs = [{{ workers = ['b'] }}]",
        f"{WORKER}jobs = [{{ tool = 'ask', workers = [] }}]",
        f"{WORKER}jobs = [{{ tool = 'ask', workers = ['b'], timeout = 0 }}]",
        f"{WORKER}jobs = [{{ tool = 'ask', workers = ['b'], takes = {{ 'a b' = 'x' }} }}]",
        f"{WORKER}jobs = [{{ tool = 'ask', workers = ['b'], filler = {{ after = 1 }} }}]",
        f"{MAIN}opening = {{}}",
        f"{MAIN}tts_per_worker = 'yes'",
        f"{MAIN}kind = 'agent'",
    ],
)
def test_what_has_a_wrong_shape_is_refused_by_the_schema_as_by_the_loader(
    text, validator, tmp_path
):
    assert faults_in(text, tmp_path)
    assert not validator.is_valid(tomllib.loads(text))


# --- for people ---


def _keys(schema: Mapping) -> Iterator[tuple[str, Mapping]]:
    for table in (schema, *schema["$defs"].values()):
        yield from table["properties"].items()


def test_every_key_has_a_description_in_a_line_of_prose():
    keys = list(_keys(recipe_schema()))
    assert len(keys) > 40
    for key, about in keys:
        assert about.get("description"), key
        assert "\n" not in about["description"]
        assert about["description"].endswith((".", "}", '".')), (key, about["description"])


def test_nothing_of_python_shows():
    text = render_schema()
    assert text.count('"title"') == 1
    assert "null" not in text


def _patterns(value: object) -> Iterator[str]:
    if isinstance(value, Mapping):
        for key, inner in value.items():
            if key == "pattern" and isinstance(inner, str):
                yield inner.removesuffix(f"|{VARIABLE_PATTERN}")
            elif key == "patternProperties":
                yield from inner
            yield from _patterns(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _patterns(inner)


def test_every_pattern_of_the_format_has_a_saying_with_a_mend():
    assert set(_patterns(recipe_schema())) == set(_PATTERNS)


def test_a_recipe_copied_beside_its_schema_still_finds_it(tmp_path):
    (tmp_path / "mine.toml").write_bytes(shipped_path("handoff").read_bytes())
    (tmp_path / SCHEMA_FILE).write_text(render_schema(), encoding="utf-8")
    loaded = load_recipe(str(tmp_path / "mine.toml"))
    reference = loaded.text.splitlines()[0].split(" ")[1]
    assert (loaded.folder / reference).is_file()
