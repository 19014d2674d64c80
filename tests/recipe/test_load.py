import time

import pytest

from pipecat_workers_cli.recipe.load import MAX_FAULTS, RecipeError, load_recipe
from tests.recipe.shop import GOOD, fault_of, faults_of, write

pytestmark = pytest.mark.usefixtures("in_a_folder_of_its_own")


def test_a_fault_is_one_line_with_file_line_key_value_and_mend(tmp_path):
    text = GOOD.replace('["support"]', '[\n  "support",\n  "suport",\n]')
    assert fault_of(text, tmp_path) == (
        "mine.toml:9: workers.greeter.transfers[1] = 'suport': no worker that can take the call "
        "has that name (did you mean 'support'? choose one of: support)"
    )


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("transfers =", "transfer =", "mine.toml:7: workers.greeter.transfer: unknown key"),
        ("transfers =", "transfer =", "did you mean 'transfers'?"),
        ("[main]", "[mian]", "mine.toml:2: mian: unknown key (did you mean 'main'?"),
        ('name = "acme"', "name = 7", "mine.toml:3: main.name = 7: must be a text"),
        ('name = "acme"', 'name = "Acme"', "mine.toml:3: main.name = 'Acme': is no name"),
        (
            'name = "acme"',
            'tts_per_worker = "true"',
            "mine.toml:3: main.tts_per_worker = 'true': must be true or false",
        ),
        ('name = "acme"', "opening = {}", "mine.toml:3: main.opening.message: is missing"),
        ('"You know prices."', "true", "mine.toml:11: workers.support.prompt = true: must be a"),
        ('"You know prices."', '""', "mine.toml:11: workers.support.prompt = '': is empty"),
        ('["support"]', '"support"', "transfers = 'support': must be a list"),
        ('["support"]', '["nobody"]', "mine.toml:7: workers.greeter.transfers[0] = 'nobody': no"),
        ('["support"]', '["greeter"]', "transfers[0] = 'greeter': a worker can't hand the call to"),
        ('name = "support"', 'name = "greeter"', "mine.toml:10: workers[1].name = 'greeter': ano"),
        ('name = "support"', 'name = "acme"', "mine.toml:10: workers.acme.name = 'acme': another"),
        ('name = "support"', "", "mine.toml:9: workers[1].name: is missing"),
        ('"openai:gpt-4.1"', "5", "mine.toml:12: workers.support.llm = 5: must be 'NAME:MODEL'"),
        ('"openai:gpt-4.1"', "{ x = 1 }", "mine.toml:12: workers.support.llm.use: is missing"),
        ('llm = "openai:gpt-4.1"', "voice.piper = 5", "mine.toml:12: workers.support.voice.piper"),
        ('llm = "openai:gpt-4.1"', "voice = 5", "voice = 5: must be a text or a table of texts"),
        ('llm = "openai:gpt-4.1"', "'a b' = 1", "mine.toml:12: workers.support.'a b' = 1: unknown"),
        ('llm = "openai:gpt-4.1"', r'summary = "a\u001b[2J"', r"summary = 'a\x1b[2J': must be one"),
        ('llm = "openai:gpt-4.1"', 'kind = "My Kind"', "kind = 'My Kind': is no kind (name agent"),
        ('llm = "openai:gpt-4.1"', 'tools = ["a.b"]', "tools[0] = 'a.b': names no function (wr"),
        ('llm = "openai:gpt-4.1"', "options.a-b = 1", "options.a-b = 1: is no plain name (begin"),
    ],
)
def test_each_fault_names_its_line_its_key_and_what_is_wrong(old, new, expected, tmp_path):
    faults = faults_of(GOOD.replace(old, new), tmp_path)
    assert any(expected in str(fault) for fault in faults), list(map(str, faults))


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        (
            '{ say = "x", call = "end_conversation" }',
            "mine.toml:14: workers.support.script[0].call = 'end_conversation': a rule says or "
            "calls, never both (make two rules of it)",
        ),
        ("{ delay = 1 }", "mine.toml:14: workers.support.script[0]: a rule has 'say' or 'call'"),
        (
            "{ match = 'a(', say = 'x' }",
            "script[0].match = 'a(': not a regular expression: missing",
        ),
        (r'{ match = "\bhi\b", say = "x" }', "'\\b' in double quotes is a backspace (write the"),
        ("{ say = 5 }", "script[0].say = 5: must be a text or a list of texts"),
        (
            "{ say = ['x', 5] }",
            "mine.toml:14: workers.support.script[0].say[1] = 5: must be a text",
        ),
        ("{ say = 'x', delay = 99 }", "script[0].delay = 99: is above 60"),
        ("{ call = 'fly' }", "script[0].call = 'fly': this worker has no such tool"),
        ("{ call = 'transfer_to_agent' }", "this worker has no 'transfers' (write transfers"),
        ("{ call = 'end_conversation', args = { x = [] } }", "script[0].args.x: must be a text, a"),
        ("'x'", "mine.toml:14: workers.support.script[0] = 'x': must be a table"),
    ],
)
def test_a_rules_fault_names_the_line_of_the_rule(rule, expected, tmp_path):
    text = f"{GOOD}script = [\n  {rule},\n  {{ say = 'last' }},\n]\n"
    assert expected in fault_of(text, tmp_path)


def test_a_table_instead_of_tables_is_told_to_double_its_brackets(tmp_path):
    fault = fault_of('name = "x"\n[workers]\nname = "a"\n', tmp_path)
    assert fault.startswith("mine.toml:2: workers: must be a list of tables")
    assert "[[workers]]" in fault


def test_tables_of_one_name_are_told_to_double_their_brackets(tmp_path):
    (fault,) = faults_of('name = "x"\n[workers]\nname = "a"\n[workers]\n', tmp_path)
    assert fault.line == 4
    assert "[[workers]]" in fault.mend


def test_several_faults_come_at_once_in_the_files_order(tmp_path):
    text = (
        GOOD.replace('"shop"', '"Shop"')
        .replace('["support"]', '["suport"]')
        .replace("prompt =", "promt =")
    )
    faults = faults_of(text, tmp_path, sets=["main.naem=x", "workers.nobody.voice=x"])
    assert [(fault.file, fault.line, fault.key) for fault in faults] == [
        ("mine.toml", 1, "name"),
        ("mine.toml", 7, "workers.greeter.transfers[0]"),
        ("mine.toml", 11, "workers.support.promt"),
        ("--set", None, "workers.nobody.voice"),
        ("--set", None, "main.naem"),
    ]


def test_the_error_itself_is_the_first_fault_and_counts_the_rest(tmp_path):
    write(tmp_path, GOOD.replace('"shop"', "5").replace("transfers =", "transfer ="))
    with pytest.raises(RecipeError) as raised:
        load_recipe("./mine.toml")
    assert raised.value.what == "mine.toml:1: name = 5: must be a text (and 1 more)"
    assert raised.value.mend == "put it in quotes"


def test_thousands_of_faults_are_cut_off(tmp_path):
    text = "".join(f"k{i} = 1\n" for i in range(5000)) + GOOD
    faults = faults_of(text, tmp_path)
    assert len(faults) == MAX_FAULTS + 1
    assert faults[-1].what == "more faults follow"


BIG = 990_000
RULE = '  { match = "boots|paint", say = "Hello there, {match}. What can I do for you?" },\n'
LINE = "a “quoted” word\n"


@pytest.mark.parametrize(
    "filling",
    [
        "# nothing\n" * (BIG // 10),
        "\n" * BIG,
        "".join(f'[[workers]]\nname = "w{i}"\nscript = [\n{RULE * 240}]\n' for i in range(47)),
        "".join(f'[[workers]]\nname = "w{i}"\nprompt = """\n{LINE * 1000}"""\n' for i in range(47)),
    ],
    ids=["comments", "blank lines", "rules", "prompts"],
)
def test_the_last_line_of_a_recipe_of_one_mb_is_found_within_two_seconds(filling, tmp_path):
    text = GOOD + filling + '\n[[workers]]\nname = "last"\ntransfers = ["nobody"]'
    assert 900_000 < len(text.encode()) <= 1_000_000
    started = time.process_time()
    (fault,) = faults_of(text, tmp_path)
    assert time.process_time() - started < 2
    assert fault.line == text.count("\n") + 1
    assert fault.key == "workers.last.transfers[0]"


@pytest.mark.parametrize(
    "text",
    [
        ".".join(["a"] * 480_000) + " = 1",
        'summary = "' + "${A:-" * 190_000 + '"',
        "prompt" + "x" * 900_000,
        'x = "' + "x" * 900_000,
        "delay = 0x" + "1" * 900_000,
        "[[workers]]\nname = 'w'\n" * 40_000,
        "workers = [" + '"a",' * 100_000 + "]",
    ],
    ids=["dots", "variables", "word", "open text", "number", "workers", "entries"],
)
def test_a_recipe_made_to_be_slow_is_refused_within_five_seconds(text, tmp_path):
    started = time.process_time()
    faults_of(text, tmp_path)
    assert time.process_time() - started < 5
