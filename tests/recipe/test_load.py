import os
import shutil
import socket
import time
import tomllib

import pytest

from pipecat_workers_cli.errors import ConfigurationError
from pipecat_workers_cli.recipe import files
from pipecat_workers_cli.recipe.files import shipped_path, shipped_recipes
from pipecat_workers_cli.recipe.load import MAX_FAULTS, RecipeError, load_recipe

GOOD = """\
name = "shop"
[main]
name = "acme"

[[workers]]
name = "greeter"
transfers = ["support"]

[[workers]]
name = "support"
prompt = "You know prices."
llm = "openai:gpt-4.1"
"""


@pytest.fixture(autouse=True)
def in_a_folder_of_its_own(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def write(tmp_path, text, name="mine.toml"):
    path = tmp_path / name
    path.write_text(text, encoding="utf-8")
    return path


def faults_of(text, tmp_path, **sets):
    write(tmp_path, text)
    with pytest.raises(RecipeError) as raised:
        load_recipe("./mine.toml", **sets)
    assert raised.value.exit_code == 2
    assert "\n" not in raised.value.what + raised.value.mend
    return raised.value.faults


def fault_of(text, tmp_path, **sets):
    faults = faults_of(text, tmp_path, **sets)
    assert len(faults) == 1, list(map(str, faults))
    return str(faults[0])


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


# --- faults of values ---


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


# --- prompt files ---


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


# --- variables ---


def test_variables_are_filled_in_and_empty_counts_as_unset(tmp_path, monkeypatch):
    monkeypatch.setenv("WHO", "Ada")
    monkeypatch.setenv("EMPTY", "")
    monkeypatch.delenv("UNSET", raising=False)
    text = "Hi ${WHO}, ${WHO:-x}, ${EMPTY:-full}, ${UNSET:-}, $WHO, ${}, ${a-b}, }, ${"
    write(tmp_path, GOOD.replace("You know prices.", text))
    prompt_text = load_recipe("./mine.toml").recipe.worker("support").prompt
    assert prompt_text == "Hi Ada, Ada, full, , $WHO, ${}, ${a-b}, }, ${"


@pytest.mark.parametrize("value", [None, ""])
def test_an_unset_variable_without_a_default_is_a_fault_that_names_it(value, tmp_path, monkeypatch):
    monkeypatch.delenv("MY_LLM", raising=False)
    if value is not None:
        monkeypatch.setenv("MY_LLM", value)
    assert fault_of(GOOD.replace("openai:gpt-4.1", "${MY_LLM}"), tmp_path) == (
        "mine.toml:12: workers.support.llm = '${MY_LLM}': the variable MY_LLM is not set "
        "(set it in the environment or in .env, or write ${MY_LLM:-DEFAULT})"
    )


@pytest.mark.parametrize(
    "line",
    [
        'kind = "${SECRET}"',
        'summary = "${SECRET}"',
        'script = [{ match = "${SECRET}", say = "x" }]',
        'tools = ["${SECRET}"]',
        'transfers = ["${SECRET}"]',
        'jobs = [{ tool = "ask", workers = ["${SECRET}"] }]',
        'jobs = [{ tool = "${SECRET}", workers = ["greeter"] }]',
        'script = [{ call = "${SECRET}" }]',
    ],
)
def test_what_a_variable_holds_is_never_printed(line, tmp_path, monkeypatch):
    monkeypatch.setenv("SECRET", "(?P<hunter2>\n")
    faults = list(map(str, faults_of(GOOD + line, tmp_path)))
    assert not [fault for fault in faults if "hunter2" in fault]
    assert "${SECRET}" in faults[0]


# --- --set ---


def loaded_with(tmp_path, *sets):
    write(tmp_path, GOOD)
    return load_recipe("./mine.toml", sets=sets).recipe


def test_set_goes_by_dotted_keys_and_workers_names(tmp_path):
    recipe = loaded_with(
        tmp_path,
        "main.tts_per_worker=true",
        "workers.support.prompt=You know = everything.",
        "workers.greeter.voice.piper=joe",
        'workers.greeter.script=[{ say = "hi" }]',
        "workers.greeter.script[0].delay=2",
        "main.opening.message=Welcome",
        "main.opening.worker=support",
    )
    assert recipe.main.tts_per_worker is True
    assert recipe.worker("support").prompt == "You know = everything."
    assert recipe.worker("greeter").voice == {"piper": "joe"}
    assert recipe.worker("greeter").script[0].delay == 2
    assert recipe.opener.name == "support"


def test_a_value_is_toml_where_it_can_be_and_else_a_text(tmp_path):
    recipe = loaded_with(
        tmp_path,
        'workers.support.prompt="quoted"',
        "workers.greeter.prompt=first = 1\nsecond = 2",
        "summary=[not toml",
    )
    assert recipe.worker("support").prompt == "quoted"
    assert recipe.worker("greeter").prompt == "first = 1\nsecond = 2"
    assert recipe.summary == "[not toml"


def test_a_later_set_wins_and_a_short_service_takes_settings(tmp_path):
    sets = ("main.name=a", "main.name=b", "workers.support.llm.temperature=0.2")
    recipe = loaded_with(tmp_path, *sets)
    assert recipe.main.name == "b"
    llm = recipe.worker("support").llm
    assert llm is not None
    assert (llm.use, llm.settings) == ("openai:gpt-4.1", {"temperature": 0.2})


def test_a_set_value_may_name_a_variable(tmp_path, monkeypatch):
    monkeypatch.setenv("WHO", "Ada")
    assert loaded_with(tmp_path, "summary=for ${WHO}").summary == "for Ada"


@pytest.mark.parametrize(
    ("typed", "expected"),
    [
        (
            "main.tts_per_workr=true",
            "--set: main.tts_per_workr = true: unknown key (did you mean 'tts_per_worker'?",
        ),
        ("mian.name=x", "--set: mian: unknown key (did you mean 'main'?"),
        (
            "workers.suport.prompt=x",
            "--set: workers.suport.prompt: no such worker (did you mean 'support'? choose one of: "
            "greeter, support)",
        ),
        ("workers.0.prompt=x", "a worker goes by its name here (choose one of: greeter, support)"),
        ("workers[0].prompt=x", "a worker goes by its name here (choose one of: greeter, support)"),
        ("workers.support.transfers=['suport']", "--set: workers.support.transfers[0] = 'suport'"),
        ("workers.greeter.transfers[1]=x", "--set: workers.greeter.transfers[1]: nothing there"),
        ("main.name.first=x", "--set: main.name.first: nothing there can be set"),
        ("workers.support.summary=5", "--set 'workers.support.summary=\"TEXT\"'"),
        ("main.tts_per_worker=yes", "--set: main.tts_per_worker = 'yes': must be true or false"),
        ("main.opening.worker=support", "--set: main.opening.message: is missing"),
        ("workers=5", "--set: workers = 5: must be a list of tables"),
        ("no equals sign", "--set: 'no equals sign': not a KEY=VALUE"),
        ("=x", "--set: '': not a KEY=VALUE"),
        ("main..name=x", "not a KEY=VALUE"),
        ("", "not a KEY=VALUE"),
    ],
)
def test_a_set_that_fits_nothing_is_a_fault_of_the_command_line(typed, expected, tmp_path):
    assert expected in fault_of(GOOD, tmp_path, sets=[typed])


def test_a_set_mends_a_fault_of_the_file(tmp_path):
    write(tmp_path, GOOD.replace('"acme"', "5"))
    assert load_recipe("./mine.toml", sets=["main.name=acme"]).recipe.main.name == "acme"


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
