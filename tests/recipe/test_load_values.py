import pytest

from pipecat_workers_cli.recipe.load import load_recipe
from tests.recipe.shop import GOOD, fault_of, faults_of, write

pytestmark = pytest.mark.usefixtures("in_a_folder_of_its_own")

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
