"""What may cross between two processes of a call: the closed table.

A type that is not here never leaves its process, and none is made of what arrives. Left out
on purpose: what is about one process alone (lifecycle of a pipeline or a worker's frames,
pauses, heartbeats, who was added), the caller's sound and words, which stay with the main
worker, and whatever carries a callback or an object that works.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from pipecat.bus import messages
from pipecat.frames import frames
from pipecat.processors.frameworks.rtvi.frames import RTVIServerMessageFrame

from pipecat_workers_cli.wire.reading import BusReadingMessage


@dataclass(frozen=True, slots=True)
class Row:
    """A type that crosses.

    Attributes:
        number: What it is called on the wire; never given to another type.
        cls: The class, which must be exactly this: a subclass has more to say.
        fields: What of it crosses, in the order of the wire, besides what all have.
        stays: Fields that mean nothing in another process, or can't leave this one.
    """

    number: int
    cls: type
    fields: tuple[str, ...]
    stays: tuple[str, ...]


def _rows(*table: tuple[int, type, str] | tuple[int, type, str, str]) -> tuple[Row, ...]:
    def rows() -> Iterator[Row]:
        for number, cls, fields, *stays in table:
            yield Row(number, cls, tuple(fields.split()), tuple(" ".join(stays).split()))

    return tuple(rows())


MESSAGES = _rows(
    (1, messages.BusFrameMessage, "direction bridge frame"),
    (2, messages.BusActivateWorkerMessage, "args"),
    (3, messages.BusDeactivateWorkerMessage, ""),
    (4, messages.BusTTSSpeakMessage, "text append_to_context"),
    (5, messages.BusFlushProgressMessage, "flush_id"),
    (6, messages.BusEndMessage, "reason"),
    (7, messages.BusEndWorkerMessage, "reason"),
    (8, messages.BusCancelMessage, "reason"),
    (9, messages.BusCancelWorkerMessage, "reason"),
    (10, messages.BusWorkerRegistryMessage, "runner workers"),
    (11, messages.BusWorkerReadyMessage, "runner parent active bridged started_at"),
    (12, messages.BusWorkerErrorMessage, "error"),
    (13, messages.BusJobRequestMessage, "job_id job_name payload"),
    (14, messages.BusJobResponseMessage, "job_id status response"),
    (15, messages.BusJobResponseUrgentMessage, "job_id status response"),
    (16, messages.BusJobUpdateMessage, "job_id update"),
    (17, messages.BusJobUpdateUrgentMessage, "job_id update"),
    (18, messages.BusJobUpdateRequestMessage, "job_id"),
    (19, messages.BusJobCancelMessage, "job_id reason"),
    (20, messages.BusJobStreamStartMessage, "job_id data"),
    (21, messages.BusJobStreamDataMessage, "job_id data"),
    (22, messages.BusJobStreamEndMessage, "job_id data"),
    (23, BusReadingMessage, "reading value unit"),
)

_TEXT = "text skip_tts includes_inter_frame_spaces append_to_context"
_AUDIO = "audio sample_rate num_channels"
_CALL = "function_name tool_call_id"

FRAMES = _rows(
    # The conversation, and what is done with it.
    (1, frames.LLMContextFrame, "context speculation"),
    (2, frames.LLMMessagesAppendFrame, "messages run_llm"),
    (3, frames.LLMMessagesUpdateFrame, "messages run_llm"),
    (4, frames.LLMSetToolsFrame, "tools"),
    (5, frames.LLMSetToolChoiceFrame, "tool_choice"),
    (6, frames.LLMRunFrame, ""),
    (7, frames.LLMConfigureOutputFrame, "skip_tts"),
    (8, frames.LLMUpdateSettingsFrame, "settings delta reach_inactive_services", "service"),
    (9, frames.TTSUpdateSettingsFrame, "settings delta reach_inactive_services", "service"),
    # An answer in words.
    (20, frames.LLMFullResponseStartFrame, "skip_tts"),
    (21, frames.LLMFullResponseEndFrame, "skip_tts"),
    (22, frames.TextFrame, _TEXT),
    (23, frames.LLMTextFrame, _TEXT),
    (24, frames.AggregatedTextFrame, f"{_TEXT} text_type context_id raw_text will_be_spoken"),
    (25, frames.TTSTextFrame, f"{_TEXT} text_type context_id raw_text will_be_spoken segment_id"),
    (
        26,
        frames.AggregatedTextProgressFrame,
        "segment_id context_id text text_type accumulated_text remaining_text",
    ),
    (27, frames.LLMAssistantPushAggregationFrame, ""),
    (28, frames.LLMMarkerFrame, "marker append_to_context_immediately"),
    (29, frames.LLMThoughtStartFrame, "append_to_context llm"),
    (30, frames.LLMThoughtTextFrame, "text includes_inter_frame_spaces"),
    (31, frames.LLMThoughtEndFrame, "signature"),
    # An answer by voice. How much there is of sound is counted again where it arrives.
    (40, frames.TTSSpeakFrame, "text append_to_context text_type"),
    (41, frames.TTSStartedFrame, "context_id append_to_context"),
    (42, frames.TTSStoppedFrame, "context_id"),
    (43, frames.TTSAudioRawFrame, f"{_AUDIO} context_id", "num_frames"),
    (44, frames.OutputAudioRawFrame, _AUDIO, "num_frames"),
    # An LLM's tools.
    (60, frames.FunctionCallsStartedFrame, "function_calls"),
    (61, frames.FunctionCallInProgressFrame, f"{_CALL} arguments cancel_on_interruption group_id"),
    (62, frames.FunctionCallResultFrame, f"{_CALL} arguments result run_llm properties error"),
    (63, frames.FunctionCallCancelFrame, f"{_CALL} run_llm"),
    # Who speaks when.
    (80, frames.InterruptionFrame, ""),
    (81, frames.BotStartedSpeakingFrame, ""),
    (82, frames.BotStoppedSpeakingFrame, ""),
    (83, frames.UserTurnInferenceCompletedFrame, ""),
    (84, frames.PipelineFlushFrame, "returning origin flush_id", "event"),
    # What is told of it all. A worker that fails ends its own call, not the caller's: `fatal`
    # would end the main worker's pipeline.
    (100, frames.ErrorFrame, "error category", "fatal processor exception"),
    (101, frames.MetricsFrame, "data"),
    (102, frames.OutputTransportMessageFrame, "message"),
    (103, frames.OutputTransportMessageUrgentFrame, "message"),
    (104, RTVIServerMessageFrame, "data"),
)

OF_EVERY_MESSAGE = ("source", "target")
OF_EVERY_FRAME = (
    "interruptible",
    "broadcast_sibling_id",
    "pts",
    "metadata",
    "transport_source",
    "transport_destination",
)
