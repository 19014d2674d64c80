"""What stands inside a message of stock Pipecat's: plain values, and typed ones by a closed table.

Stock writes everything that JSON has nothing for as `{"__type__": NAME, "__data__": …}`, and
imports what NAME says where it arrives. Here a name is looked up in the table. What isn't in it
stays as it came: it may be a user's own dict that happens to have both keys.
"""

from base64 import b64decode, b64encode
from binascii import Error as NotBase64
from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields
from enum import Enum
from typing import Any

import msgspec
from pipecat.adapters.llm.schemas.function_schema import FunctionSchema
from pipecat.adapters.llm.schemas.tools_schema import AdapterType, ToolsSchema
from pipecat.bus.adapters import LLMContextAdapter, ToolsSchemaAdapter
from pipecat.frames.frames import FunctionCallFromLLM, FunctionCallResultProperties
from pipecat.metrics.metrics import LLMTokenUsage, STTUsage
from pipecat.processors.aggregators.llm_context import NOT_GIVEN, LLMContext, LLMSpecificMessage
from pipecat.processors.frame_processor import FrameDirection
from pipecat.registry.types import WorkerRegistryEntry
from pipecat.services.settings import LLMSettings, ServiceSettings, TTSSettings
from pipecat.utils.errors import ErrorCategory
from pydantic import BaseModel

from pipecat_workers_cli.wire.fields import METRICS_BY_NUMBER
from pipecat_workers_cli.wire.limits import AUDIO_BYTES, Refused

TYPE, DATA = "__type__", "__data__"
SPECIFIC = "__specific__"

Lose = Callable[[type], None]
"""Told the type of what could not be written."""


def type_name(cls: type) -> str:
    """Return what stock calls a class."""
    return f"{cls.__module__}.{cls.__name__}"


def write(value: Any, lose: Lose) -> Any:
    """Return a value as stock writes it, for `json.dumps`; None for what neither can write.

    Args:
        value: Anything.
        lose: Told of what is lost.
    """
    if value is None or isinstance(value, str | int | float):  # a string enum is one of these
        return value
    if isinstance(value, dict):
        return {key: write(one, lose) for key, one in value.items()}
    if isinstance(value, list):
        return [write(one, lose) for one in value]
    if isinstance(value, bytes):
        return {TYPE: "bytes", DATA: b64encode(value).decode("ascii")}
    kind = type(value)
    if kind in _TYPED:
        return {TYPE: type_name(kind), DATA: _data_of(value, lose)}
    if not callable(value) and value is not NOT_GIVEN:  # these stay by design: a tool's handler
        lose(kind)
    return None


def _data_of(value: Any, lose: Lose) -> Any:
    match value:
        case Enum():
            return value.name
        case BaseModel():
            given = {name: one for name, one in value.__dict__.items() if one is not None}
            return write(given, lose)
        case LLMContext():
            return _contexts.serialize(value, lambda one: write(one, lose))
        case ToolsSchema():
            return _tools.serialize(value, lambda one: write(one, lose))
        case _:
            return write_fields(value, lose)


def write_fields(value: Any, lose: Lose, **written: Any) -> dict[str, Any]:
    """Return a dataclass's fields as stock writes them: without what is None or lost.

    Args:
        value: The dataclass.
        lose: Told of what is lost.
        **written: Fields that are written already.
    """
    told: dict[str, Any] = {}
    for name in (one.name for one in fields(value)):
        one = written[name] if name in written else write(getattr(value, name), lose)
        if one is not None:
            told[name] = one
    return told


def read(value: Any) -> Any:
    """Return a value that arrived, with what it holds of the table's types.

    Args:
        value: Plain values of bounded depth, as JSON has them.

    Raises:
        Refused: Something is called what it isn't.
        KeyError: An enum has no such member, or a required part is missing.
        TypeError: A part is of another kind than its type has.
        ValueError: The same.
    """
    if isinstance(value, list):
        return [read(one) for one in value]
    if not isinstance(value, dict):
        return value
    name = value.get(TYPE)
    if isinstance(name, str) and DATA in value and (reader := _READERS.get(name)):
        return reader(value[DATA])
    return {key: read(one) for key, one in value.items()}


def _read_bytes(data: Any) -> bytes:
    if not isinstance(data, str) or len(data) > 2 * AUDIO_BYTES:
        raise Refused("bytes that are none, or too many")
    try:
        return b64decode(data, validate=True)
    except NotBase64:
        raise Refused("bytes that are none") from None


def _read_object(data: Any) -> dict[str, Any]:
    return {key: read(one) for key, one in msgspec.convert(data, dict[str, Any]).items()}


class _Parameters(msgspec.Struct):
    properties: dict[str, Any] = {}
    required: list[str] = []


class _Tool(msgspec.Struct):
    name: str
    description: str = ""
    parameters: _Parameters = msgspec.field(default_factory=_Parameters)


class _Tools(msgspec.Struct):
    standard_tools: list[_Tool]
    custom_tools: dict[str, list[dict[str, Any]]] | None = None


def _read_tools(data: Any) -> ToolsSchema:
    told = msgspec.convert(data, _Tools)
    custom = told.custom_tools
    return ToolsSchema(
        standard_tools=[
            FunctionSchema(
                tool.name, tool.description, tool.parameters.properties, tool.parameters.required
            )
            for tool in told.standard_tools
        ],
        custom_tools={AdapterType(kind): tools for kind, tools in custom.items()}
        if custom is not None
        else None,
    )


class _Context(msgspec.Struct):
    messages: list[dict[str, Any]]
    tools: dict[str, Any] | None = None
    tool_choice: str | dict[str, Any] | None = None


def _read_context(data: Any) -> LLMContext:
    told = msgspec.convert(data, _Context)
    choice = told.tool_choice
    return LLMContext(
        messages=[_read_message(message) for message in told.messages],
        tools=NOT_GIVEN if told.tools is None else _read_tools(told.tools),
        tool_choice=NOT_GIVEN if choice is None else choice,  # pyright: ignore[reportArgumentType]
    )


def _read_message(message: dict[str, Any]) -> Any:
    return _read_specific(message) if message.get(SPECIFIC) else read(message)


class _Specific(msgspec.Struct):
    llm: str
    message: Any


def _read_specific(data: Any) -> LLMSpecificMessage:
    told = msgspec.convert(data, _Specific)
    return LLMSpecificMessage(llm=told.llm, message=read(told.message))


class _Call(msgspec.Struct):
    function_name: str
    tool_call_id: str
    arguments: dict[str, Any]


def _read_call(data: Any) -> FunctionCallFromLLM:
    """Read a call without the conversation that stock sends with each: nothing here asks for it."""
    told = msgspec.convert(data, _Call)
    return FunctionCallFromLLM(
        function_name=told.function_name,
        tool_call_id=told.tool_call_id,
        arguments=read(told.arguments),
        context=None,
    )


class _Properties(msgspec.Struct):
    run_llm: bool | None = None
    is_final: bool = True


def _read_properties(data: Any) -> FunctionCallResultProperties:
    told = msgspec.convert(data, _Properties)
    return FunctionCallResultProperties(run_llm=told.run_llm, is_final=told.is_final)


def _settings_reader(cls: type[ServiceSettings]) -> Callable[[Any], ServiceSettings]:
    def read_settings(data: Any) -> ServiceSettings:
        given = _read_object(data)
        extra: Any = given.pop("extra", None) or {}
        return cls.from_mapping({**extra, **given})

    return read_settings


def _enum_reader(cls: type[Enum]) -> Callable[[Any], Enum]:
    return lambda data: cls[msgspec.convert(data, str)]


def _model_reader(cls: type[BaseModel]) -> Callable[[Any], BaseModel]:
    return lambda data: cls.model_validate(_read_object(data))


_contexts, _tools = LLMContextAdapter(), ToolsSchemaAdapter()
_ENUMS: Sequence[type[Enum]] = (FrameDirection, ErrorCategory)
_MODELS: Sequence[type[BaseModel]] = (*METRICS_BY_NUMBER.values(), LLMTokenUsage, STTUsage)
_TYPED: Mapping[type, Callable[[Any], Any]] = {
    LLMContext: _read_context,
    ToolsSchema: _read_tools,
    LLMSpecificMessage: _read_specific,
    FunctionCallFromLLM: _read_call,
    FunctionCallResultProperties: _read_properties,
    WorkerRegistryEntry: lambda data: msgspec.convert(data, WorkerRegistryEntry),
    LLMSettings: _settings_reader(LLMSettings),
    TTSSettings: _settings_reader(TTSSettings),
    **{cls: _enum_reader(cls) for cls in _ENUMS},
    **{cls: _model_reader(cls) for cls in _MODELS},
}
_READERS: Mapping[str, Callable[[Any], Any]] = {
    "bytes": _read_bytes,
    **{type_name(cls): reader for cls, reader in _TYPED.items()},
}
