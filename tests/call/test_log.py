"""What a call's log tells, in which order, and when a turn counts as answered."""

import asyncio

import msgspec
import pytest
from pipecat.bus import BusActivateWorkerMessage, BusEndMessage
from pipecat.frames.frames import (
    BotStartedSpeakingFrame,
    BotStoppedSpeakingFrame,
    ErrorFrame,
    Frame,
    FunctionCallCancelFrame,
    FunctionCallInProgressFrame,
    FunctionCallResultFrame,
    FunctionCallResultProperties,
    InterruptionFrame,
    LLMContextAssistantTurnFrame,
    LLMContextUserTurnFrame,
    LLMFullResponseEndFrame,
    LLMFullResponseStartFrame,
)
from pipecat.observers.base_observer import FramePushed
from pipecat.processors.filters.identity_filter import IdentityFilter
from pipecat.processors.frame_processor import FrameDirection
from pipecat.processors.frameworks.rtvi.frames import RTVISendTextFrame

from pipecat_workers_cli.call.log import CallLog
from pipecat_workers_cli.traffic.entry import Entry
from pipecat_workers_cli.workers.main import FROM_WORKER

DOWN, UP = FrameDirection.DOWNSTREAM, FrameDirection.UPSTREAM
SILENT = FunctionCallResultProperties(run_llm=False)


class Told:
    """A log, fed frame by frame as Pipecat feeds an observer, and what it has told."""

    def __init__(self) -> None:
        self.entries: list[Entry] = []
        self.log = CallLog("c1", main="main", emit=self.entries.append)
        self._end = IdentityFilter()

    async def see(self, *frames: Frame, worker: str = "ann", direction=DOWN) -> None:
        for frame in frames:
            frame.metadata.setdefault(FROM_WORKER, worker)
            await self.log.on_push_frame(
                FramePushed(self._end, self._end, frame, direction, timestamp=0)
            )

    @property
    def settled(self) -> bool:
        waiting = self.log.settled()
        try:
            waiting.send(None)
        except StopIteration:
            return True
        waiting.close()
        return False

    def events(self) -> list[str]:
        return [entry.event for entry in self.entries]


@pytest.fixture
def told() -> Told:
    return Told()


def user(text="Hello?"):
    return LLMContextUserTurnFrame(text=text, timestamp="")


def answer(text="Hello."):
    return LLMContextAssistantTurnFrame(text=text, timestamp="")


def begins(name="look_up", call="1"):
    return FunctionCallInProgressFrame(
        function_name=name, tool_call_id=call, arguments={"what": "boots"}
    )


def ends(name="look_up", call="1", properties=None):
    return FunctionCallResultFrame(
        function_name=name, tool_call_id=call, arguments={}, result="x", properties=properties
    )


def activation(source, target, **metadata):
    args = {"metadata": metadata} if metadata else None
    return BusActivateWorkerMessage(source=source, target=target, args=args)


async def test_entries_keep_the_order_of_the_frames_and_say_whose_they_are(told):
    told.log.on_bus(activation("main", "ann"))
    await told.see(LLMFullResponseStartFrame(), LLMFullResponseEndFrame(), answer(" Welcome. "))
    await told.see(user("Boots?"), LLMFullResponseStartFrame(), begins("transfer_to_agent"))
    await told.see(ends("transfer_to_agent", properties=SILENT), LLMFullResponseEndFrame())
    told.log.on_bus(activation("ann", "bob", reason="asks for boots"))
    await told.see(LLMFullResponseStartFrame(), worker="bob")
    await told.see(answer("$299."), worker="bob")
    first, words, tool, ended, transfer, second = told.entries
    assert (ended.event, ended.state, ended.id) == ("tool", "completed", tool.id)
    assert (first.worker, first.text, first.turn) == ("ann", "Welcome.", 1)
    assert (words.event, words.text, words.worker) == ("user", "Boots?", None)
    assert (tool.name, tool.args, tool.worker) == ("transfer_to_agent", {"what": "boots"}, "ann")
    assert (transfer.event, transfer.worker, transfer.target) == ("transfer", "ann", "bob")
    assert transfer.reason == "asks for boots"
    assert (second.worker, second.turn) == ("bob", 2)
    assert {entry.call for entry in told.entries} == {"c1"}
    times = [entry.at_ms for entry in told.entries]
    assert times == sorted(times)


async def test_the_upstream_half_of_a_broadcast_is_not_told_again(told):
    await told.see(user(), begins())
    await told.see(user(), begins(), direction=UP)
    assert told.events() == ["user", "tool"]


async def test_a_typed_turn_is_told_when_it_arrives(told):
    await told.see(RTVISendTextFrame(msg_id="1", text="Hello?"))
    assert [(entry.event, entry.text) for entry in told.entries] == [("user", "Hello?")]


async def test_an_error_names_the_service_and_hides_keys(told, monkeypatch):
    monkeypatch.setenv("SOME_API_KEY", "abc-secret-xyz")
    error = ErrorFrame("refused key abc-secret-xyz", processor=IdentityFilter())
    await told.see(error, worker="bob", direction=UP)
    [entry] = told.entries
    assert (entry.event, entry.worker) == ("error", "bob")
    assert entry.text == "IdentityFilter: refused key ***"
    assert told.log.failure == entry.text


async def test_a_turn_is_settled_by_its_answer_not_before(told):
    told.log.expect_turn()
    assert not told.settled
    await told.see(RTVISendTextFrame(msg_id="1", text="Hello?"), LLMFullResponseStartFrame())
    assert not told.settled
    await told.see(LLMFullResponseEndFrame())
    assert not told.settled
    await told.see(answer())
    assert told.settled


async def test_an_answer_to_what_was_said_before_settles_nothing(told):
    told.log.expect_turn()
    await told.see(answer("the last turn's, cut short"))
    assert not told.settled
    await told.see(RTVISendTextFrame(msg_id="1", text="Hello?"))
    assert not told.settled
    await told.see(answer())
    assert told.settled


async def test_the_opening_is_settled_by_the_first_words(told):
    told.log.expect_opening()
    assert not told.settled
    await told.see(LLMFullResponseStartFrame(), LLMFullResponseEndFrame(), answer())
    assert told.settled


async def test_what_a_tool_brings_is_waited_for_and_spoken_of(told):
    await told.see(user(), LLMFullResponseStartFrame(), begins())
    await told.see(answer("Let me look."), LLMFullResponseEndFrame())
    assert not told.settled  # the tool runs
    await told.see(ends())
    assert not told.settled  # its result is yet to be spoken of
    await told.see(LLMFullResponseStartFrame(), LLMFullResponseEndFrame(), answer("Found."))
    assert told.settled


@pytest.mark.parametrize("end", [ends(properties=SILENT), FunctionCallCancelFrame("look_up", "1")])
async def test_a_tool_that_nobody_speaks_of_is_not_waited_for(end, told):
    await told.see(user(), begins(), answer())
    assert not told.settled
    await told.see(end)
    assert told.settled


async def test_a_transfer_is_settled_by_the_next_agents_words(told):
    await told.see(user(), LLMFullResponseStartFrame(), begins("transfer_to_agent"))
    await told.see(answer("One moment."), LLMFullResponseEndFrame())
    await told.see(ends("transfer_to_agent", properties=SILENT))
    assert not told.settled
    told.log.on_bus(activation("ann", "bob"))
    assert not told.settled
    await told.see(LLMFullResponseStartFrame(), LLMFullResponseEndFrame(), answer("Bob here."))
    assert told.settled


async def test_a_goodbye_is_settled_by_the_end_alone(told):
    await told.see(user(), begins("end_conversation"), ends("end_conversation", properties=SILENT))
    await told.see(answer("Goodbye."))
    assert not told.settled
    told.log.on_bus(BusEndMessage(source="ann"))
    assert told.settled


async def test_what_is_spoken_is_waited_for(told):
    await told.see(user(), BotStartedSpeakingFrame(), answer())
    assert not told.settled
    await told.see(BotStoppedSpeakingFrame())
    assert told.settled


async def test_an_interruption_drops_what_was_owed(told):
    await told.see(user(), LLMFullResponseStartFrame(), begins(), ends())
    await told.see(InterruptionFrame(), user("Stop."))
    assert not told.settled
    await told.see(answer("Yes?"))
    assert told.settled


async def test_an_error_settles_a_turn_and_half_an_answer_does_not_take_it_back(told):
    told.log.expect_turn()
    await told.see(RTVISendTextFrame(msg_id="1", text="Hello?"), LLMFullResponseStartFrame())
    await told.see(ErrorFrame("cut off", processor=IdentityFilter()), direction=UP)
    await told.see(LLMFullResponseEndFrame(), answer("Let me"))
    assert told.settled
    assert told.log.failure == "IdentityFilter: cut off"
    told.log.expect_turn()
    assert told.log.failure is None


async def test_many_may_wait_and_all_are_told(told):
    told.log.expect_opening()
    waiting = [asyncio.create_task(told.log.settled()) for _ in range(3)]
    await told.see(answer())
    await asyncio.wait_for(asyncio.gather(*waiting), 1)


async def test_what_a_model_gives_a_tool_is_told_as_json_has_it(told):
    half = "\ud83d"  # of a surrogate pair
    begun = FunctionCallInProgressFrame(f"look{half}", f"1{half}", {f"what{half}": [half]})
    ended = FunctionCallResultFrame(f"look{half}", f"1{half}", {}, {"found": half})
    await told.see(begun, ended)
    tool, result = (msgspec.json.decode(msgspec.json.encode(entry)) for entry in told.entries)
    assert (tool["name"], tool["id"], tool["args"]) == ("look?", "1?", {"what?": ["?"]})
    assert (result["id"], result["result"]) == ("1?", {"found": "?"})
