"""What a system of workers is, as data: the recipe's tables, closed and frozen.

Nothing here builds or runs a worker. Shape and names are checked here; kinds, providers
and voices are resolved by `call.assembly`.

The text below a key is its description in `pmw recipe schema`: prose for recipe authors.
"""

from collections.abc import Mapping
from typing import Annotated, Any, Self

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    GetJsonSchemaHandler,
    StringConstraints,
    ValidationError,
    model_validator,
)
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, InitErrorDetails, PydanticCustomError

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
from pipecat_workers_cli.recipe.values import (
    Address,
    Argument,
    Delay,
    Identifier,
    Kind,
    Line,
    Name,
    Pattern,
    Reference,
    Secret,
    Text,
    Trigger,
    Voice,
    Words,
)


class Table(BaseModel):
    """A table of a recipe: unknown keys are refused, and nothing changes after loading."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)


class Opening(Table):
    """Who speaks first, and what it is told. Not the words themselves."""

    message: Text
    """What the worker is told to do first, such as "Welcome the caller"."""

    worker: Name | None = None
    """The agent that has the call first; the first agent if left out."""


class Rule(Table):
    """When a rule fits, and what the offline LLM then says or calls. The first that fits wins."""

    model_config = ConfigDict(
        json_schema_extra={
            "oneOf": [{"required": ["say"]}, {"required": ["call"]}],
            "dependentRequired": {"args": ["call"]},
        }
    )

    on: Trigger | None = None
    """What is to be answered: the caller's words (user), the first thing said (opening), a call
    handed over (transfer), either of these two (developer), a tool's result (tool, or tool:NAME
    for one tool's). Left out: anything but a tool's result."""

    match: Pattern | None = None
    """A regular expression, found anywhere and in any case, in single quotes; {number} in it is
    any number, in digits or in words. Left out: always."""

    say: Words | None = None
    """What is said: a text, or a list of which each use takes the next. {match}, {text}, named
    groups and {result.KEY} are filled in."""

    call: Identifier | None = None
    """The tool that is called instead."""

    args: Mapping[str, Argument] = {}
    """The tool's arguments, filled in like `say` and made what the tool takes."""

    delay: Delay = 0.0
    """Seconds before the first word, or before the call."""

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
    """A provider with settings of its own: { use = "openai:gpt-4.1", temperature = 0.2 }."""

    model_config = ConfigDict(extra="allow")

    use: Text
    """The provider, and after a colon its model: "openai:gpt-4.1". Every other key is a
    setting of that provider's."""

    @property
    def settings(self) -> dict[str, Any]:
        """The provider's own settings: every key but `use`."""
        return dict(self.model_extra or {})


class _ShortForm:
    """Tells editors that a text may stand for the table."""

    @classmethod
    def __get_pydantic_json_schema__(
        cls, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        return {"anyOf": [{"type": "string", "minLength": 1}, handler(schema)]}


def _as_service(value: Any) -> Any:
    if isinstance(value, str):
        return {"use": value}
    if not isinstance(value, Mapping | Service):
        raise PydanticCustomError("service", "must be 'NAME:MODEL', or a table with 'use'")
    return value


ServiceRef = Annotated[Service, BeforeValidator(_as_service), _ShortForm]


class Voiced(Table):
    """What any worker may say of services and of its voice."""

    llm: ServiceRef | None = None
    """The language model: "PROVIDER:MODEL", or { use = "PROVIDER:MODEL", … } with settings of
    that provider's. Left out: [main]'s, else what the command line or the keys say."""

    tts: ServiceRef | None = None
    """Text to speech, like `llm`."""

    voice: Voice | None = None
    """A voice, or one for each provider: { cartesia = "ID", piper = "NAME" }."""

    def voice_for(self, provider: str) -> str | None:
        """Return the voice this worker wants from `provider`; None leaves it the choice."""
        if isinstance(self.voice, str) or self.voice is None:
            return self.voice
        return self.voice.get(provider)


class Filler(Table):
    """What the caller hears while an answer takes long."""

    say: Text
    """The words, such as "Let me look that up"."""

    after: Delay = 2.0
    """Seconds of waiting after which they are said; a quicker answer has none."""


class JobTool(Table):
    """A tool of the worker's LLM whose answer comes from other workers, asked by a job.

    One worker gives its answer; several are asked at once, and give { NAME: answer }.
    """

    tool: Identifier
    """The tool's name, by which the LLM calls it: ask_support."""

    workers: Annotated[tuple[Name, ...], Field(min_length=1, max_length=MAX_WORKERS)]
    """Who is asked: specialists, coders, controllers, or kinds of your own. No ring of jobs."""

    takes: Annotated[Mapping[Identifier, Line], Field(max_length=20)] = TAKES
    """The tool's arguments, texts all: name to what the LLM is told of it. They are what the
    workers are asked."""

    description: Text | None = None
    """What the LLM is told the tool is for. Left out: whom it asks, with their summaries."""

    job: Annotated[str, StringConstraints(min_length=1, max_length=100)] | None = None
    """The name of a `@job` handler, for a class of your own that has several."""

    timeout: Annotated[float, Field(gt=0, le=3600, strict=True, allow_inf_nan=False)] = 30.0
    """Seconds to wait for an answer. Of several workers, who is late is left out."""

    filler: Filler | None = None
    """What the caller hears meanwhile, if it takes long."""


class Speaker(Voiced):
    """What a worker that talks has: a prompt, services, a voice, tools, a script."""

    model_config = ConfigDict(json_schema_extra={"not": {"required": ["prompt", "prompt_file"]}})

    prompt: Text | None = None
    """Who the worker is and what it knows: the LLM's system instruction."""

    prompt_file: Line | None = None
    """A file beside the recipe that holds the prompt."""

    tools: tuple[Reference, ...] = Field(default=(), max_length=MAX_TOOLS)
    """Tools in Python, "MODULE:FUNCTION" each, looked for in the recipe's folder first."""

    jobs: tuple[JobTool, ...] = Field(default=(), max_length=MAX_TOOLS)
    """Tools whose answers come from other workers."""

    script: tuple[Rule, ...] = Field(default=(), max_length=MAX_RULES)
    """What the offline LLM says: rules, of which the first that fits wins."""

    @model_validator(mode="after")
    def _one_prompt(self) -> Self:
        if self.prompt is not None and self.prompt_file is not None:
            what = "there is a 'prompt' too"
            raise _at("prompt_file", self.prompt_file, "two_prompts", what)
        return self


class WorkerRecipe(Speaker):
    """A worker: who it is, what it can do, to whom it may hand over."""

    name: Name
    """Its name among the workers, lower case."""

    kind: Kind = AGENT
    """What it is. An agent talks to the caller; a specialist answers jobs in a context of its
    own; a coder answers questions about code; a controller runs a thermometer. Or a kind of an
    installed package, or MODULE:CLASS."""

    summary: Line = ""
    """What it is for, in a line: others' LLMs choose by it."""

    transfers: tuple[Name, ...] = Field(default=(), max_length=MAX_TRANSFERS)
    """The agents to which it may hand the call; gives its LLM transfer_to_agent."""

    options: Mapping[Identifier, Any] = {}
    """What its kind takes besides."""

    at: Address | None = None
    """Where it runs instead, ws:// or wss://, served there by `pmw proxy serve`. All else in
    this table is the far end's then, but for its kind, its transfers and whom it asks."""

    token: Secret | None = Field(default=None, repr=False)
    """What the far end asks for, best as "${VARIABLE}"."""

    @model_validator(mode="after")
    def _token_for_somebody(self) -> Self:
        if self.token is not None and self.at is None:
            raise _at("token", "***", "token", "a token is for the far end of 'at'")
        return self


class MainRecipe(Speaker):
    """The worker that has the caller.

    Without a prompt it bridges to the agents; with one it answers through an LLM of its own.
    """

    name: Name = "main"
    """Its name among the workers, lower case."""

    opening: Opening | None = None
    """Who speaks first, and what it is told. Left out: the caller speaks first."""

    stt: ServiceRef | None = None
    """Speech to text, like `llm`."""

    tts_per_worker: Annotated[bool, Field(strict=True)] = False
    """Every agent speaks with a TTS and a voice of its own; [main] only while they are away."""


class Recipe(Table):
    """A system of workers for calls."""

    name: Name
    """The recipe's name, lower case."""

    summary: Line = ""
    """What it is, in a line, for lists."""

    main: MainRecipe = MainRecipe()
    """The worker that has the caller. Without a prompt it bridges to the agents; with one it
    answers itself."""

    workers: tuple[WorkerRecipe, ...] = Field(min_length=1, max_length=MAX_WORKERS)
    """The other workers, a [[workers]] each."""

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
