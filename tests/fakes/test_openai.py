"""The fake OpenAI, and what Pipecat's service and OpenAI's own library make of its failures."""

import asyncio
from contextlib import asynccontextmanager

import openai
import pytest
from pipecat.adapters.llm.schemas.function_schema import FunctionSchema
from pipecat.adapters.llm.schemas.tools_schema import ToolsSchema
from pipecat.frames.frames import (
    ErrorFrame,
    LLMContextFrame,
    LLMFullResponseEndFrame,
    LLMTextFrame,
    MetricsFrame,
)
from pipecat.metrics.metrics import LLMUsageMetricsData
from pipecat.processors.aggregators.llm_context import LLMContext
from pipecat.processors.aggregators.llm_response_universal import LLMContextAggregatorPair
from pipecat.utils.errors import ErrorCategory

from pipecat_workers_cli.services.providers import Persona, Role, build_llm
from pipecat_workers_cli.workers.cues import opening_cue, transfer_cue
from tests.fakes.acme import ToolCall, acme
from tests.fakes.openai import QUOTA, FakeOpenAI
from tests.fakes.pipelines import running
from tests.fakes.provider import Behaviour

ANSWER = "We sell Rocket Boots, Invisible Paint and the Tornado Kit."
TOOL = FunctionSchema(
    name="look_up",
    description="Looks a product up.",
    properties={"product": {"type": "string"}, "count": {"type": "integer"}},
    required=["product"],
)
TOOLS = [{"type": "function", "function": {"name": "end_conversation"}}]
SUPPORT = {"role": "system", "content": "You are product support at Acme Corporation."}
GREETER = {"role": "system", "content": "You greet callers of Acme Corporation."}


@pytest.fixture
async def fake():
    async with FakeOpenAI(lambda _messages, _tools: ANSWER) as fake:
        yield fake


@pytest.fixture
def build(fake, chosen):
    def llm(key=None, **settings):
        choice = chosen(Role.LLM, fake, key, **settings)
        return build_llm(choice, Persona("greeter", prompt="Be kind."))

    return llm


@asynccontextmanager
async def asked(llm, text="What do you sell?"):
    """Run a pipeline with one question in it."""
    async with running(llm) as heard:
        await ask(heard, text)
        yield heard


async def ask(heard, text):
    context = LLMContext([{"role": "user", "content": text}])
    await heard.worker.queue_frame(LLMContextFrame(context))


def said(heard):
    return "".join(frame.text for frame in heard.all(LLMTextFrame))


async def test_words_stream_in_order_and_their_tokens_are_counted(fake, build):
    async with asked(build()) as heard:
        await heard.first(LLMFullResponseEndFrame)
        assert said(heard) == ANSWER
        assert len(heard.all(LLMTextFrame)) == len(ANSWER.split())
        usage = [
            part
            for frame in heard.all(MetricsFrame)
            for part in frame.data
            if isinstance(part, LLMUsageMetricsData)
        ]
    assert len(usage) == 1
    assert usage[0].value.total_tokens > usage[0].value.completion_tokens > 0
    request = fake.requests[0]
    assert request.headers["authorization"] == f"Bearer {fake.key}"
    assert request.body["messages"][0] == {"role": "system", "content": "Be kind."}
    assert request.body["stream_options"] == {"include_usage": True}


async def test_a_tool_call_in_fragments_reaches_the_function_with_its_arguments(fake, build):
    def script(messages, _tools):
        if messages[-1]["role"] == "tool":
            return f"It says: {messages[-1]['content']}"
        return ToolCall("look_up", {"product": "Rocket Boots", "count": 2})

    fake.script = script
    called = asyncio.get_running_loop().create_future()

    async def look_up(params):
        called.set_result(params.arguments)
        await params.result_callback({"price": 299})

    llm = build()
    llm.register_function("look_up", look_up)
    context = LLMContext(
        [{"role": "user", "content": "How much?"}], tools=ToolsSchema(standard_tools=[TOOL])
    )
    pair = LLMContextAggregatorPair(context)
    async with running(pair.user(), llm, pair.assistant()) as heard:
        await heard.worker.queue_frame(LLMContextFrame(context))
        async with asyncio.timeout(5):
            assert await called == {"product": "Rocket Boots", "count": 2}
        await fake.until(lambda: len(fake.requests) == 2)
    assert fake.requests[0].body["tools"][0]["function"]["name"] == "look_up"
    call, result = fake.requests[1].body["messages"][-2:]
    assert call["tool_calls"][0]["function"]["name"] == "look_up"
    assert result["tool_call_id"] == call["tool_calls"][0]["id"]
    assert "299" in result["content"]


async def test_a_wrong_key_is_told_at_once_without_the_key_and_ends_the_service(
    fake, build, wrong_key
):
    llm = build(wrong_key)
    async with asked(llm) as heard:
        await heard.first(LLMFullResponseEndFrame)
        [error] = heard.errors
        assert error.category is ErrorCategory.AUTHENTICATION
        assert "401" in error.error
        assert wrong_key not in f"{error.error} {error.exception!r}"
        assert not llm.is_usable
        assert heard.reported == [error]
    assert len(fake.requests) == 1  # nobody tried again


@pytest.mark.parametrize("limit", ["rate", "quota"])
async def test_a_limit_is_told_at_once_and_the_next_turn_works(fake, build, limit):
    fake.behaviour = Behaviour.LIMIT
    fake.limit = QUOTA if limit == "quota" else fake.limit
    llm = build()
    async with asked(llm) as heard:
        await heard.first(LLMFullResponseEndFrame)
        [error] = heard.errors
        assert error.category is ErrorCategory.RATE_LIMIT  # of a spent quota too
        assert "429" in error.error
        assert llm.is_usable
        assert len(fake.requests) == 1
        fake.behaviour = Behaviour.NORMAL
        await ask(heard, "Again?")
        await heard.first(LLMFullResponseEndFrame, number=2)
        assert said(heard) == ANSWER


@pytest.mark.parametrize(
    ("behaviour", "words"),
    [(Behaviour.CUT, "Connection error"), (Behaviour.ERROR, "The server had an error")],
)
async def test_a_stream_that_breaks_off_is_told_of_and_the_next_turn_works(
    fake, build, behaviour, words
):
    fake.behaviour = behaviour
    async with asked(build()) as heard:
        await heard.first(LLMFullResponseEndFrame)
        [error] = heard.errors
        assert words in error.error
        assert error.category is ErrorCategory.UNKNOWN
        assert error.processor.is_usable
        assert said(heard) == "We sell"  # what was said is said
        fake.behaviour = Behaviour.NORMAL
        await ask(heard, "Again?")
        await heard.first(LLMFullResponseEndFrame, number=2)
        assert said(heard) == f"We sell{ANSWER}"


@pytest.mark.parametrize(("stall_after", "tries"), [(0, 2), (3, 1)])
async def test_a_stall_is_told_of_within_the_timeout_of_two_tries(fake, build, stall_after, tries):
    fake.behaviour, fake.stall_after = Behaviour.STALL, stall_after
    async with asked(build(timeout=0.3)) as heard:
        error = await heard.first(ErrorFrame, within=8)
        assert "timed out" in error.error
        assert error.category is ErrorCategory.UNKNOWN
        assert len(fake.requests) == tries  # once words have come there is no second
        fake.behaviour = Behaviour.NORMAL
        await ask(heard, "Again?")
        await heard.first(LLMFullResponseEndFrame, number=2)
        assert said(heard).endswith(ANSWER)


async def test_models_tell_whether_a_key_is_good(fake, wrong_key):
    async with openai.AsyncOpenAI(api_key=fake.key, base_url=fake.base_url) as client:
        assert "gpt-4.1" in [model.id async for model in client.models.list()]
        with pytest.raises(openai.NotFoundError):
            await client.models.retrieve("gpt-0")
    async with openai.AsyncOpenAI(api_key=wrong_key, base_url=fake.base_url) as client:
        with pytest.raises(openai.AuthenticationError) as refused:
            await client.models.list()
    assert wrong_key not in str(refused.value)


async def test_an_answer_without_a_stream_and_several_calls_at_once(fake):
    question = [{"role": "user", "content": "Both?"}]
    async with openai.AsyncOpenAI(api_key=fake.key, base_url=fake.base_url) as client:
        whole = await client.chat.completions.create(model="gpt-4.1", messages=question)
        assert whole.choices[0].message.content == ANSWER
        fake.script = lambda _messages, _tools: [ToolCall("a", {"x": 1}), ToolCall("b")]
        whole = await client.chat.completions.create(model="gpt-4.1", messages=question)
        called = whole.choices[0].message.tool_calls
        assert [(call.function.name, call.function.arguments) for call in called] == [
            ("a", '{"x": 1}'),
            ("b", "{}"),
        ]


async def test_a_tool_call_without_its_result_is_refused_as_the_real_one_does(fake):
    call = {"id": "call_1", "type": "function", "function": {"name": "a", "arguments": "{}"}}
    messages = [
        {"role": "assistant", "tool_calls": [call]},
        {"role": "user", "content": "Hello?"},
    ]
    async with openai.AsyncOpenAI(api_key=fake.key, base_url=fake.base_url) as client:
        with pytest.raises(openai.BadRequestError, match="must be followed by tool messages"):
            await client.chat.completions.create(model="gpt-4.1", messages=messages)


def test_by_itself_it_plays_the_acme_call():
    transfer = [{"type": "function", "function": {"name": "transfer_to_agent"}}, *TOOLS]

    def hear(prompt, text, tools=transfer):
        return acme([prompt, {"role": "user", "content": text}], tools)

    assert "Tornado Kit" in hear(GREETER, "What do you sell?")
    cue = transfer_cue("greeter", "the caller asks")
    asked = {"role": "user", "content": "And the paint?"}
    for role in ("developer", "user"):  # as other servers know no developer
        assert "Welcome to Acme" in acme(
            [GREETER, opening_cue("Greet.") | {"role": role}], transfer
        )
        assert "$49" in acme([SUPPORT, asked, cue | {"role": role}], transfer)
    handed = hear(GREETER, "How much are the rocket boots?")
    assert (handed.name, handed.arguments["agent"]) == ("transfer_to_agent", "support")
    assert "$299" in hear(SUPPORT, "How much are the rocket boots?")
    assert hear(SUPPORT, "Goodbye!").name == "end_conversation"
    ending = {"role": "tool", "tool_call_id": "1", "content": '{"ending": true}'}
    assert "Goodbye" in acme([SUPPORT, ending], transfer)
