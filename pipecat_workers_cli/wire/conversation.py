"""Conversations, tools and what an LLM did with them, as they cross."""

from collections.abc import Sequence
from typing import Annotated, Any

import msgspec
from pipecat.adapters.llm.schemas.function_schema import FunctionSchema
from pipecat.adapters.llm.schemas.tools_schema import AdapterType, ToolsSchema
from pipecat.frames.frames import FunctionCallFromLLM, FunctionCallResultProperties
from pipecat.processors.aggregators.llm_context import (
    NOT_GIVEN,
    LLMContext,
    LLMContextMessage,
    LLMSpecificMessage,
    NotGiven,
)

from pipecat_workers_cli.wire import plain
from pipecat_workers_cli.wire.limits import FUNCTION_CALLS, NAME, Refused


class Messages(msgspec.Struct, array_like=True, forbid_unknown_fields=True, gc=False):
    """Messages of a conversation.

    Attributes:
        plain: All of them, as JSON.
        specific: Which are in a provider's own format, by their place; and which provider's.
    """

    plain: bytes
    specific: dict[int, Annotated[str, msgspec.Meta(max_length=NAME)]]


class Tools(msgspec.Struct, array_like=True, forbid_unknown_fields=True, gc=False):
    """What an LLM is told of its tools; what runs them stays where it is.

    Attributes:
        standard: Name, description, properties and required ones of each, as JSON.
        custom: Those in a provider's own format, by provider, as JSON; or None.
    """

    standard: bytes
    custom: bytes | None


class Context(msgspec.Struct, array_like=True, forbid_unknown_fields=True, gc=False):
    """An LLM's context; tools and the choice among them are None if they were not given."""

    messages: Messages
    tools: Tools | None
    tool_choice: bytes | None


class FunctionCall(msgspec.Struct, array_like=True, forbid_unknown_fields=True, gc=False):
    """A call that an LLM made."""

    function_name: str
    tool_call_id: str
    arguments: bytes


class ResultProperties(msgspec.Struct, array_like=True, forbid_unknown_fields=True, gc=False):
    """What to do with a call's result; what is called once it is known stays where it is."""

    run_llm: bool | None
    is_final: bool


_read_messages = plain.reader(list[dict[str, Any]])
_read_tools = plain.reader(list[tuple[str, str, dict[str, Any], list[str]]])
_read_custom_tools = plain.reader(dict[str, list[dict[str, Any]]])
_read_choice = plain.reader(str | dict[str, Any])
_read_arguments = plain.reader(dict[str, Any])

FunctionCalls = Annotated[list[FunctionCall], msgspec.Meta(max_length=FUNCTION_CALLS)]


def pack_messages(messages: Sequence[LLMContextMessage]) -> Messages:
    """Return messages as they cross."""
    specific = {
        place: message.llm
        for place, message in enumerate(messages)
        if isinstance(message, LLMSpecificMessage)
    }
    if specific:
        messages = [
            message.message if isinstance(message, LLMSpecificMessage) else message
            for message in messages
        ]
    return Messages(plain.pack(messages), specific)


def unpack_messages(packed: Messages) -> list[LLMContextMessage]:
    """Return messages that arrived.

    Raises:
        Refused: They are no messages.
    """
    messages: list[LLMContextMessage] = _read_messages(packed.plain)
    for place, llm in packed.specific.items():
        if not 0 <= place < len(messages):
            raise Refused("a provider's message that isn't there")
        messages[place] = LLMSpecificMessage(llm=llm, message=messages[place])
    return messages


def pack_tools(tools: ToolsSchema | Sequence[Any] | NotGiven) -> Tools | None:
    """Return tools as they cross."""
    if isinstance(tools, NotGiven):
        return None
    schema = tools if isinstance(tools, ToolsSchema) else ToolsSchema(standard_tools=tools)
    standard = [
        (tool.name, tool.description, tool.properties, tool.required)
        for tool in schema.standard_tools
    ]
    custom = {kind.value: tools for kind, tools in (schema.custom_tools or {}).items()}
    return Tools(plain.pack(standard), plain.pack(custom) if custom else None)


def unpack_tools(packed: Tools | None) -> ToolsSchema | NotGiven:
    """Return tools that arrived.

    Raises:
        Refused: They are no tools.
        ValueError: They are of a provider that has no tools of its own.
    """
    if packed is None:
        return NOT_GIVEN
    standard = [FunctionSchema(*tool) for tool in _read_tools(packed.standard)]
    custom = None
    if packed.custom is not None:
        told = _read_custom_tools(packed.custom)
        custom = {AdapterType(kind): tools for kind, tools in told.items()}
    return ToolsSchema(standard_tools=standard, custom_tools=custom)


def pack_context(context: LLMContext) -> Context:
    """Return a context as it crosses."""
    choice = context.tool_choice
    return Context(
        pack_messages(context.messages),
        pack_tools(context.tools),
        None if isinstance(choice, NotGiven) else plain.pack(choice),
    )


def unpack_context(packed: Context) -> LLMContext:
    """Return a context that arrived.

    Raises:
        Refused: It is no context.
        ValueError: As in `unpack_tools`.
    """
    choice = NOT_GIVEN if packed.tool_choice is None else _read_choice(packed.tool_choice)
    return LLMContext(
        unpack_messages(packed.messages), unpack_tools(packed.tools), tool_choice=choice
    )


def pack_calls(calls: Sequence[FunctionCallFromLLM]) -> list[FunctionCall]:
    """Return an LLM's calls as they cross, each without the conversation it was made in."""
    return [
        FunctionCall(call.function_name, call.tool_call_id, plain.pack(dict(call.arguments)))
        for call in calls
    ]


def unpack_calls(packed: list[FunctionCall]) -> list[FunctionCallFromLLM]:
    """Return calls that arrived.

    Raises:
        Refused: A call's arguments are no object.
    """
    return [
        FunctionCallFromLLM(
            function_name=call.function_name,
            tool_call_id=call.tool_call_id,
            arguments=_read_arguments(call.arguments),
            context=None,
        )
        for call in packed
    ]


def pack_properties(properties: FunctionCallResultProperties | None) -> ResultProperties | None:
    """Return what to do with a call's result as it crosses."""
    return properties and ResultProperties(properties.run_llm, properties.is_final)


def unpack_properties(packed: ResultProperties | None) -> FunctionCallResultProperties | None:
    """Return what to do with a result that arrived."""
    return packed and FunctionCallResultProperties(run_llm=packed.run_llm, is_final=packed.is_final)
