import math

import pytest

from pipecat_workers_cli.recipe.model import Rule
from pipecat_workers_cli.services.script import (
    MATCHED,
    Call,
    Say,
    Script,
    Tool,
    convert,
    fill,
    speakable,
)
from pipecat_workers_cli.services.trigger import Trigger

SET = Tool(
    "set_target",
    {"celsius": {"type": "number"}, "note": {"type": "string"}},
    ("celsius",),
)
TRANSFER = Tool(
    "transfer_to_agent",
    {"agent": {"type": "string", "enum": ["support", "greeter"]}, "reason": {"type": "string"}},
    ("agent", "reason"),
)
TOOLS = {tool.name: tool for tool in (SET, TRANSFER)}


def heard(text):
    return Trigger("user", (text,), heard=text)


def gave(result, tool="ask", text="…"):
    return Trigger("tool", (text,), tool=tool, result=result)


def choose(trigger, *rules, uses=None):
    script = Script([Rule.model_validate(rule) for rule in rules])
    return script.choose(trigger, TOOLS, uses or {})


def words(trigger, *rules, uses=None):
    answer = choose(trigger, *rules, uses=uses)
    return answer.text if isinstance(answer, Say) else answer


def test_the_first_rule_that_matches_wins_and_case_does_not_matter():
    rules = [{"match": "boots", "say": "a"}, {"match": "PAINT", "say": "b"}, {"say": "c"}]
    assert words(heard("Paint and BOOTS"), *rules) == "a"
    assert words(heard("some paint"), *rules) == "b"
    assert words(heard("hello"), *rules) == "c"


def test_no_rule_may_fit():
    assert choose(heard("hello"), {"match": "boots", "say": "a"}) is None


@pytest.mark.parametrize(
    ("on", "kinds"),
    [
        (None, {"user", "opening", "transfer"}),
        ("user", {"user"}),
        ("opening", {"opening"}),
        ("transfer", {"transfer"}),
        ("developer", {"opening", "transfer"}),
        ("tool", {"tool"}),
        ("tool:ask", {"tool"}),
        ("tool:other", set()),
    ],
)
def test_a_rule_fits_what_it_is_on(on, kinds):
    rule = {"on": on, "say": "yes"} if on else {"say": "yes"}
    fitting = {
        kind
        for kind in ("user", "opening", "transfer", "tool", "prompt")
        if choose(Trigger(kind, ("x",), tool="ask"), rule)
    }
    assert fitting == kinds


def test_results_of_ending_and_transferring_are_meant_by_name_alone():
    assert choose(gave({}, "end_conversation"), {"on": "tool", "say": "x"}) is None
    assert words(gave({}, "end_conversation"), {"on": "tool:end_conversation", "say": "x"}) == "x"


def test_a_cancelled_call_has_no_result_to_word():
    trigger = Trigger("tool", ("CANCELLED",), tool="ask", cancelled=True)
    assert choose(trigger, {"on": "tool", "say": "x"}) is None


def test_a_list_of_texts_goes_on_with_each_use_and_stays_at_its_last():
    rules = [{"match": "never", "say": "x"}, {"say": ["one {text}", "two", "three"]}]
    said = [words(heard("go"), *rules, uses={1: used}) for used in (0, 1, 2, 3, 99)]
    assert said == ["one go", "two", "three", "three", "three"]


def test_text_match_and_named_groups_fill_in():
    rule = {
        "match": r"(?P<what>paint|boots)( in (?P<color>\w+))?",
        "say": "{text}|{match}|{what}|{color}",
    }
    assert words(heard("Paint in red please"), rule) == "Paint in red please|Paint in red|Paint|red"
    assert words(heard("boots"), rule) == "boots|boots|boots|"


def test_on_a_transfer_the_words_are_tried_before_the_reason():
    trigger = Trigger("transfer", ("how much", "asks about paint"), heard="how much")
    assert words(trigger, {"match": "paint", "say": "{text}: {match}"}) == "how much: paint"
    assert words(trigger, {"match": "much|paint", "say": "{match}"}) == "much"


def test_results_fill_in_by_dotted_keys_and_what_is_missing_gives_nothing():
    result = {"a": {"b": {"c": 1.50}}, "ok": True, "names": ["x", "y"], "none": None}
    say = (
        "{result.a.b.c} {result.ok} {result.names} [{result.none}{result.no.such}{result.a.b.c.d}]"
    )
    assert words(gave(result), {"on": "tool", "say": say}) == "1.5 yes x, y []"


def test_a_result_that_is_no_dict_fills_in_whole():
    assert words(gave("sunny"), {"on": "tool", "say": "It is {result}."}) == "It is sunny."
    assert words(gave(None), {"on": "tool", "say": "[{result}]"}) == "[]"


@pytest.mark.parametrize(
    "template",
    [
        "{",
        "}",
        "{}",
        "{ text }",
        "{0}",
        "{unknown}",
        "{text!r}",
        "{text.__class__}",
        "{text:>9}",
        "{{",
    ],
)
def test_a_brace_that_is_no_placeholder_stays_as_typed(template):
    assert fill(template, {"text": "x", "match": "y", "result": None}) == template


def test_what_fills_in_is_not_filled_in_again():
    assert fill("{text}", {"text": "{match} {result.key}", "match": "secret"}) == (
        "{match} {result.key}"
    )
    assert fill("{result.__class__}", {"result": {}}) == ""


def test_only_the_first_4000_characters_are_matched():
    assert choose(heard("x" * MATCHED + "paint"), {"match": "paint", "say": "y"}) is None


@pytest.mark.parametrize(
    ("value", "spoken"),
    [
        ({"celsius": 21.4837, "target_now": 22.0}, "Celsius: 21.48. Target now: 22."),
        ({"a": "It is so.", "b": None, "c": []}, "A: It is so."),
        (True, "yes"),
        ([1, "two"], "1, two"),
        (None, ""),
        (7, "7"),
    ],
)
def test_values_are_worded_for_the_ear(value, spoken):
    assert speakable(value) == spoken


@pytest.mark.parametrize(
    ("text", "schema", "value"),
    [
        ("21.5", {"type": "number"}, 21.5),
        (" 21 ", {"type": "integer"}, 21),
        ("60.0", {"type": "integer"}, 60),
        ("Yes", {"type": "boolean"}, True),
        ("off", {"type": "boolean"}, False),
        ("21", {"type": "string"}, "21"),
        ("21", {}, "21"),
        ("21", {"type": ["integer", "null"]}, 21),
        ("21", {"anyOf": [{"type": "null"}, {"type": "number"}]}, 21.0),
        ("SUPPORT", {"type": "string", "enum": ["support"]}, "support"),
        ("2", {"type": "integer", "enum": [1, 2]}, 2),
        ('["a"]', {"type": "array"}, ["a"]),
        ("thirty", {"type": "number"}, 30.0),
        ("minus twenty-two point five", {"type": "number"}, -22.5),
        ("twelve", {"type": "integer"}, 12),
        ("twelve", {"type": "string"}, "twelve"),
    ],
)
def test_an_argument_becomes_what_the_tool_declares(text, schema, value):
    converted = convert(text, schema)
    assert converted == value
    assert type(converted) is type(value)


@pytest.mark.parametrize(
    ("text", "schema"),
    [
        ("warm", {"type": "number"}),
        ("nan", {"type": "number"}),
        ("inf", {"type": "integer"}),
        ("1.5", {"type": "integer"}),
        ("one point five", {"type": "integer"}),
        ("thirty degrees", {"type": "number"}),
        ("perhaps", {"type": "boolean"}),
        ("sales", {"type": "string", "enum": ["support"]}),
        ("[", {"type": "array"}),
    ],
)
def test_what_cannot_be_converted_is_refused(text, schema):
    with pytest.raises(ValueError, match=r"."):
        convert(text, schema)


SETS = {
    "match": r"set.*?(?P<to>[\w.]+)$",
    "call": "set_target",
    "args": {"celsius": "{to}"},
    "delay": 0.5,
}


@pytest.mark.parametrize(
    ("text", "celsius"),
    [
        ("set it to 30 degrees", 30.0),
        ("set it to thirty degrees, please", 30.0),
        ("Set the heater in room four to minus two point five.", -2.5),
        ("set it to warm", None),
    ],
)
def test_an_expression_may_ask_for_a_number_in_digits_or_words(text, celsius):
    rule = {**SETS, "match": r"set.* to (?P<to>{number})\b", "delay": 0}
    expected = None if celsius is None else Call("set_target", {"celsius": celsius})
    assert choose(heard(text), rule) == expected


def test_a_call_has_arguments_of_the_tools_types():
    assert choose(heard("set it to 21"), SETS) == Call("set_target", {"celsius": 21.0}, 0.5)
    literal = {"call": "set_target", "args": {"celsius": 20, "note": True}}
    answer = choose(heard("x"), literal)
    assert answer == Call("set_target", {"celsius": 20.0, "note": "true"})
    assert not math.isnan(answer.args["celsius"])


@pytest.mark.parametrize(
    "rule",
    [
        {"call": "no_such_tool"},
        {"call": "set_target"},
        {"call": "set_target", "args": {"celsius": "warm"}},
        {"call": "set_target", "args": {"celsius": 1, "celcius": 2}},
        {"call": "transfer_to_agent", "args": {"agent": "sales", "reason": "x"}},
    ],
)
def test_a_call_that_cannot_be_made_gives_way_to_the_next_rule(rule):
    assert words(heard("x"), rule, {"say": "next"}) == "next"


def test_a_call_is_not_handed_straight_back_to_where_it_came_from():
    rule = {"call": "transfer_to_agent", "args": {"agent": "greeter", "reason": "x"}}
    cue = Trigger("transfer", ("hello",), heard="hello", source="greeter")
    assert words(cue, rule, {"say": "mine now"}) == "mine now"
    assert isinstance(choose(heard("hello"), rule), Call)
