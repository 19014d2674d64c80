"""One of everything that crosses, with values that no field has by default."""

import asyncio
import dataclasses
from typing import Any

from pipecat.adapters.llm.schemas.function_schema import FunctionSchema
from pipecat.adapters.llm.schemas.tools_schema import AdapterType, ToolsSchema
from pipecat.bus import messages
from pipecat.frames import frames
from pipecat.metrics import metrics
from pipecat.pipeline.job_context import JobStatus
from pipecat.processors.aggregators.llm_context import LLMContext, LLMSpecificMessage
from pipecat.processors.frame_processor import FrameDirection
from pipecat.processors.frameworks.rtvi.frames import RTVIServerMessageFrame
from pipecat.registry.types import WorkerRegistryEntry
from pipecat.services.settings import LLMSettings, TTSSettings
from pipecat.utils.errors import ErrorCategory
from pipecat.utils.text.base_text_aggregator import TextType
from pydantic import BaseModel

from pipecat_workers_cli.wire.reading import BusReadingMessage

MADE_AGAIN = ("id", "name")  # counted by each process for itself
VALUES = {
    "text": "ünï ☎ \x00",
    "none": None,
    "flag": True,
    "deep": [{"a": [1, -2.5]}],
    "big": 2**63,
}


def a_context() -> LLMContext:
    """A conversation with a tool's answer, a provider's own message, tools and a choice."""
    call = {"id": "c1", "function": {"name": "price", "arguments": '{"kit": "tornado"}'}}
    return LLMContext(
        messages=[
            {"role": "developer", "content": "greet the caller"},
            {"role": "user", "content": [{"type": "text", "text": "How much?"}]},
            {"role": "assistant", "tool_calls": [call | {"type": "function"}]},
            LLMSpecificMessage(llm="anthropic", message={"type": "thinking", "signature": "s"}),
            {"role": "tool", "content": '{"price": 199}', "tool_call_id": "c1"},
        ],
        tools=some_tools(),
        tool_choice="auto",
    )


def some_tools() -> ToolsSchema:
    """Two tools of any provider's and one of Gemini's own."""
    kit = {"type": "string", "enum": ["tornado"], "description": "which"}
    return ToolsSchema(
        standard_tools=[
            FunctionSchema("price", "What a kit costs.", {"kit": kit}, ["kit"]),
            FunctionSchema("hours", "When we are open.", {}, []),
        ],
        custom_tools={AdapterType.GEMINI: [{"google_search": {}}]},
    )


def some_messages() -> list[messages.BusMessage]:
    """One of each message that crosses, frames apart."""
    job = {"source": "acme", "target": "coder", "job_id": "j1"}
    entry = WorkerRegistryEntry("support", "acme", active=True, bridged=True, started_at=1.5)
    return [
        messages.BusActivateWorkerMessage(source="acme", target="support", args=VALUES),
        messages.BusDeactivateWorkerMessage(source="acme", target="support"),
        messages.BusTTSSpeakMessage(
            source="acme", target="support", text="Sorry.", append_to_context=False
        ),
        messages.BusFlushProgressMessage(source="acme", target="support", flush_id=17),
        messages.BusEndMessage(source="support", reason="goodbye"),
        messages.BusEndWorkerMessage(source="acme", target="support", reason="goodbye"),
        messages.BusCancelMessage(source="support", reason="hung up"),
        messages.BusCancelWorkerMessage(source="acme", target="support", reason="hung up"),
        messages.BusWorkerRegistryMessage(source="r", runner="r", workers=[entry]),
        messages.BusWorkerReadyMessage(
            source="support", runner="r", parent="acme", active=True, bridged=True, started_at=2.5
        ),
        messages.BusWorkerErrorMessage(source="support", target="acme", error="no key"),
        messages.BusJobRequestMessage(**job, job_name="ask", payload=VALUES),
        messages.BusJobResponseMessage(**job, status=JobStatus.FAILED, response=VALUES),
        messages.BusJobResponseUrgentMessage(**job, status=JobStatus.CANCELLED, response=VALUES),
        messages.BusJobUpdateMessage(**job, update=VALUES),
        messages.BusJobUpdateUrgentMessage(**job, update=VALUES),
        messages.BusJobUpdateRequestMessage(**job),
        messages.BusJobCancelMessage(**job, reason="too late"),
        messages.BusJobStreamStartMessage(**job, data=VALUES),
        messages.BusJobStreamDataMessage(**job, data=VALUES),
        messages.BusJobStreamEndMessage(**job, data=VALUES),
        BusReadingMessage(source="controller", reading="temperature", value=21.5, unit="°C"),
    ]


def some_figures() -> list[metrics.MetricsData]:
    """One of each kind of figure that crosses."""
    of = {"processor": "LLM#0", "model": "m"}
    usage = metrics.LLMTokenUsage(
        prompt_tokens=1, completion_tokens=2, total_tokens=3, reasoning_tokens=4
    )
    return [
        metrics.TTFBMetricsData(**of, value=0.1),
        metrics.TTFAMetricsData(**of, ttfa=0.3, ttfb=0.1, leading_silence=0.2),
        metrics.TTFATMetricsData(**of, ttfat=0.3, ttfb=0.1, thinking_time=0.2),
        metrics.ProcessingMetricsData(**of, value=0.4),
        metrics.LLMUsageMetricsData(**of, value=usage),
        metrics.STTUsageMetricsData(**of, value=metrics.STTUsage(audio_seconds=1.5)),
        metrics.TTSUsageMetricsData(**of, value=12),
        metrics.TextAggregationMetricsData(**of, value=0.5),
        metrics.TurnMetricsData(
            **of, is_complete=True, probability=0.9, e2e_processing_time_ms=12.5
        ),
    ]


def a_call() -> dict[str, Any]:
    """What every frame about a tool's call has."""
    return {"function_name": "price", "tool_call_id": "c1"}


def some_frames() -> list[frames.Frame]:
    """One of each frame that crosses."""
    sound = bytes(range(256)) * 2
    text, words = frames.TextFrame("Hello."), frames.LLMTextFrame(" there")
    text.skip_tts, text.includes_inter_frame_spaces, text.append_to_context = True, True, False
    words.skip_tts, words.includes_inter_frame_spaces = False, False
    sentence = frames.AggregatedTextFrame("It is $199.", TextType.SENTENCE, "t1", "<b>")
    sentence.will_be_spoken = True
    spoken = frames.TTSTextFrame("It", TextType.WORD, "t1", "<b>")
    start, end = frames.LLMFullResponseStartFrame(), frames.LLMFullResponseEndFrame()
    start.skip_tts, end.skip_tts = True, False
    thought = frames.LLMThoughtTextFrame("hm")
    thought.includes_inter_frame_spaces = False
    done = frames.FunctionCallResultProperties(run_llm=False, is_final=False)
    call = frames.FunctionCallFromLLM(**a_call(), arguments=VALUES, context=None)
    return [
        frames.LLMContextFrame(a_context(), speculation=True),
        frames.LLMMessagesAppendFrame(a_context().messages, run_llm=True),
        frames.LLMMessagesUpdateFrame(a_context().messages, run_llm=False),
        frames.LLMSetToolsFrame(some_tools()),
        frames.LLMSetToolChoiceFrame({"type": "function", "function": {"name": "price"}}),
        frames.LLMRunFrame(),
        frames.LLMConfigureOutputFrame(skip_tts=True),
        frames.LLMUpdateSettingsFrame(
            settings={"top_k": 3},
            delta=LLMSettings(temperature=0.5, seed=None, extra={"own": [1]}),
            reach_inactive_services=True,
        ),
        frames.TTSUpdateSettingsFrame(delta=TTSSettings(voice="joe", language="en")),
        start,
        end,
        text,
        words,
        sentence,
        spoken,
        frames.AggregatedTextProgressFrame(7, "t1", "It is", TextType.TOKEN, "It", "is"),
        frames.LLMAssistantPushAggregationFrame(),
        frames.LLMMarkerFrame("●", append_to_context_immediately=False),
        frames.LLMThoughtStartFrame(append_to_context=True, llm="anthropic"),
        thought,
        frames.LLMThoughtEndFrame(signature="s"),
        frames.TTSSpeakFrame("One moment.", append_to_context=False, text_type="filler"),
        frames.TTSStartedFrame("t1", append_to_context=False),
        frames.TTSStoppedFrame("t1"),
        frames.TTSAudioRawFrame(sound, 24_000, 2, context_id="t1"),
        frames.OutputAudioRawFrame(sound, 8_000, 1),
        frames.FunctionCallsStartedFrame([call]),
        frames.FunctionCallInProgressFrame(**a_call(), arguments=VALUES, group_id="g"),
        frames.FunctionCallResultFrame(
            **a_call(), arguments={}, result=VALUES, run_llm=True, properties=done, error="no"
        ),
        frames.FunctionCallCancelFrame(**a_call(), run_llm=True),
        frames.InterruptionFrame(),
        frames.BotStartedSpeakingFrame(),
        frames.BotStoppedSpeakingFrame(),
        frames.UserTurnInferenceCompletedFrame(),
        frames.PipelineFlushFrame(returning=True, origin="acme", flush_id=99),
        frames.ErrorFrame("no answer", category=ErrorCategory.CONNECTIVITY),
        frames.MetricsFrame(some_figures()),
        frames.OutputTransportMessageFrame(VALUES),
        frames.OutputTransportMessageUrgentFrame([VALUES]),
        RTVIServerMessageFrame(VALUES),
    ]


def carried(
    frame: frames.Frame, direction: FrameDirection = FrameDirection.DOWNSTREAM
) -> messages.BusFrameMessage:
    """Return a message that carries a frame."""
    return messages.BusFrameMessage(source="support", frame=frame, direction=direction)


def told(value: Any) -> Any:
    """Return all that a message or frame says, as plain values; its own id and name apart."""
    if isinstance(value, BaseModel):
        return [type(value), value.model_dump()]
    if isinstance(value, LLMContext):
        return [told(value.messages), told(value.tools), told(value.tool_choice)]
    if isinstance(value, ToolsSchema):
        return [[tool.to_default_dict() for tool in value.standard_tools], value.custom_tools]
    if isinstance(value, asyncio.Event):
        return id(value)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        names = [one.name for one in dataclasses.fields(value) if one.name not in MADE_AGAIN]
        return [type(value), {name: told(getattr(value, name)) for name in names}]
    if isinstance(value, dict):
        return {key: told(one) for key, one in value.items()}
    return [told(one) for one in value] if isinstance(value, list) else value
