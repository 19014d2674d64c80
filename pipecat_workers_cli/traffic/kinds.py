"""The kinds of traffic: what a message is for, and what family its frame belongs to."""

from collections.abc import Sequence
from enum import StrEnum
from functools import cache

from pipecat.bus import (
    BusActivateWorkerMessage,
    BusAddWorkerMessage,
    BusCancelMessage,
    BusCancelWorkerMessage,
    BusDeactivateWorkerMessage,
    BusEndMessage,
    BusEndWorkerMessage,
    BusFlushProgressMessage,
    BusJobCancelMessage,
    BusJobRequestMessage,
    BusJobResponseMessage,
    BusJobResponseUrgentMessage,
    BusJobStreamDataMessage,
    BusJobStreamEndMessage,
    BusJobStreamStartMessage,
    BusJobUpdateMessage,
    BusJobUpdateRequestMessage,
    BusJobUpdateUrgentMessage,
    BusTTSSpeakMessage,
    BusWorkerErrorMessage,
    BusWorkerLocalErrorMessage,
    BusWorkerReadyMessage,
    BusWorkerRegistryMessage,
)
from pipecat.bus.ui import BusUIDataMessage
from pipecat.frames.frames import (
    AudioRawFrame,
    ExternalFunctionCallCancelFrame,
    ExternalFunctionCallInProgressFrame,
    ExternalFunctionCallResultFrame,
    ExternalFunctionCallsStartedFrame,
    Frame,
    FunctionCallCancelFrame,
    FunctionCallInProgressFrame,
    FunctionCallResultFrame,
    FunctionCallsStartedFrame,
    InterruptionFrame,
    InterruptionWorkerFrame,
    LLMContextFrame,
    PipelineFlushFrame,
    TextFrame,
)

from pipecat_workers_cli.wire.reading import BusReadingMessage


class Kind(StrEnum):
    """What a message on the bus is about, the most telling first.

    A filter that names a family, `job` or `frame`, means all of its kinds.
    """

    ERROR = "error"
    ACTIVATION = "activation"
    DEACTIVATION = "deactivation"
    JOB_REQUEST = "job.request"
    JOB_UPDATE = "job.update"
    JOB_STREAM = "job.stream"
    JOB_RESPONSE = "job.response"
    JOB_CANCEL = "job.cancel"
    CONTEXT = "frame.context"
    TEXT = "frame.text"
    AUDIO = "frame.audio"
    TOOL = "frame.tool"
    INTERRUPTION = "frame.interruption"
    SPEAK = "speak"
    READING = "reading"
    UI = "ui"
    LIFECYCLE = "lifecycle"
    REGISTRY = "registry"
    FLUSH = "flush"
    FRAME = "frame.other"
    MESSAGE = "message"


RANK = {kind: rank for rank, kind in enumerate(Kind)}

KINDS: dict[type, Kind] = {
    BusWorkerErrorMessage: Kind.ERROR,
    BusWorkerLocalErrorMessage: Kind.ERROR,
    BusActivateWorkerMessage: Kind.ACTIVATION,
    BusDeactivateWorkerMessage: Kind.DEACTIVATION,
    BusJobRequestMessage: Kind.JOB_REQUEST,
    BusJobUpdateMessage: Kind.JOB_UPDATE,
    BusJobUpdateUrgentMessage: Kind.JOB_UPDATE,
    BusJobUpdateRequestMessage: Kind.JOB_UPDATE,
    BusJobStreamStartMessage: Kind.JOB_STREAM,
    BusJobStreamDataMessage: Kind.JOB_STREAM,
    BusJobStreamEndMessage: Kind.JOB_STREAM,
    BusJobResponseMessage: Kind.JOB_RESPONSE,
    BusJobResponseUrgentMessage: Kind.JOB_RESPONSE,
    BusJobCancelMessage: Kind.JOB_CANCEL,
    BusTTSSpeakMessage: Kind.SPEAK,
    BusReadingMessage: Kind.READING,
    BusUIDataMessage: Kind.UI,
    BusAddWorkerMessage: Kind.LIFECYCLE,
    BusWorkerReadyMessage: Kind.LIFECYCLE,
    BusEndMessage: Kind.LIFECYCLE,
    BusEndWorkerMessage: Kind.LIFECYCLE,
    BusCancelMessage: Kind.LIFECYCLE,
    BusCancelWorkerMessage: Kind.LIFECYCLE,
    BusWorkerRegistryMessage: Kind.REGISTRY,
    BusFlushProgressMessage: Kind.FLUSH,
    LLMContextFrame: Kind.CONTEXT,
    TextFrame: Kind.TEXT,
    AudioRawFrame: Kind.AUDIO,
    FunctionCallsStartedFrame: Kind.TOOL,
    FunctionCallInProgressFrame: Kind.TOOL,
    FunctionCallResultFrame: Kind.TOOL,
    FunctionCallCancelFrame: Kind.TOOL,
    ExternalFunctionCallsStartedFrame: Kind.TOOL,
    ExternalFunctionCallInProgressFrame: Kind.TOOL,
    ExternalFunctionCallResultFrame: Kind.TOOL,
    ExternalFunctionCallCancelFrame: Kind.TOOL,
    InterruptionFrame: Kind.INTERRUPTION,
    InterruptionWorkerFrame: Kind.INTERRUPTION,
    PipelineFlushFrame: Kind.FLUSH,
}


_BY_NAME = {kind.__name__: meaning for kind, meaning in KINDS.items()}


def kind_by_name(ancestry: Sequence[str]) -> Kind:
    """Return the kind of a message or frame of which only names are known.

    Args:
        ancestry: The name of its class, then of its ancestors, the nearest first.
    """
    for name in ancestry:
        if name in _BY_NAME:
            return _BY_NAME[name]
    return Kind.FRAME if Frame.__name__ in ancestry else Kind.MESSAGE


@cache
def kind_of(message_or_frame: type) -> Kind:
    """Return the kind of a message type or frame type; a subclass is of its parent's kind."""
    for ancestor in message_or_frame.__mro__:
        if ancestor in KINDS:
            return KINDS[ancestor]
    return Kind.FRAME if issubclass(message_or_frame, Frame) else Kind.MESSAGE
