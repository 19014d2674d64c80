"""The fake Anthropic, and what Anthropic's own library makes of its answers and failures."""

import anthropic
import pytest

from tests.fakes.acme import ToolCall
from tests.fakes.anthropic import FakeAnthropic, last_text, tool_results
from tests.fakes.provider import Behaviour

TOOL = {
    "name": "look_up",
    "description": "Looks a product up.",
    "input_schema": {"type": "object", "properties": {"product": {"type": "string"}}},
}
QUESTION = {"role": "user", "content": "What do you sell?"}


@pytest.fixture
async def fake():
    async with FakeAnthropic(lambda _messages, _tools: "We sell boots.") as fake:
        yield fake


@pytest.fixture
async def client(fake):
    async with anthropic.AsyncAnthropic(
        api_key=fake.key, base_url=fake.base_url, max_retries=0
    ) as client:
        yield client


def asking(client, *messages, tools=(TOOL,), model="claude-sonnet-5"):
    return client.messages.stream(
        model=model, max_tokens=100, messages=list(messages or [QUESTION]), tools=list(tools)
    )


async def test_words_stream_in_order_and_come_out_whole(fake, client):
    async with asking(client) as stream:
        words = [word async for word in stream.text_stream]
        message = await stream.get_final_message()
    assert words == ["We", " sell", " boots."]
    assert message.stop_reason == "end_turn"
    assert message.usage.output_tokens > 0
    assert fake.asked[0].headers["x-api-key"] == fake.key
    assert "What do you sell?" in fake.everything


async def test_a_tool_call_in_fragments_comes_out_whole_and_its_result_goes_in(fake, client):
    def script(messages, _tools):
        if results := tool_results(messages):
            return f"It says {results[0]['content']}."
        return [ToolCall("look_up", {"product": "Rocket Boots"}), ToolCall("look_up")]

    fake.script = script
    async with asking(client) as stream:
        message = await stream.get_final_message()
    assert message.stop_reason == "tool_use"
    first, second = message.content
    assert (first.name, first.input) == ("look_up", {"product": "Rocket Boots"})
    assert second.input == {}
    results = [
        {"type": "tool_result", "tool_use_id": call.id, "content": "$299"}
        for call in (first, second)
    ]
    turns = (
        {"role": "assistant", "content": message.content},
        {"role": "user", "content": results},
    )
    async with asking(client, QUESTION, *turns) as stream:
        assert await stream.get_final_text() == "It says $299."


async def test_a_request_without_tools_is_the_clients_own_and_gets_ok(fake, client):
    async with asking(client, tools=()) as stream:
        assert await stream.get_final_text() == "ok"
    whole = await client.messages.create(model="claude-sonnet-5", max_tokens=9, messages=[QUESTION])
    assert whole.content[0].text == "ok"
    assert fake.asked == []


async def test_tokens_are_counted(client):
    counted = await client.messages.count_tokens(model="claude-sonnet-5", messages=[QUESTION])
    assert counted.input_tokens > 0


@pytest.mark.parametrize(
    ("behaviour", "told"),
    [
        (Behaviour.WRONG_KEY, "invalid x-api-key"),
        (Behaviour.LIMIT, "exceed your rate limit"),
        (Behaviour.CUT, "peer closed connection"),
        (Behaviour.ERROR, "Overloaded"),
    ],
)
async def test_failures_are_told_as_the_real_one_tells_them(fake, client, behaviour, told):
    fake.behaviour = behaviour
    with pytest.raises(Exception, match=told):
        async with asking(client) as stream:
            await stream.get_final_message()
    fake.behaviour = Behaviour.NORMAL
    async with asking(client) as stream:
        assert await stream.get_final_text() == "We sell boots."


async def test_a_model_that_is_not_there_is_refused(client):
    with pytest.raises(anthropic.NotFoundError):
        async with asking(client, model="no-such-model") as stream:
            await stream.get_final_message()


def test_the_persons_last_words_are_found_behind_results_and_reminders():
    result = {"type": "tool_result", "tool_use_id": "1", "content": "x"}
    messages = [QUESTION, {"role": "user", "content": [result]}]
    assert last_text(messages) == "What do you sell?"
    assert tool_results(messages) == [result]
    messages.append({"role": "user", "content": [result, {"type": "text", "text": "And now?"}]})
    assert last_text(messages) == "And now?"
    assert tool_results(messages) == []
