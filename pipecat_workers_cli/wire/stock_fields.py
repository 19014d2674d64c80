"""What may stand in each field of a message that came as stock Pipecat writes it."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import MISSING, fields
from functools import partial
from typing import Any

import msgspec
from pipecat.adapters.llm.schemas.tools_schema import ToolsSchema
from pipecat.frames.frames import Frame, FunctionCallFromLLM, FunctionCallResultProperties
from pipecat.metrics.metrics import MetricsData
from pipecat.processors.aggregators.llm_context import NOT_GIVEN, LLMContext, LLMSpecificMessage
from pipecat.processors.frame_processor import FrameDirection
from pipecat.registry.types import WorkerRegistryEntry
from pipecat.services.settings import LLMSettings, TTSSettings
from pipecat.utils.errors import ErrorCategory

from pipecat_workers_cli.wire.fields import FORMS, OF_ONE_FIELD
from pipecat_workers_cli.wire.limits import (
    AUDIO_BYTES,
    CONTAINERS,
    FUNCTION_CALLS,
    METRICS,
    WORKERS,
    Refused,
)
from pipecat_workers_cli.wire.shapes import form_of
from pipecat_workers_cli.wire.stock_values import read

Check = Callable[[Any], Any]
"""Returns what a field is to hold, or raises what `StockShape.make` does."""


def _only(*kinds: type) -> Check:
    def check(value: Any) -> Any:
        if not isinstance(value, kinds):
            raise Refused(f"a {type(value).__name__} where a {kinds[0].__name__} belongs")
        return value

    return check


def _each(*kinds: type, most: int) -> Check:
    check_list, check_one = _only(list), _only(*kinds)

    def check(value: Any) -> Any:
        if len(check_list(value)) > most:
            raise Refused(f"over {most:,} of {kinds[0].__name__}")
        return [check_one(one) for one in value]

    return check


def _audio(value: Any) -> bytes:
    if len(_only(bytes)(value)) > AUDIO_BYTES:
        raise Refused(f"an audio frame of over {AUDIO_BYTES} bytes")
    return value


def _metrics(value: Any) -> list[MetricsData]:
    """Take the figures that are known; a service's own kinds stay out."""
    if len(_only(list)(value)) > METRICS:
        raise Refused(f"over {METRICS} figures")
    return [one for one in value if isinstance(one, MetricsData)]


def _tools(value: Any) -> Any:
    return NOT_GIVEN if value is None else _only(ToolsSchema)(value)


NONE = type(None)
CHECKS: Mapping[str, Check] = {
    "Any": lambda value: value,
    "dict | None": _only(dict, NONE),
    "Mapping[str, Any]": _only(dict),
    "bytes": _audio,
    "FrameDirection": _only(FrameDirection),
    "ErrorCategory | None": _only(ErrorCategory, NONE),
    "TextType | str": lambda value: _text_type(_only(str)(value)),
    "list[WorkerRegistryEntry]": _each(WorkerRegistryEntry, most=WORKERS),
    "list[MetricsData]": _metrics,
    "LLMContext": _only(LLMContext),
    "list[LLMContextMessage]": _each(dict, LLMSpecificMessage, most=CONTAINERS),
    "list[FunctionSchema | DirectFunction] | ToolsSchema | NotGiven": _tools,
    "Literal['none', 'auto', 'required'] | dict": _only(str, dict),
    "Sequence[FunctionCallFromLLM]": _each(FunctionCallFromLLM, most=FUNCTION_CALLS),
    "FunctionCallResultProperties | None": _only(FunctionCallResultProperties, NONE),
}
"""By annotation; what else there is means the same on both wires."""

OF_ONE: Mapping[tuple[str, str], Check] = {
    ("BusFrameMessage", "frame"): _only(Frame),
    ("LLMUpdateSettingsFrame", "delta"): _only(LLMSettings, NONE),
    ("TTSUpdateSettingsFrame", "delta"): _only(TTSSettings, NONE),
    ("Frame", "metadata"): _only(dict),
}
_text_type = FORMS["TextType | str"].unpack or str


def _check_of(cls: type, name: str) -> Check:
    """Return what a field's value must pass."""
    for ancestor in cls.__mro__:
        if (ancestor.__name__, name) in OF_ONE:
            return OF_ONE[ancestor.__name__, name]
    annotation = next(one.type for one in fields(cls) if one.name == name)
    check = CHECKS.get(annotation if isinstance(annotation, str) else annotation.__name__)
    if check is not None:
        return check
    return partial(msgspec.convert, type=form_of(cls, name, OF_ONE_FIELD).type)


class StockShape:
    """How one type is made of what stock writes of it.

    Attributes:
        cls: The class.
    """

    def __init__(self, cls: type, names: Sequence[str], *, later: Sequence[str] = ()) -> None:
        """Look the fields' types up; a row that doesn't fit the installed Pipecat fails here.

        Args:
            cls: The class.
            names: The fields of it that count. Of the others stock's values mean nothing here.
            later: More such fields, which no constructor takes.
        """
        self.cls = cls
        known = {one.name: one for one in fields(cls)}
        self._checks = {name: _check_of(cls, name) for name in (*names, *later)}
        self._late = {name for name in self._checks if not known[name].init}
        self._required = {
            name
            for name in self._checks.keys() - self._late
            if known[name].default is MISSING and known[name].default_factory is MISSING
        }

    def make(self, told: Mapping[str, Any]) -> Any:
        """Make a message or frame of an object that came.

        Args:
            told: What it says of its fields: null ones are left out, unknown ones don't count.

        Raises:
            Refused: A value is none of its field's.
            msgspec.ValidationError: The same.
            KeyError: As in `read`.
            TypeError: The class will not have it.
            ValueError: The class will not have it.
        """
        given = {
            name: check(read(told.get(name)))
            for name, check in self._checks.items()
            if name in told or name in self._required
        }
        late = {name: given.pop(name) for name in self._late & given.keys()}
        made = self.cls(**given)
        for name, value in late.items():
            setattr(made, name, value)
        return made
