"""A call's client is told who is who, and then every entry of its own call."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from loguru import logger
from pipecat.frames.frames import (
    Frame,
    InputTransportMessageFrame,
    OutputTransportMessageUrgentFrame,
)
from pipecat.processors.frame_processor import FrameProcessor

from pipecat_workers_cli.call.plan import plan_call
from pipecat_workers_cli.call.run import Call, open_call
from pipecat_workers_cli.options import Profile, ServiceOptions
from pipecat_workers_cli.recipe.load import load_recipe
from pipecat_workers_cli.session.client import WAITING, keep_client_informed, who_to_whom
from pipecat_workers_cli.traffic.entry import Entry
from pipecat_workers_cli.traffic.tap import Tap
from pipecat_workers_cli.transports.console import ConsoleTransport

OFFLINE = ServiceOptions(profile=Profile.OFFLINE)
READY = {"label": "rtvi-ai", "type": "client-ready", "id": "1", "data": {"version": "1.0.0"}}


class Client:
    """The client's end of a call.

    Attributes:
        told: What `{"pmw": …}` held in each server message, oldest first.
    """

    def __init__(self, call: Call, transport: ConsoleTransport, tap: Tap) -> None:
        self.call = call
        self.tap = tap
        self.transport = transport
        self.told: list[dict] = []
        self._changed = asyncio.Event()

        @transport.output().event_handler("on_before_process_frame")
        async def on_frame(_output: FrameProcessor, frame: Frame) -> None:
            message = getattr(frame, "message", None) or {}
            ours = isinstance(frame, OutputTransportMessageUrgentFrame)
            if ours and message.get("type") == "server-message":
                self.told.append(message["data"]["pmw"])
                self._changed.set()

    async def say_ready(self) -> None:
        await self.transport.input().broadcast_frame(InputTransportMessageFrame, message=READY)

    async def until(self, happened) -> None:
        async with asyncio.timeout(10):
            while not happened():
                self._changed.clear()
                await self._changed.wait()

    def events(self) -> list[str]:
        return [entry["event"] for entry in self.told]


@asynccontextmanager
async def connected(tap: Tap) -> AsyncIterator[Client]:
    plan = plan_call(load_recipe("handoff"), OFFLINE, speech=False)
    transport = ConsoleTransport()
    async with open_call(plan, transport, tap=tap, idle_timeout=30) as call:
        client = Client(call, transport, tap)
        async with keep_client_informed(call, plan, tap):
            yield client


async def test_the_first_message_says_who_is_who():
    async with connected(Tap()) as client:
        await client.say_ready()
        await client.until(lambda: client.told)
        hello = client.told[0]
        assert (hello["event"], hello["call"]) == ("call", client.call.id)
        assert hello["recipe"] == "handoff"
        assert hello["hash"] == load_recipe("handoff").hash
        assert [worker["name"] for worker in hello["workers"]] == ["greeter", "support"]
        assert all(worker["summary"] for worker in hello["workers"])
        assert hello["providers"] == {"llm": "scripted"}
        assert hello["edges"] == [
            {"source": "greeter", "target": "support", "tie": "transfer"},
            {"source": "support", "target": "greeter", "tie": "transfer"},
        ]


def test_a_client_is_told_who_asks_whom_by_which_tool():
    debate = load_recipe("debate").recipe
    asked = [
        {"source": "moderator", "target": name, "tie": "job", "tool": "debate(topic)"}
        for name in ("advocate", "critic", "analyst")
    ]
    assert who_to_whom(debate) == asked


async def test_entries_from_before_the_client_was_ready_are_kept_for_it_in_order():
    async with connected(Tap()) as client:
        client.call.log.tell(event="tool", worker="greeter", name="look_up", args={"what": "boots"})
        client.call.log.tell(event="transfer", worker="greeter", target="support")
        assert client.told == []
        await client.say_ready()
        await client.until(lambda: "transfer" in client.events())
        assert client.events()[0] == "call"
        tool, transfer = (e for e in client.told if e["event"] in ("tool", "transfer"))
        assert tool["args"] == {"what": "boots"}
        assert "target" not in tool  # what says nothing is left out
        assert (transfer["worker"], transfer["target"]) == ("greeter", "support")


async def test_a_client_hears_of_a_turn_and_of_no_other_call():
    tap = Tap()
    async with connected(tap) as one, connected(tap) as other:
        for client in (one, other):
            await client.say_ready()
            await client.until(lambda client=client: "bot" in client.events())
        before = len(other.told)
        await one.transport.send_turn("How much is the paint?")
        await one.until(lambda: one.events().count("bot") == 2)
        assert one.events()[-4:] == ["user", "tool", "transfer", "bot"]
        assert "$49" in one.told[-1]["text"]
        assert len(other.told) == before
        assert {entry["call"] for entry in one.told} == {one.call.id}


async def test_a_client_that_takes_nothing_costs_a_bounded_queue_and_the_call_goes_on():
    lines: list[str] = []
    sink = logger.add(lines.append, format="{message}", level="WARNING")
    try:
        async with connected(Tap()) as client:
            for number in range(WAITING + 5):
                client.call.log.tell(event="user", text=str(number))
            await client.say_ready()
            await client.until(lambda: len(client.told) > WAITING)
            assert str(WAITING + 4) not in [entry.get("text") for entry in client.told]
            assert not client.call.ended.is_set()
    finally:
        logger.remove(sink)
    assert any("takes no messages" in line for line in lines)


async def test_after_the_block_nobody_is_told_and_no_task_is_left():
    tap = Tap()
    before = asyncio.all_tasks()
    async with connected(tap) as client:
        await client.say_ready()
        await client.until(lambda: client.told)
    told = len(client.told)
    tap.add(Entry(event="user", call=client.call.id, at_ms=0, text="Is anybody there?"))
    assert len(client.told) == told
    assert asyncio.all_tasks() == before
