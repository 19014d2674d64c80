import json

import pytest
from pipecat.processors.aggregators import async_tool_messages

from pipecat_workers_cli.services.trigger import (
    Trigger,
    count_speeches,
    find_trigger,
    settled_calls,
)
from pipecat_workers_cli.workers.cues import opening_cue, transfer_cue


def user(text):
    return {"role": "user", "content": text}


def said(text):
    return {"role": "assistant", "content": text}


def called(name, call_id="1"):
    function = {"name": name, "arguments": "{}"}
    return {
        "role": "assistant",
        "tool_calls": [{"id": call_id, "type": "function", "function": function}],
    }


def gave(content, call_id="1"):
    text = content if isinstance(content, str) else json.dumps(content)
    return {"role": "tool", "tool_call_id": call_id, "content": text}


PREFACE = {"role": "system", "content": "You are an agent."}


def test_the_callers_last_words_are_to_be_answered():
    found = find_trigger([PREFACE, user("hello"), said("Hi."), user("paint?")])
    assert found == Trigger("user", ("paint?",), heard="paint?")


def test_words_may_come_as_parts():
    parts = [{"type": "text", "text": "how"}, {"type": "image_url"}, {"type": "text", "text": "so"}]
    found = find_trigger([{"role": "user", "content": parts}])
    assert found is not None
    assert found.texts == ("how so",)


@pytest.mark.parametrize(
    "messages",
    [
        [],
        [user("hello"), said("Hi.")],
        [opening_cue("Welcome them."), said("Welcome!")],
        [user("x"), called("ask"), gave({"answer": 1}), said("One.")],
        [user("x"), called("ask"), gave("IN_PROGRESS")],
        [user("x"), called("ask"), async_tool_messages.build_started_message("1")],
        [user("x"), transfer_cue("greeter", "asks"), said("Support here.")],
        [PREFACE, user("x"), said("y")],
    ],
)
def test_what_was_answered_or_is_still_running_is_not_answered(messages):
    assert find_trigger(messages) is None


def test_a_tool_result_names_its_tool():
    found = find_trigger([user("x"), called("ask"), gave({"celsius": 21.5})])
    assert found is not None
    assert (found.kind, found.tool, found.result) == ("tool", "ask", {"celsius": 21.5})
    assert found.call_id == "1"


@pytest.mark.parametrize(
    ("content", "result", "cancelled"),
    [
        ("COMPLETED", None, False),
        ("CANCELLED", None, True),
        ('"words"', "words", False),
        ("not json {", "not json {", False),
        ("[1, 2]", [1, 2], False),
    ],
)
def test_every_content_of_a_result_is_understood(content, result, cancelled):
    found = find_trigger([user("x"), called("ask"), gave(content)])
    assert found is not None
    assert (found.result, found.cancelled) == (result, cancelled)


def test_the_messages_of_an_asynchronous_tool_are_results_too():
    started = async_tool_messages.build_started_message("1")
    final = async_tool_messages.build_final_result_message("1", '{"answer": "yes"}')
    stopped = async_tool_messages.build_cancelled_message("1")
    before = [user("x"), called("ask"), started, said("One moment.")]
    found = find_trigger([*before, final])
    assert found is not None
    assert (found.tool, found.result) == ("ask", {"answer": "yes"})
    found = find_trigger([*before, stopped])
    assert found is not None
    assert found.cancelled
    assert list(settled_calls(before)) == []
    assert list(settled_calls([*before, final])) == ["1"]


def test_a_result_behind_which_the_wait_was_filled_with_words_is_still_to_be_told():
    messages = [user("x"), called("ask"), gave({"a": 1}), said("Let me ask them.")]
    assert find_trigger(messages) is None
    found = find_trigger(messages, awaited={"1"})
    assert found is not None
    assert found.tool == "ask"


def test_an_awaited_result_does_not_hide_what_came_after_it():
    messages = [user("x"), called("ask"), gave({"a": 1}), said("Hm."), user("and paint?")]
    found = find_trigger(messages, awaited={"1"})
    assert found is not None
    assert found.kind == "user"
    assert find_trigger([*messages, said("Paint.")], awaited={"1"}) is None


HANDED = [called("transfer_to_agent"), gave({"transferred_to": "support"})]


def test_a_transfer_takes_up_the_words_that_nobody_answered():
    found = find_trigger([user("paint?"), *HANDED, transfer_cue("greeter", "wants paint")])
    assert found is not None
    assert found.kind == "transfer"
    assert found.texts == ("paint?", "wants paint")
    assert (found.heard, found.source) == ("paint?", "greeter")


def test_words_that_were_answered_before_the_transfer_do_not_count_again():
    cue = transfer_cue("greeter", "wants paint")
    found = find_trigger([user("paint?"), said("I'll ask support."), *HANDED, cue])
    assert found is not None
    assert found.texts == ("wants paint",)
    assert found.heard == ""


def test_words_after_the_cue_are_answered_instead_of_it():
    messages = [user("a"), *HANDED, transfer_cue("greeter", "b"), user("c")]
    found = find_trigger(messages)
    assert found is not None
    assert found.texts == ("c",)


def test_a_strange_developer_message_gives_way_to_unanswered_words():
    strange = {"role": "developer", "content": "Ask the user to repeat."}
    found = find_trigger([user("a"), said("b"), strange])
    assert found is not None
    assert found.kind == "prompt"
    found = find_trigger([user("a"), strange])
    assert found is not None
    assert found.kind == "user"


def test_an_instruction_before_anybody_spoke_opens_the_call():
    found = find_trigger([PREFACE])
    assert found is not None
    assert found.kind == "opening"


def test_a_call_that_the_caller_cut_short_without_words_is_not_excused():
    strange = {"role": "developer", "content": "Ask the user to repeat."}
    found = find_trigger([user("a"), called("ask"), gave("CANCELLED"), strange])
    assert found is not None
    assert found.kind == "prompt"
    found = find_trigger([user("a"), called("ask"), gave({"b": 1}), strange])
    assert found is not None
    assert found.kind == "tool"


def test_words_are_not_lost_if_the_answer_before_them_is_written_down_late():
    first = [opening_cue("Welcome."), said("Welcome!"), user("boots?")]
    answered = count_speeches(first)
    assert answered == 2
    late = [*first, user("no, paint?"), said("Acme Rocket")]
    found = find_trigger(late, answered=answered)
    assert found is not None
    assert found.texts == ("no, paint?",)
    assert find_trigger(late, answered=count_speeches(late)) is None
    assert find_trigger([user("boots?"), said("Boots.")]) is None
