"""What a system of workers is, as data: the recipe's tables, closed and frozen.

Nothing here builds or runs a worker. Shape and names are checked here; kinds, providers
and voices are resolved by `call.assembly`.
"""

import re
from collections.abc import Mapping
from typing import Annotated, Any, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Discriminator,
    Field,
    StringConstraints,
    Tag,
    ValidationError,
    model_validator,
)
from pydantic_core import InitErrorDetails, PydanticCustomError

from pipecat_workers_cli.recipe.fitting import find_misfits
from pipecat_workers_cli.recipe.names import (
    AGENT,
    MAX_RULES,
    MAX_TOOLS,
    MAX_TRANSFERS,
    MAX_WORKERS,
    SERVING_KINDS,
    TAKES,
)

NAME_PATTERN = r"^[a-z][a-z0-9_-]{0,39}$"
LINE_PATTERN = r"^[^\x00-\x1f\x7f-\x9f]*$"
TRIGGER_PATTERN = r"^(user|opening|transfer|developer|tool(:[A-Za-z_][A-Za-z0-9_]*)?)$"
IDENTIFIER_PATTERN = r"^[A-Za-z_][A-Za-z0-9_]{0,63}$"
REFERENCE_PATTERN = r"^[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*$"
KIND_PATTERN = r"^([a-z][a-z0-9_-]{0,39}|[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*)$"

Name = Annotated[str, StringConstraints(pattern=NAME_PATTERN)]
"""A worker's or a recipe's name: lower case, at most 40 characters."""

Identifier = Annotated[str, StringConstraints(pattern=IDENTIFIER_PATTERN)]
"""A tool's or an argument's name, as LLM providers allow it."""

Reference = Annotated[str, StringConstraints(pattern=REFERENCE_PATTERN, max_length=200)]
"""Code of the user's own: `module:function` or `package.module:Class`."""

Kind = Annotated[str, StringConstraints(pattern=KIND_PATTERN, max_length=200)]
"""What a worker is: a kind of ours, one of an installed package, or `module:Class`."""

Text = Annotated[str, StringConstraints(min_length=1, max_length=20_000)]
Line = Annotated[str, StringConstraints(max_length=300, pattern=LINE_PATTERN)]
"""A text of one line; it is printed on terminals, so it holds no control characters."""


class Table(BaseModel):
    """A table of a recipe: unknown keys are refused, and nothing changes after loading."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Opening(Table):
    """Who speaks first, and what it is told. Not the words themselves."""

    message: Text
    worker: Name | None = None


def _regular_expression(value: str) -> str:
    if "\b" in value:
        raise PydanticCustomError("backspace", "'\\b' in double quotes is a backspace")
    try:
        re.compile(value, re.IGNORECASE)
    except (re.error, OverflowError, RecursionError) as error:
        reason = "nested too deeply" if isinstance(error, RecursionError) else str(error)
        raise PydanticCustomError(
            "pattern", "not a regular expression: {reason}", {"reason": reason}
        ) from None
    return value


Pattern = Annotated[str, StringConstraints(max_length=1000), AfterValidator(_regular_expression)]

Trigger = Annotated[str, StringConstraints(pattern=TRIGGER_PATTERN)]


def _shape(value: object) -> str | None:
    # Tags no key can have: they turn up in pydantic's places.
    if isinstance(value, str):
        return "<text>"
    if isinstance(value, list | tuple):
        return "<list>"
    return "<table>" if isinstance(value, Mapping) else None


Words = Annotated[
    Annotated[Text, Tag("<text>")]
    | Annotated[Annotated[tuple[Text, ...], Field(min_length=1, max_length=500)], Tag("<list>")],
    Discriminator(
        _shape, custom_error_type="words", custom_error_message="must be a text or a list of texts"
    ),
]
"""What is said: always the same, or the next of a list at each use."""

Voice = Annotated[
    Annotated[Text, Tag("<text>")] | Annotated[Mapping[Name, Text], Tag("<table>")],
    Discriminator(
        _shape, custom_error_type="voice", custom_error_message="must be a text or a table of texts"
    ),
]
"""One voice, or one for each provider: an id of one provider means nothing to another."""


def _scalar(value: Any) -> Any:
    if not isinstance(value, str | int | float | bool):
        raise PydanticCustomError("scalar", "must be a text, a number, true or false")
    return value


Argument = Annotated[str | int | float | bool, BeforeValidator(_scalar)]


class Rule(Table):
    """One line of a `script`: when it fits, and what the scripted LLM then says or calls.

    `on` left out means anything but a tool's result; `match` left out means always.
    """

    on: Trigger | None = None
    match: Pattern | None = None
    say: Words | None = None
    call: Identifier | None = None
    args: Mapping[str, Argument] = {}
    delay: Annotated[float, Field(ge=0, le=60, strict=True, allow_inf_nan=False)] = 0.0

    @model_validator(mode="after")
    def _says_or_calls(self) -> Self:
        if self.say is not None and self.call is not None:
            raise _at("call", self.call, "say_and_call", "a rule says or calls, never both")
        if self.say is None and self.call is None:
            raise PydanticCustomError("silent", "a rule has 'say' or 'call'")
        if self.args and self.call is None:
            raise _at("args", self.args, "args", "'args' belong to 'call'")
        return self


class Service(Table):
    """A provider with settings of its own: `{use = "openai:gpt-4.1", temperature = 0.2}`."""

    model_config = ConfigDict(extra="allow", frozen=True)

    use: Text

    @property
    def settings(self) -> dict[str, Any]:
        """The provider's own settings: every key but `use`."""
        return dict(self.model_extra or {})


def _as_service(value: Any) -> Any:
    if isinstance(value, str):
        return {"use": value}
    if not isinstance(value, Mapping | Service):
        raise PydanticCustomError("service", "must be 'NAME:MODEL', or a table with 'use'")
    return value


ServiceRef = Annotated[Service, BeforeValidator(_as_service)]


class Voiced(Table):
    """What any worker may say of services and of its voice."""

    llm: ServiceRef | None = None
    tts: ServiceRef | None = None
    voice: Voice | None = None

    def voice_for(self, provider: str) -> str | None:
        """Return the voice this worker wants from `provider`; None leaves it the choice."""
        if isinstance(self.voice, str) or self.voice is None:
            return self.voice
        return self.voice.get(provider)


class Filler(Table):
    """What the caller hears when an answer takes longer than `after` seconds."""

    say: Text
    after: Annotated[float, Field(ge=0, le=60, strict=True, allow_inf_nan=False)] = 2.0


class JobTool(Table):
    """A tool of an LLM whose answer comes from other workers, asked by a job.

    `takes` are its arguments, texts all: name to what the LLM is told of it. They are the
    job's payload. One worker gives its answer; several are asked at once.
    """

    tool: Identifier
    workers: tuple[Name, ...] = Field(min_length=1, max_length=MAX_WORKERS)
    takes: Annotated[Mapping[Identifier, Line], Field(max_length=20)] = TAKES
    description: Text | None = None
    job: Annotated[str, StringConstraints(min_length=1, max_length=100)] | None = None
    timeout: Annotated[float, Field(gt=0, le=3600, strict=True, allow_inf_nan=False)] = 30.0
    filler: Filler | None = None


class Speaker(Voiced):
    """What a worker that talks has: a prompt, services, a voice, tools, a script."""

    prompt: Text | None = None
    prompt_file: Line | None = None
    tools: tuple[Reference, ...] = Field(default=(), max_length=MAX_TOOLS)
    jobs: tuple[JobTool, ...] = Field(default=(), max_length=MAX_TOOLS)
    script: tuple[Rule, ...] = Field(default=(), max_length=MAX_RULES)

    @model_validator(mode="after")
    def _one_prompt(self) -> Self:
        if self.prompt is not None and self.prompt_file is not None:
            what = "there is a 'prompt' too"
            raise _at("prompt_file", self.prompt_file, "two_prompts", what)
        return self


class WorkerRecipe(Speaker):
    """One `[[workers]]` table: who the worker is, and to whom it may hand over."""

    name: Name
    kind: Kind = AGENT
    summary: Line = ""
    transfers: tuple[Name, ...] = Field(default=(), max_length=MAX_TRANSFERS)
    options: Mapping[Identifier, Any] = {}


class MainRecipe(Speaker):
    """The `[main]` table: the worker that has the caller.

    Without a prompt it bridges to the agents; with one it answers through an LLM of its own.
    """

    name: Name = "main"
    opening: Opening | None = None
    stt: ServiceRef | None = None
    tts_per_worker: Annotated[bool, Field(strict=True)] = False


class Recipe(Table):
    """A system of workers as data."""

    name: Name
    summary: Line = ""
    main: MainRecipe = MainRecipe()
    workers: tuple[WorkerRecipe, ...] = Field(min_length=1, max_length=MAX_WORKERS)

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        errors = list(find_misfits(self.model_dump(exclude_unset=True, exclude_none=True)))
        if errors:  # pydantic keeps the places of a ValidationError raised here
            raise ValidationError.from_exception_data("Recipe", errors)
        return self

    def worker(self, name: str) -> WorkerRecipe:
        """Return the worker of that name.

        Raises:
            KeyError: There is none.
        """
        for worker in self.workers:
            if worker.name == name:
                return worker
        raise KeyError(name)

    @property
    def opener(self) -> WorkerRecipe | MainRecipe:
        """Who has the call first: `[main]` if it has a prompt, else an agent.

        That is the one that the opening names, or the first.
        """
        if self.main.prompt is not None:
            return self.main
        named = self.main.opening.worker if self.main.opening else None
        return self.worker(named) if named else self.agents[0]

    @property
    def agents(self) -> tuple[WorkerRecipe, ...]:
        """The workers that may have the call: all but those whose kind answers jobs only."""
        return tuple(worker for worker in self.workers if worker.kind not in SERVING_KINDS)


def _at(key: str, value: Any, kind: str, what: str) -> ValidationError:
    error: InitErrorDetails = {
        "type": PydanticCustomError(kind, what),  # pyright: ignore[reportArgumentType]
        "loc": (key,),
        "input": value,
    }
    return ValidationError.from_exception_data("Table", [error])
