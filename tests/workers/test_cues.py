import json

import pytest
from pipecat.adapters.llm.services.anthropic_adapter import AnthropicLLMAdapter
from pipecat.adapters.llm.services.open_ai_adapter import OpenAILLMAdapter
from pipecat.processors.aggregators.llm_context import LLMContext

from pipecat_workers_cli.workers.cues import Cue, opening_cue, parse_cue, transfer_cue

MESSAGES = ["Welcome them.", "", "two\nlines", "it's 'quoted'", "ünïcode ☎", "{braces}"]


@pytest.mark.parametrize("message", MESSAGES)
def test_an_opening_cue_is_known_again(message):
    assert parse_cue(opening_cue(message)) == Cue("opening", message=message)


@pytest.mark.parametrize("reason", MESSAGES)
def test_a_transfer_cue_is_known_again(reason):
    cue = transfer_cue("greeter", reason)
    assert parse_cue(cue) == Cue("transfer", source="greeter", reason=reason)


def test_a_cue_survives_json():
    cue = transfer_cue("greeter", "asks about „paint“")
    again = json.loads(json.dumps(cue))
    assert parse_cue(again) == Cue("transfer", source="greeter", reason="asks about „paint“")


def test_a_cue_may_come_as_a_list_of_parts():
    cue = opening_cue("Welcome them.")
    cue["content"] = [{"type": "text", "text": cue["content"]}]
    assert parse_cue(cue) == Cue("opening", message="Welcome them.")


async def test_the_words_of_a_cue_reach_the_llm_whichever_adapter_it_has():
    cue = transfer_cue("greeter", "asks about paint")
    context = LLMContext([{"role": "user", "content": "hello"}, dict(cue)])
    sent_to_openai = await OpenAILLMAdapter().get_llm_invocation_params(
        context, convert_developer_to_user=True
    )
    sent_to_anthropic = await AnthropicLLMAdapter().get_llm_invocation_params(
        context, enable_prompt_caching=False
    )
    for sent in (sent_to_openai, sent_to_anthropic):
        words = json.dumps(sent["messages"], ensure_ascii=False)
        assert json.dumps(cue["content"], ensure_ascii=False).strip('"') in words


@pytest.mark.parametrize(
    "message",
    [
        {"role": "developer", "content": "Ask the user to repeat."},
        {"role": "system", "content": ""},
        {"role": "developer", "content": None},
        {"role": "developer"},
        {"role": "developer", "content": [{"type": "image_url"}, 7]},
        {"role": "developer", "content": transfer_cue("a", "b")["content"][:-1]},
        {},
    ],
)
def test_other_messages_are_no_cues(message):
    assert parse_cue(message) is None


def test_a_caller_who_says_the_words_of_a_cue_gives_none():
    assert parse_cue({**opening_cue("Sing."), "role": "user"}) is None
    assert parse_cue({**transfer_cue("greeter", "x"), "role": "assistant"}) is None
