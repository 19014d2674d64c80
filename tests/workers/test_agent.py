"""An agent: whom it may hand the call to, what it answers once, how it says goodbye."""

import asyncio

import pytest
from pipecat.bus import BusActivateWorkerMessage, BusEndMessage, BusFrameMessage
from pipecat.frames.frames import (
    Frame,
    LLMContextFrame,
    LLMMessagesAppendFrame,
    LLMSetToolsFrame,
    LLMTextFrame,
    StartFrame,
)
from pipecat.processors.aggregators.llm_context import LLMContext
from pipecat.processors.frame_processor import FrameDirection

from pipecat_workers_cli.buses.local import LocalBus
from pipecat_workers_cli.call.run import running
from pipecat_workers_cli.recipe.model import Rule
from pipecat_workers_cli.workers.agent import Agent
from pipecat_workers_cli.workers.cues import opening_cue, transfer_cue
from tests.workers.conftest import Frames, RehearsedLLM, agent, bench, tool

UP, DOWN = FrameDirection.UPSTREAM, FrameDirection.DOWNSTREAM


def said(output: Frames) -> list[str]:
    return [frame.text for frame in output.of(LLMTextFrame)]


def user(text: str) -> LLMMessagesAppendFrame:
    return LLMMessagesAppendFrame([{"role": "user", "content": text}], run_llm=True)


def test_the_llm_is_offered_the_recipes_names_and_how_they_differ():
    llm = RehearsedLLM()
    ann = Agent("ann", llm=llm, transfers={"bob": "knows prices", "eve": "knows speeds"})
    end, transfer = ann.build_tools()
    assert (end.name, transfer.name) == ("end_conversation", "transfer_to_agent")
    assert transfer.properties["agent"]["enum"] == ["bob", "eve"]
    assert transfer.properties["agent"]["description"] == "bob: knows prices; eve: knows speeds"


def test_an_agent_without_transfers_is_not_offered_any():
    [end] = Agent("ann", llm=RehearsedLLM(), transfers={}).build_tools()
    assert end.name == "end_conversation"


@pytest.mark.parametrize("name", ["eve", "main", "ann", "Bob", "", "bob; eve"])
async def test_a_transfer_to_any_other_name_is_refused_and_the_llm_is_told_why(name):
    llm = RehearsedLLM([tool("transfer_to_agent", agent=name, reason="r")], ["I'm still here."])
    ann = Agent("ann", llm=llm, transfers={"bob": "knows prices"})
    async with bench(ann, agent("bob"), agent("eve")) as pipeline:
        await pipeline.output.until(lambda: said(pipeline.output))
        assert said(pipeline.output) == ["I'm still here."]
        assert pipeline.activations() == ["ann"]
        result = str(pipeline.main.conversation.get_messages()[-1])
    assert "there is bob" in result


async def test_the_other_agent_is_activated_with_the_reason_and_the_first_says_no_more():
    llm = RehearsedLLM([tool("transfer_to_agent", agent="bob", reason="asks for boots")])
    ann = Agent("ann", llm=llm, transfers={"bob": ""})
    bob = agent("bob", Rule(on="transfer", say="Bob here."))
    async with bench(ann, bob) as pipeline:
        await pipeline.output.until(lambda: "here." in "".join(said(pipeline.output)))
        assert "".join(said(pipeline.output)) == "Bob here."
        assert pipeline.activations() == ["ann", "bob"]
        messages = pipeline.main.conversation.get_messages()
        assert transfer_cue("ann", "asks for boots") in messages


class Line:
    """An agent alone on a bus, and what a main worker would send it."""

    def __init__(self, bus: LocalBus, thoughts: Frames) -> None:
        self._bus = bus
        self._thoughts = thoughts

    async def activate(self) -> None:
        """Give her the call; what is sent to her sooner, a bus drops."""
        before = len(self._thoughts.of(LLMSetToolsFrame))
        await self._bus.send(BusActivateWorkerMessage(source="main", target="ann"))
        await self._thoughts.until(lambda: len(self._thoughts.of(LLMSetToolsFrame)) > before)

    async def send(self, frame: Frame, direction: FrameDirection) -> None:
        message = BusFrameMessage(source="main", frame=frame, direction=direction)
        await self._bus.send(message)

    async def runs(self) -> int:
        """Return how often the LLM was run, once all that was sent has reached it."""
        mark = LLMTextFrame("that was all")
        await self.send(mark, DOWN)
        await self._thoughts.until(lambda: mark in self._thoughts.all)
        return len(self._thoughts.of(LLMContextFrame))


CUES = [opening_cue("Welcome them."), transfer_cue("bob", "asks for boots")]


@pytest.mark.parametrize("cue", CUES, ids=["opening", "transfer"])
async def test_a_users_turn_that_overtakes_the_activation_is_answered_once(cue):
    ann = Agent("ann", llm=RehearsedLLM(), transfers={})
    bus, thoughts = LocalBus(), Frames(ann.llm)
    with_cue = LLMContext([{"role": "user", "content": "And the paint?"}, cue])
    async with running([ann], bus):
        await thoughts.first(StartFrame)
        line = Line(bus, thoughts)
        await line.activate()
        await line.send(LLMContextFrame(with_cue), DOWN)
        await line.send(LLMContextFrame(with_cue), UP)  # the activation's own run
        assert await line.runs() == 1
        await line.activate()  # the call comes back later, with nobody talking
        await line.send(LLMContextFrame(with_cue), UP)
        assert await line.runs() == 2


async def test_an_activation_that_nothing_overtakes_is_answered_and_so_are_tool_results():
    ann = Agent("ann", llm=RehearsedLLM(), transfers={})
    bus, thoughts = LocalBus(), Frames(ann.llm)
    async with running([ann], bus):
        await thoughts.first(StartFrame)
        line = Line(bus, thoughts)
        await line.activate()
        await line.send(LLMContextFrame(LLMContext(CUES)), UP)
        assert await line.runs() == 1
        words = LLMContext([*CUES, {"role": "user", "content": "Set it to 20."}])
        await line.send(LLMContextFrame(words), DOWN)
        result = {"role": "tool", "content": "20", "tool_call_id": "1"}
        await line.send(LLMContextFrame(LLMContext([*words.get_messages(), result])), UP)
        assert await line.runs() == 3


END = tool("end_conversation", reason="all is said")


@pytest.mark.parametrize(
    ("responses", "heard"),
    [
        pytest.param([["Goodbye!", END], ["Goodbye again!"]], ["Goodbye!"], id="said with it"),
        pytest.param([[END], ["Goodbye!"], ["Goodbye again!"]], ["Goodbye!"], id="said after it"),
        pytest.param([[" ", END], ["Goodbye!"]], [" ", "Goodbye!"], id="a blank is no goodbye"),
    ],
)
async def test_goodbye_is_said_once_and_then_the_call_ends(responses, heard):
    ann = Agent("ann", llm=RehearsedLLM(*responses), transfers={})
    async with bench(ann) as pipeline:
        await pipeline.until(lambda: pipeline.sent(BusEndMessage))
        assert said(pipeline.output) == heard
        [end] = pipeline.sent(BusEndMessage)
        assert end.reason == "all is said"
        await asyncio.wait_for(pipeline.main.wait(), 5)
        assert said(pipeline.output) == heard


async def test_words_of_an_earlier_answer_are_no_goodbye():
    ann = Agent("ann", llm=RehearsedLLM(["Hello!"], [END], ["Goodbye!"]), transfers={})
    async with bench(ann) as pipeline:
        await pipeline.output.until(lambda: said(pipeline.output) == ["Hello!"])
        await pipeline.main.queue_frame(user("That was all."))
        await pipeline.until(lambda: pipeline.sent(BusEndMessage))
        assert said(pipeline.output) == ["Hello!", "Goodbye!"]
