"""How each sort of field crosses, by what Pipecat annotates it with."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from typing import Annotated, Any

from msgspec import Meta
from pipecat.metrics import metrics
from pipecat.pipeline.job_context import JobStatus
from pipecat.processors.frame_processor import FrameDirection
from pipecat.registry.types import WorkerRegistryEntry
from pipecat.services.settings import LLMSettings, ServiceSettings, TTSSettings
from pipecat.utils.errors import ErrorCategory
from pipecat.utils.text.base_text_aggregator import TextType

from pipecat_workers_cli.wire import conversation, plain
from pipecat_workers_cli.wire.limits import AUDIO_BYTES, METRICS, NAME, WORKERS, Refused

Name = Annotated[str, Meta(max_length=NAME)]


@dataclass(frozen=True, slots=True)
class Form:
    """How a value crosses.

    Attributes:
        type: What msgspec is to find on the wire.
        pack: Makes that of the value; None if it is that already.
        unpack: Makes the value of that again; None if it is that already.
    """

    type: Any
    pack: Callable[[Any], Any] | None = None
    unpack: Callable[[Any], Any] | None = None


METRICS_BY_NUMBER: dict[int, type[metrics.MetricsData]] = {
    1: metrics.TTFBMetricsData,
    2: metrics.TTFAMetricsData,
    3: metrics.TTFATMetricsData,
    4: metrics.ProcessingMetricsData,
    5: metrics.LLMUsageMetricsData,
    6: metrics.STTUsageMetricsData,
    7: metrics.TTSUsageMetricsData,
    8: metrics.TextAggregationMetricsData,
    9: metrics.TurnMetricsData,
}
_NUMBERS = {type_: number for number, type_ in METRICS_BY_NUMBER.items()}
_TEXT_TYPES = {str(type_): type_ for type_ in TextType}

_read_any = plain.reader(Any)
_read_object = plain.reader(dict[str, Any])
_read_object_or_none = plain.reader(dict[str, Any] | None)
_read_choice = plain.reader(str | dict[str, Any])


def _check_audio(audio: bytes) -> bytes:
    if len(audio) > AUDIO_BYTES:
        raise Refused(f"an audio frame of over {AUDIO_BYTES} bytes")
    return audio


def _pack_metrics(data: list[metrics.MetricsData]) -> list[tuple[int, bytes]]:
    """Return the figures that cross: a service's own kinds don't."""
    return [
        (_NUMBERS[type(figure)], plain.pack(figure.model_dump()))
        for figure in data
        if type(figure) in _NUMBERS
    ]


def _unpack_metrics(packed: list[tuple[int, bytes]]) -> list[metrics.MetricsData]:
    if not all(number in METRICS_BY_NUMBER for number, _ in packed):
        raise Refused("a figure of an unknown kind")
    return [
        METRICS_BY_NUMBER[number].model_validate(_read_object(figure)) for number, figure in packed
    ]


def _settings(known: type[ServiceSettings]) -> Form:
    """Settings that any provider may have; those of one provider alone would be lost."""
    names = {one.name for one in fields(known)}

    def pack(delta: ServiceSettings | None) -> bytes | None:
        if delta is None:
            return None
        given = delta.given_fields()
        if not given.keys() <= names | delta.extra.keys():
            raise Refused(f"{type(delta).__name__} with settings of its provider's own")
        return plain.pack(given)

    def unpack(packed: bytes | None) -> ServiceSettings | None:
        return None if packed is None else known.from_mapping(_read_object(packed))

    return Form(bytes | None, pack, unpack)


ANY = Form(bytes, plain.pack, _read_any)
MAYBE_OBJECT = Form(bytes, plain.pack, _read_object_or_none)

FORMS: Mapping[str, Form] = {
    "str": Form(str),
    "str | None": Form(str | None),
    "bool": Form(bool),
    "bool | None": Form(bool | None),
    "int": Form(int),
    "int | None": Form(int | None),
    "float": Form(float),
    "float | None": Form(float | None),
    "bytes": Form(Annotated[bytes, Meta(max_length=AUDIO_BYTES)], pack=_check_audio),
    "Any": ANY,
    "dict | None": MAYBE_OBJECT,
    "Mapping[str, Any]": Form(bytes, lambda one: plain.pack(dict(one)), _read_object),
    "FrameDirection": Form(FrameDirection),
    "JobStatus": Form(JobStatus),
    "ErrorCategory | None": Form(ErrorCategory | None),
    "TextType | str": Form(str, str, lambda one: _TEXT_TYPES.get(one, one)),
    "list[WorkerRegistryEntry]": Form(
        Annotated[list[WorkerRegistryEntry], Meta(max_length=WORKERS)]
    ),
    "list[MetricsData]": Form(
        Annotated[list[tuple[int, bytes]], Meta(max_length=METRICS)],
        _pack_metrics,
        _unpack_metrics,
    ),
    "LLMContext": Form(
        conversation.Context, conversation.pack_context, conversation.unpack_context
    ),
    "list[LLMContextMessage]": Form(
        conversation.Messages, conversation.pack_messages, conversation.unpack_messages
    ),
    "list[FunctionSchema | DirectFunction] | ToolsSchema | NotGiven": Form(
        conversation.Tools | None, conversation.pack_tools, conversation.unpack_tools
    ),
    "Literal['none', 'auto', 'required'] | dict": Form(bytes, plain.pack, _read_choice),
    "Sequence[FunctionCallFromLLM]": Form(
        conversation.FunctionCalls, conversation.pack_calls, conversation.unpack_calls
    ),
    "FunctionCallResultProperties | None": Form(
        conversation.ResultProperties | None,
        conversation.pack_properties,
        conversation.unpack_properties,
    ),
}
"""By annotation. A field with any other can't be in a row of the table."""

OF_ONE_FIELD: Mapping[tuple[str, str], Form] = {
    ("LLMUpdateSettingsFrame", "delta"): _settings(LLMSettings),
    ("TTSUpdateSettingsFrame", "delta"): _settings(TTSSettings),
    ("BusMessage", "source"): Form(Name),
    ("BusMessage", "target"): Form(Name | None),
    # A frame with no channels would divide by their number.
    ("AudioRawFrame", "num_channels"): Form(Annotated[int, Meta(ge=1, le=32)]),
    ("AudioRawFrame", "sample_rate"): Form(Annotated[int, Meta(ge=1, le=384_000)]),
}
"""By the class that the field is of, or one above it: where the annotation says too little."""
