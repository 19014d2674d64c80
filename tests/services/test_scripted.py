"""The scripted LLM in a real pipeline, with Pipecat's own aggregators, worker and runner."""

import asyncio
import time
from contextlib import asynccontextmanager

import pytest
from pipecat.adapters.llm.schemas.function_schema import FunctionSchema
from pipecat.adapters.llm.schemas.tools_schema import ToolsSchema
from pipecat.frames.frames import (
    Frame,
    FunctionCallCancelFrame,
    InterruptionFrame,
    LLMConfigureOutputFrame,
    LLMContextFrame,
    LLMFullResponseEndFrame,
    LLMFullResponseStartFrame,
    LLMMessagesAppendFrame,
    LLMTextFrame,
    MetricsFrame,
)
from pipecat.metrics.metrics import ProcessingMetricsData, TTFBMetricsData
from pipecat.pipeline.pipeline import Pipeline
from pipecat.pipeline.worker import PipelineParams, PipelineWorker
from pipecat.processors.aggregators.llm_context import LLMContext
from pipecat.processors.aggregators.llm_response_universal import LLMContextAggregatorPair
from pipecat.processors.frame_processor import FrameDirection, FrameProcessor
from pipecat.workers.runner import WorkerRunner

from pipecat_workers_cli.recipe.model import Rule
from pipecat_workers_cli.services.providers import Persona
from pipecat_workers_cli.services.scripted import ScriptedLLMService
from pipecat_workers_cli.workers.cues import opening_cue

LONG = " ".join(["so"] * 6_000)  # takes long enough to be interrupted in


class Listener(FrameProcessor):
    """Hears what the LLM says, and when."""

    def __init__(self):
        super().__init__()
        self.words: list[str] = []
        self.frames: list[Frame] = []
        self.changed = asyncio.Event()

    async def process_frame(self, frame, direction):
        await super().process_frame(frame, direction)
        self.frames.append(frame)
        if isinstance(frame, LLMTextFrame):
            self.words.append(frame.text)
        self.changed.set()
        await self.push_frame(frame, direction)

    async def until(self, happened):
        async with asyncio.timeout(5):
            while not happened():
                self.changed.clear()
                await self.changed.wait()

    @property
    def text(self):
        return "".join(self.words)

    def count(self, kind):
        return sum(isinstance(frame, kind) for frame in self.frames)

    def ended(self, times):
        return lambda: self.count(LLMFullResponseEndFrame) >= times


class Conversation:
    """One call: a context, a service and a listener in a running pipeline."""

    def __init__(self, *rules, tools=(), handlers=None):
        script = tuple(Rule.model_validate(rule) for rule in rules)
        self.llm = ScriptedLLMService(persona=Persona("acme", "knows it all", "Be kind.", script))
        for name, handler in (handlers or {}).items():
            self.llm.register_function(name, handler)
        self.context = LLMContext(tools=ToolsSchema(standard_tools=list(tools)))
        pair = LLMContextAggregatorPair(self.context)
        self.ear = Listener()

        @pair.assistant().event_handler("on_assistant_turn_stopped")
        async def on_written(_aggregator, _message):
            self.ear.changed.set()

        self.worker = PipelineWorker(
            Pipeline([pair.user(), self.llm, self.ear, pair.assistant()]),
            params=PipelineParams(enable_metrics=True),
            idle_timeout_secs=None,
        )

    async def say(self, text):
        message = {"role": "user", "content": text}
        await self.worker.queue_frame(LLMMessagesAppendFrame([message], run_llm=True))

    async def turn(self, text):
        """Say something and give the answer; the end of one cut off before may be missing."""
        before = self.ear.count(LLMFullResponseStartFrame)
        await self.say(text)
        await self.ear.until(lambda: self.ear.count(LLMFullResponseStartFrame) > before)
        starts = [
            place
            for place, frame in enumerate(self.ear.frames)
            if isinstance(frame, LLMFullResponseStartFrame)
        ]
        answer = starts[before]

        def ended():
            return any(
                isinstance(frame, LLMFullResponseEndFrame) for frame in self.ear.frames[answer:]
            )

        await self.ear.until(ended)
        frames = self.ear.frames[answer:]
        return "".join(frame.text for frame in frames if isinstance(frame, LLMTextFrame))

    async def committed(self, text):
        """Wait until the assistant's aggregator has written `text` into the context."""

        def written():
            return any(
                message.get("role") == "assistant" and message.get("content") == text
                for message in self.context.get_messages()
            )

        await self.ear.until(written)


@asynccontextmanager
async def open_conversation(*rules, **rest):
    talk = Conversation(*rules, **rest)
    runner = WorkerRunner(handle_sigint=False)
    await runner.add_workers(talk.worker)
    started = asyncio.Event()

    @talk.worker.event_handler("on_pipeline_started")
    async def on_started(_worker, _frame):
        started.set()

    running = asyncio.create_task(runner.run())
    try:
        async with asyncio.timeout(10):
            await started.wait()
        yield talk
    finally:
        await runner.cancel("test over")
        async with asyncio.timeout(10):
            await running


async def test_words_stream_in_order_with_their_spaces():
    said = "Hello there,  my friend.\nHow   are you? "
    async with open_conversation({"say": said}) as talk:
        assert await talk.turn("hi") == said
        assert len(talk.ear.words) == 7
        assert talk.ear.count(LLMFullResponseStartFrame) == 1
        await talk.committed("Hello there,  my friend.\nHow   are you?")


async def test_a_context_from_downstream_is_answered_too():
    async with open_conversation({"say": "Yes."}) as talk:
        talk.context.add_message({"role": "user", "content": "hi"})
        frame = LLMContextFrame(talk.context)
        await talk.worker.queue_frame(frame, FrameDirection.UPSTREAM)
        await talk.ear.until(talk.ear.ended(1))
        assert talk.ear.text == "Yes."


async def test_what_was_answered_already_gives_an_empty_response():
    async with open_conversation({"say": "Yes."}) as talk:
        await talk.turn("hi")
        await talk.committed("Yes.")
        await talk.worker.queue_frame(LLMContextFrame(talk.context))
        await talk.ear.until(talk.ear.ended(2))
        assert talk.ear.text == "Yes."


async def test_a_turn_that_overtakes_the_record_of_the_last_answer_is_answered():
    async with open_conversation({"say": "Yes to {text}."}) as talk:
        await talk.turn("boots")
        await talk.committed("Yes to boots.")
        boots, answer = talk.context.get_messages()
        talk.context.set_messages([boots, {"role": "user", "content": "paint"}, answer])
        await talk.worker.queue_frame(LLMContextFrame(talk.context))
        await talk.ear.until(talk.ear.ended(2))
        assert talk.ear.text == "Yes to boots.Yes to paint."


async def test_the_opening_cue_opens_the_call():
    async with open_conversation({"on": "opening", "say": "Welcome!"}) as talk:
        cue = opening_cue("Welcome them.")
        await talk.worker.queue_frame(LLMMessagesAppendFrame([cue], run_llm=True))
        await talk.ear.until(talk.ear.ended(1))
        assert talk.ear.text == "Welcome!"


async def test_times_are_reported_for_each_answer():
    async with open_conversation({"say": "Yes."}) as talk:
        await talk.turn("hi")

        def reported():
            data = [
                entry
                for frame in talk.ear.frames
                if isinstance(frame, MetricsFrame)
                for entry in frame.data
                if entry.processor == talk.llm.name and entry.model == "scripted"
            ]
            kinds = {type(entry) for entry in data if getattr(entry, "value", 0) > 0}
            return {TTFBMetricsData, ProcessingMetricsData} <= kinds

        await talk.ear.until(reported)


async def test_a_client_that_wants_no_speech_gets_frames_that_say_so():
    async with open_conversation({"say": "Yes indeed."}) as talk:
        await talk.worker.queue_frame(LLMConfigureOutputFrame(skip_tts=True))
        await talk.turn("hi")
        kinds = (LLMFullResponseStartFrame, LLMTextFrame, LLMFullResponseEndFrame)
        frames = [frame for frame in talk.ear.frames if isinstance(frame, kinds)]
        assert len(frames) == 4
        assert all(frame.skip_tts for frame in frames)


THERMOSTAT = FunctionSchema(
    "set_target", "Sets it.", {"celsius": {"type": "number"}}, required=["celsius"]
)
SET = {"match": r"set.*?(?P<to>\d+)", "call": "set_target", "args": {"celsius": "{to}"}}
SPEAK = {"on": "tool:set_target", "say": "Set to {result.target}."}


async def test_a_tool_is_really_called_and_its_result_spoken():
    calls = []

    async def set_target(params):
        calls.append(dict(params.arguments))
        await params.result_callback({"target": params.arguments["celsius"]})

    async with open_conversation(
        SET, SPEAK, tools=[THERMOSTAT], handlers={"set_target": set_target}
    ) as talk:
        await talk.say("set it to 21 please")
        await talk.ear.until(talk.ear.ended(2))
        assert calls == [{"celsius": 21.0}]
        assert isinstance(calls[0]["celsius"], float)
        assert talk.ear.text == "Set to 21."
        await talk.committed("Set to 21.")
        await talk.say("now set it to 22")
        await talk.ear.until(talk.ear.ended(4))
        assert talk.ear.text == "Set to 21.Set to 22."
        assert len(calls) == 2


async def test_an_interruption_cancels_a_tool_and_the_next_turn_is_answered():
    begun, cancelled = asyncio.Event(), asyncio.Event()

    async def set_target(params):
        begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.set()

    async with open_conversation(
        SET, SPEAK, {"say": "Yes?"}, tools=[THERMOSTAT], handlers={"set_target": set_target}
    ) as talk:
        await talk.say("set it to 21")
        async with asyncio.timeout(5):
            await begun.wait()
            await talk.worker.queue_frame(InterruptionFrame())
            await cancelled.wait()
        await talk.ear.until(lambda: talk.ear.count(FunctionCallCancelFrame) == 1)
        assert await talk.turn("hello?") == "Yes?"


async def test_a_tool_that_is_not_offered_is_not_called():
    async with open_conversation(SET, {"say": "No thermostat here."}) as talk:
        assert await talk.turn("set it to 21") == "No thermostat here."


async def test_an_interruption_stops_an_answer_and_the_next_turn_is_answered():
    rules = [{"match": "story", "say": LONG}, {"say": "Of course."}]
    async with open_conversation(*rules) as talk:
        await talk.say("tell me a story")
        await talk.ear.until(lambda: len(talk.ear.words) >= 20)
        await talk.worker.queue_frame(InterruptionFrame())
        await talk.ear.until(lambda: talk.ear.count(InterruptionFrame) >= 1)
        assert LONG.startswith(talk.ear.text)
        assert len(talk.ear.words) < 6_000
        heard = len(talk.ear.words)
        assert await talk.turn("stop please") == "Of course."
        assert heard < 6_000


async def test_a_hundred_interruptions_leave_no_task_behind():
    async with open_conversation({"match": "story", "say": LONG}, {"say": "Fine."}) as talk:
        assert await talk.turn("hello") == "Fine."
        before = len(asyncio.all_tasks())
        for number in range(100):
            talk.ear.words.clear()
            interrupted = talk.ear.count(InterruptionFrame)
            await talk.say("a story")
            await talk.ear.until(lambda: len(talk.ear.words) >= 2)
            await talk.worker.queue_frame(InterruptionFrame())
            await talk.ear.until(
                lambda count=interrupted: talk.ear.count(InterruptionFrame) > count
            )
            assert len(talk.ear.words) < 6_000, number
        assert await talk.turn("hello") == "Fine."
        assert len(asyncio.all_tasks()) <= before


async def test_a_delay_is_kept_before_the_first_word():
    async with open_conversation({"say": "At last.", "delay": 0.3}) as talk:
        began = time.monotonic()
        assert await talk.turn("hi") == "At last."
        assert 0.3 <= time.monotonic() - began < 2


async def test_a_delay_can_be_interrupted():
    rules = [{"match": "slow", "say": "Never.", "delay": 60}, {"say": "Quick."}]
    async with open_conversation(*rules) as talk:
        await talk.say("slow")
        await talk.ear.until(lambda: talk.ear.count(LLMFullResponseStartFrame) == 1)
        await talk.worker.queue_frame(InterruptionFrame())
        await talk.ear.until(lambda: talk.ear.count(InterruptionFrame) >= 1)
        assert await talk.turn("hello") == "Quick."


async def test_a_call_can_be_ended_during_a_delay():
    began = time.monotonic()
    async with open_conversation({"say": "Never.", "delay": 60}) as talk:
        await talk.say("hi")
        await talk.ear.until(lambda: talk.ear.count(LLMFullResponseStartFrame) == 1)
    assert time.monotonic() - began < 5


async def test_a_list_of_texts_is_counted_for_each_service_alone():
    rule = {"say": ["one", "two", "three"]}
    async with open_conversation(rule) as first, open_conversation(rule) as second:
        said = [await first.turn("go") for _ in range(4)]
        assert said == ["one", "two", "three", "three"]
        assert await second.turn("go") == "one"


async def test_the_first_word_comes_within_milliseconds():
    rules = [{"match": f"nothing {number}", "say": "x"} for number in range(499)]
    async with open_conversation(*rules, {"say": "Here."}) as talk:
        await talk.turn("warm up")
        took = []
        for _ in range(20):
            talk.ear.words.clear()
            began = time.process_time()
            await talk.say("x" * 4000)
            await talk.ear.until(lambda: bool(talk.ear.words))
            took.append(time.process_time() - began)
        assert sorted(took)[10] < 0.1  # 500 rules on 4,000 characters; about 10 ms, idle


async def test_inference_outside_the_call_says_what_it_would_say_and_counts_nothing():
    rules = [{"match": "go", "say": ["one", "two"]}, SET]
    async with open_conversation(*rules, tools=[THERMOSTAT]) as talk:
        asked = LLMContext([{"role": "user", "content": "go"}])
        assert await talk.llm.run_inference(asked) == "one"
        assert await talk.llm.run_inference(asked) == "one"
        assert await talk.turn("go") == "one"
        assert await talk.llm.run_inference(asked, system_instruction="Sum it up.") is None
        assert await talk.llm.run_inference(LLMContext()) is None


@pytest.mark.parametrize("text", ["{0.__class__}", "{", "x" * 100_000, "☎ ünï", ""])
async def test_no_words_of_a_caller_break_it(text):
    async with open_conversation({"say": "{text}"}) as talk:
        assert await talk.turn(text) == text[:4000]
