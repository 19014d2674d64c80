import pytest
from pydantic import ValidationError

from pipecat_workers_cli.recipe.model import MainRecipe, Recipe, Rule, Service, WorkerRecipe


def recipe(**changes):
    tables = {"name": "shop", "workers": [{"name": "greeter"}, {"name": "support"}]}
    return Recipe.model_validate(tables | changes)


def places(error):
    return [fault["loc"] for fault in error.value.errors()]


def test_a_recipe_needs_no_more_than_a_name_and_one_worker():
    small = Recipe.model_validate({"name": "x", "workers": [{"name": "a"}]})
    assert small.main.name == "main"
    assert small.worker("a").kind == "agent"
    assert small.opener.name == "a"


def test_the_opener_is_the_one_that_the_opening_names():
    named = recipe(main={"opening": {"message": "hi", "worker": "support"}})
    assert named.opener.name == "support"
    assert recipe(main={"opening": {"message": "hi"}}).opener.name == "greeter"


def test_asking_for_a_worker_that_is_not_there_is_a_key_error():
    with pytest.raises(KeyError):
        recipe().worker("nobody")


def test_nothing_of_a_recipe_can_be_changed():
    with pytest.raises(ValidationError):
        recipe().main.name = "other"


@pytest.mark.parametrize("key", ["at", "token", "filler", "takes"])
def test_a_key_that_no_worker_has_is_refused(key):
    with pytest.raises(ValidationError) as error:
        recipe(workers=[{"name": "a", key: []}])
    assert ("workers", 0, key) in places(error)
    with pytest.raises(ValidationError):
        recipe(main={key: []})


@pytest.mark.parametrize("name", ["", "A", "1a", "a b", "ä", "a" * 41, "a\n", "a.b", "../a"])
def test_a_name_is_short_lower_case_and_of_one_word(name):
    with pytest.raises(ValidationError):
        WorkerRecipe(name=name)


@pytest.mark.parametrize(
    "rule",
    [
        {"say": "x", "call": "end_conversation"},
        {},
        {"say": []},
        {"say": ""},
        {"say": ["x", ""]},
        {"say": "x", "args": {"a": 1}},
        {"say": "x", "match": "a("},
        {"say": "x", "match": "a{99999999999}"},
        {"say": "x", "match": "(" * 499 + ")" * 499},
        {"say": "x", "match": "a" * 1001},
        {"say": "x", "match": "\bhi\b"},
        {"say": "x", "on": "tools"},
        {"say": "x", "on": "tool:"},
        {"say": "x", "delay": -1},
        {"say": "x", "delay": 61},
        {"say": "x", "delay": float("nan")},
        {"say": "x", "delay": "2"},
        {"say": "x", "delay": True},
        {"call": "end_conversation", "args": {"a": [1]}},
    ],
)
def test_a_rule_that_cannot_mean_anything_is_refused(rule):
    with pytest.raises(ValidationError):
        Rule.model_validate(rule)


@pytest.mark.parametrize("value", ["x", 3, 2.5, True])
def test_an_argument_keeps_its_type(value):
    rule = Rule.model_validate({"call": "f", "args": {"a": value}})
    assert rule.args["a"] == value
    assert type(rule.args["a"]) is type(value)


@pytest.mark.parametrize("on", ["user", "opening", "transfer", "developer", "tool", "tool:a_B"])
def test_a_rule_may_wait_for_each_of_these(on):
    assert Rule(on=on, say="x").on == on


def test_a_service_is_a_name_or_a_table_with_settings():
    main = MainRecipe.model_validate(
        {"llm": "openai:gpt-4.1", "tts": {"use": "piper", "length_scale": 1.2}}
    )
    assert main.llm == Service(use="openai:gpt-4.1")
    assert main.tts is not None
    assert main.tts.settings == {"length_scale": 1.2}


def test_a_voice_is_one_for_all_providers_or_one_for_each():
    assert WorkerRecipe(name="a", voice="joe").voice_for("piper") == "joe"
    each = MainRecipe(voice={"piper": "joe"})
    assert each.voice_for("piper") == "joe"
    assert each.voice_for("cartesia") is None
    assert MainRecipe().voice_for("piper") is None


def test_true_and_false_are_not_taken_from_texts():
    with pytest.raises(ValidationError):
        MainRecipe.model_validate({"tts_per_worker": "yes"})


@pytest.mark.parametrize(
    ("workers", "place"),
    [
        ([{"name": "a", "transfers": ["b"]}], ("workers", 0, "transfers", 0)),
        ([{"name": "a", "transfers": ["a"]}], ("workers", 0, "transfers", 0)),
        (
            [{"name": "a"}, {"name": "b", "transfers": ["a", "a"]}],
            ("workers", 1, "transfers", 1),
        ),
        ([{"name": "a"}, {"name": "a"}], ("workers", 1, "name")),
        ([{"name": "main"}], ("workers", 0, "name")),
        ([{"name": "a", "script": [{"call": "fly"}]}], ("workers", 0, "script", 0, "call")),
        (
            [{"name": "a", "script": [{"call": "transfer_to_agent"}]}],
            ("workers", 0, "script", 0, "call"),
        ),
        (
            [{"name": "a", "script": [{"on": "tool:fly", "say": "x"}]}],
            ("workers", 0, "script", 0, "on"),
        ),
        (
            [
                {
                    "name": "a",
                    "transfers": ["b"],
                    "script": [{"call": "transfer_to_agent", "args": {"agent": "c"}}],
                },
                {"name": "b"},
            ],
            ("workers", 0, "script", 0, "args", "agent"),
        ),
    ],
)
def test_a_name_must_fit_the_rest_of_the_recipe(workers, place):
    with pytest.raises(ValidationError) as error:
        recipe(workers=workers)
    assert places(error) == [place]


def test_the_opening_must_name_a_worker_there_is():
    with pytest.raises(ValidationError) as error:
        recipe(main={"opening": {"message": "x", "worker": "nobody"}})
    assert places(error) == [("main", "opening", "worker")]


def test_an_agent_that_the_callers_words_name_is_only_known_in_the_call():
    rule = {"match": "(?P<who>b)", "call": "transfer_to_agent", "args": {"agent": "{who}"}}
    workers = [{"name": "a", "transfers": ["b"], "script": [rule]}, {"name": "b"}]
    assert recipe(workers=workers).worker("a").script[0].args == {"agent": "{who}"}


def test_a_recipe_has_one_to_fifty_workers():
    for count in (0, 51):
        with pytest.raises(ValidationError):
            recipe(workers=[{"name": f"w{i}"} for i in range(count)])
    assert len(recipe(workers=[{"name": f"w{i}"} for i in range(50)]).workers) == 50
