"""Calls with workers, tools and kinds that a user wrote for Pipecat, not for this package."""

import asyncio

import pytest
from pipecat.frames.frames import FunctionCallInProgressFrame, OutputTransportMessageUrgentFrame
from pipecat.observers.base_observer import BaseObserver, FramePushed

from pipecat_workers_cli.errors import PmwError
from tests.call.conftest import open_words_call

AGENT = '''
from pipecat.workers.llm import LLMWorker, tool

class Clerk(LLMWorker):
    def __init__(self, name, *, llm, city: str = "Oslo"):
        super().__init__(name, llm=llm, bridged=())
        self._city = city

    @tool
    async def find_order(self, params, number: int):
        """Find an order.

        Args:
            number: As on the receipt.
        """
        await params.result_callback({"answer": f"Order {number} is in {self._city}."})

class Bye(Clerk):
    @tool
    async def end_conversation(self, params, reason: str = ""):
        """Leave in its own way."""
        await params.result_callback("So long!")
        await self.end(reason="its own way")

class Broken(Clerk):
    async def on_activated(self, args):
        raise KeyError("nobody home")

class Dead(Clerk):
    async def start(self):
        raise OSError("no start with sk-live-0123456789")

class Unbridged(LLMWorker):
    """Has forgotten its bridge."""
'''
GREETER = """
name = "shop"
[main]
opening = { message = "Welcome the caller." }
[[workers]]
name = "greeter"
summary = "welcomes callers"
transfers = ["clerk"]
[[workers]]
name = "clerk"
summary = "finds orders"
transfers = ["greeter"]
"""
FIND = 'script = [{ match = "order ([0-9]+)", call = "find_order", args = { number = "12" } }]\n'

JOBS = '''
import asyncio

from pipecat.pipeline.job_decorator import job
from pipecat.workers.base_worker import BaseWorker
from pipecat.workers.llm import LLMContextWorker

class Orders(BaseWorker):
    def __init__(self, name, *, city: str, delay: float = 0.0):
        super().__init__(name)
        self._city, self._delay = city, delay

    @job(name="find")
    async def on_find(self, message):
        if "bad" in message.payload["question"]:
            raise RuntimeError("the password is hunter2")
        await self.send_job_response(message.job_id, {"answer": f"It is in {self._city}."})

class Asleep(LLMContextWorker):
    """Inactive, as Pipecat's LLM workers are until they are told otherwise."""

class Refuses(Orders):
    def __init__(self, name, **options):
        raise OSError("no such shelf: sk-live-0123456789")
'''
ASKING = """
name = "desk"
[main]
prompt = "You are the desk."
jobs = [{ tool = "ask", workers = ["orders"], job = "find" }]
[[workers]]
name = "orders"
"""

TOOLS = '''
import asyncio

from pipecat.adapters.llm.schemas.direct_function import tool_options

async def find_order(params, question: str):
    """Find an order."""
    if "bad" in question:
        raise RuntimeError("the password is sk-live-0123456789")
    await params.result_callback(f"Found {question.split()[-1]}.")

@tool_options(cancel_on_interruption=False)
async def later(params, question: str):
    """Take a moment."""
    await asyncio.sleep(0.1)
    await params.result_callback("It was found.")

@tool_options(timeout_secs=0.2)
async def hang(params, question: str):
    """Take for ever."""
    await asyncio.sleep(3600)

@tool_options(timeout_secs=0.2)
async def forget(params, question: str):
    """Forget to answer."""

async def give_back(params, question: str):
    """Answer as other functions do."""
    return "It was found."

async def leave_to_another(params, question: str):
    """Let somebody else answer."""
    asyncio.get_running_loop().call_later(
        0.05, lambda: asyncio.ensure_future(params.result_callback("It was found."))
    )
'''
WITH_TOOL = """
name = "desk"
[main]
prompt = "You are the desk."
tools = ["tools:{tool}"]
[[workers]]
name = "other"
kind = "specialist"
"""


@pytest.fixture
def recipe(tmp_path):
    """Write a recipe with a module beside it and return its path."""

    def write(text, **modules):
        for name, code in modules.items():
            (tmp_path / f"{name}.py").write_text(code)
        path = tmp_path / "mine.toml"
        path.write_text(text)
        return str(path)

    return write


def told(entries, event="bot"):
    return [entry.text for entry in entries if entry.event == event]


async def test_an_llm_worker_of_ones_own_gets_the_call_keeps_it_and_hands_it_back(recipe):
    clerk = 'kind = "shop:Clerk"\noptions = { city = "Bergen" }\n' + FIND
    async with open_words_call(recipe(GREETER + clerk, shop=AGENT)) as call:
        await call.opened()
        moved = await call.say("The clerk, please.")
        assert [(e.worker, e.target) for e in moved if e.event == "transfer"] == [
            ("greeter", "clerk")
        ]
        found = await call.say("Where is order 12?")
        assert told(found) == ["Order 12 is in Bergen."]
        assert [(e.worker, e.name, e.args) for e in found if e.event == "tool"] == [
            ("clerk", "find_order", {"number": 12})
        ]
        back = await call.say("Back to the greeter, please.")
        assert [(e.worker, e.target) for e in back if e.event == "transfer"] == [
            ("clerk", "greeter")
        ]
        await call.say("The clerk, please.")
        await call.say("Goodbye.")
        assert call.call.reason == "the caller said goodbye"


async def test_a_class_with_a_goodbye_of_its_own_keeps_it(recipe):
    text = GREETER.replace("Welcome the caller.", 'Welcome.", worker = "clerk')
    async with open_words_call(recipe(text + 'kind = "shop:Bye"\n', shop=AGENT)) as call:
        await call.opened()
        await call.say("Goodbye.")
        await asyncio.wait_for(call.call.ended.wait(), 10)
        assert call.call.reason == "its own way"


async def test_a_class_that_can_not_be_reached_by_the_call_is_refused(recipe):
    path = recipe(GREETER + 'kind = "shop:Unbridged"\n', shop=AGENT)
    with pytest.raises(PmwError) as caught:
        async with open_words_call(path):
            pass
    assert caught.value.what == "worker 'clerk' is to have the call, but isn't bridged"
    assert caught.value.mend == "hand bridged=() to super().__init__ in its class"


async def test_a_class_that_raises_when_it_is_built_is_told_without_its_secrets(recipe):
    path = recipe(ASKING + 'kind = "jobs:Refuses"\noptions = { city = "Oslo" }', jobs=JOBS)
    with pytest.raises(PmwError) as caught:
        async with open_words_call(path):
            pass
    assert caught.value.what == (
        "worker 'orders' of kind 'jobs:Refuses' can't be built: "
        "OSError: no such shelf: *** (jobs.py:24)"
    )


async def test_the_job_handlers_of_a_class_answer(recipe):
    path = recipe(ASKING + 'kind = "jobs:Orders"\noptions = { city = "Oslo" }', jobs=JOBS)
    async with open_words_call(path) as call:
        said = await call.say("Where is my order?")
        assert told(said) == ["It is in Oslo."]
        await call.until("job", state="completed", text="It is in Oslo.")


async def test_a_job_handler_that_raises_ends_the_job_and_names_only_the_type(recipe):
    path = recipe(ASKING + 'kind = "jobs:Orders"\noptions = { city = "Oslo" }', jobs=JOBS)
    async with open_words_call(path) as call:
        said = await call.say("Where is my bad order?")
        assert told(said) == [
            "I'm sorry, that didn't work: orders failed: RuntimeError. Is there anything else?"
        ]
        assert "hunter2" not in repr(call.entries)
        assert told(await call.say("Where is the other order?")) == ["It is in Oslo."]


async def test_an_llm_worker_that_sleeps_says_so_to_whoever_asks_it(recipe):
    async with open_words_call(recipe(ASKING + 'kind = "jobs:Asleep"', jobs=JOBS)) as call:
        (text,) = told(await call.say("Where is my order?"))
        assert "orders is not active" in text


async def test_a_function_is_a_tool(recipe):
    path = recipe(WITH_TOOL.format(tool="find_order"), tools=TOOLS)
    async with open_words_call(path) as call:
        said = await call.say("Where is 12")
        assert told(said) == ["Found 12."]


async def test_a_tool_that_hangs_is_cut_off_when_its_options_say(recipe):
    async with open_words_call(recipe(WITH_TOOL.format(tool="hang"), tools=TOOLS)) as call:
        (text,) = told(await call.say("Go on"))
        assert "that took too long" in text


async def test_a_tool_that_forgets_to_answer_is_cut_off_like_one_that_hangs(recipe):
    async with open_words_call(recipe(WITH_TOOL.format(tool="forget"), tools=TOOLS)) as call:
        (text,) = told(await call.say("Go on"))
        assert "that took too long" in text


async def test_a_tool_that_returns_its_answer_is_told_where_to_put_it(recipe):
    async with open_words_call(recipe(WITH_TOOL.format(tool="give_back"), tools=TOOLS)) as call:
        (error,) = told(await call.say("Where is 12"), "error")
        assert error.endswith("give it to params.result_callback instead")


async def test_a_tool_may_return_before_it_is_answered(recipe):
    path = recipe(WITH_TOOL.format(tool="leave_to_another"), tools=TOOLS)
    async with open_words_call(path) as call:
        assert told(await call.say("Where is it?")) == ["It was found."]


async def test_a_tool_that_may_go_on_through_an_interruption_is_told_when_it_is_done(recipe):
    seen = []

    class Progress(BaseObserver):
        async def on_push_frame(self, data: FramePushed) -> None:
            if isinstance(data.frame, FunctionCallInProgressFrame):
                seen.append(data.frame.cancel_on_interruption)

    async with open_words_call(recipe(WITH_TOOL.format(tool="later"), tools=TOOLS)) as call:
        call.call.main.add_observer(Progress())
        await call.say("Where is it?")
        await call.until("bot", text="It was found.")
    assert set(seen) == {False}


async def test_a_tool_that_raises_is_an_error_of_the_tool_and_the_call_goes_on(recipe):
    path = recipe(WITH_TOOL.format(tool="find_order"), tools=TOOLS)
    async with open_words_call(path) as call:
        said = await call.say("a bad one")
        assert told(said, "error") == [
            "main: Error executing function call [find_order]: the password is ***"
        ]
        assert told(await call.say("Where is 12")) == ["Found 12."]


class Sent(BaseObserver):
    """Keeps the errors that a client is sent."""

    def __init__(self) -> None:
        super().__init__()
        self.errors: list[str] = []

    async def on_push_frame(self, data: FramePushed) -> None:
        frame = data.frame
        if (
            isinstance(frame, OutputTransportMessageUrgentFrame)
            and frame.message["type"] == "error"
        ):
            self.errors.append(frame.message["data"]["error"])


async def test_a_callers_client_is_sent_no_secret_of_a_tool_that_raised(recipe):
    path = recipe(WITH_TOOL.format(tool="find_order"), tools=TOOLS)
    async with open_words_call(path) as call:
        sent = Sent()
        call.call.main.add_observer(sent)
        await call.say("a bad one")
        await call.say("Where is 12")
        assert sent.errors
        assert {text.rpartition(" ")[2] for text in sent.errors} == {"***"}


async def test_an_agent_that_raises_when_it_gets_the_call_is_an_error_not_a_silence(recipe):
    path = recipe(GREETER + 'kind = "shop:Broken"\n', shop=AGENT)
    async with open_words_call(path) as call:
        await call.opened()
        said = await call.say("The clerk, please.")
        assert told(said, "error") == ["clerk: can't take the call: KeyError: 'nobody home'"]


async def test_a_worker_that_raises_when_it_starts_is_an_error_not_a_silence(recipe):
    text = GREETER.replace("Welcome the caller.", 'Welcome.", worker = "clerk')
    async with open_words_call(recipe(text + 'kind = "shop:Dead"\n', shop=AGENT)) as call:
        await call.opened()
        entry = await call.until("error")
        assert (entry.worker, entry.text) == (
            "clerk",
            "clerk: did not start: OSError: no start with ***",
        )
