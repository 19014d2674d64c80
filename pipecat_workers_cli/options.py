"""The options of a call, typed at the door and frozen after it."""

from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path


class Profile(StrEnum):
    """Where speech and language come from."""

    AUTO = "auto"
    CLOUD = "cloud"
    OFFLINE = "offline"


class TrafficMode(StrEnum):
    """How a session shows what its workers say to each other."""

    TABLE = "table"
    LINES = "lines"
    OFF = "off"


class Duplex(StrEnum):
    """Whether the caller is heard while the bot speaks."""

    HALF = "half"
    FULL = "full"


class Output(StrEnum):
    """What a command writes to stdout."""

    TEXT = "text"
    JSON = "json"


class Wire(StrEnum):
    """What is spoken over a link to a worker elsewhere."""

    PMW = "pmw"
    STOCK = "stock"


class EngineName(StrEnum):
    """What answers questions about code."""

    CLAUDE = "claude"
    SEARCH = "search"


class Gender(StrEnum):
    """How a voice sounds, in Cartesia's words but one."""

    FEMININE = "feminine"
    MASCULINE = "masculine"
    NEUTRAL = "neutral"


class Words(StrEnum):
    """How much the words of turns count where two calls are compared."""

    EXACT = "exact"
    FUZZY = "fuzzy"
    OFF = "off"


class LogFormat(StrEnum):
    """How log lines look."""

    TEXT = "text"
    JSON = "json"


@dataclass(frozen=True, slots=True)
class ServiceOptions:
    """Which providers serve a call.

    Attributes:
        profile: `--services`; None when it wasn't typed, which means `auto` in the end
            but lets a recipe's own choice win first.
        llm: `--llm`, `NAME` or `NAME:MODEL`.
        stt: `--stt`, `NAME` or `NAME:MODEL`.
        tts: `--tts`, `NAME` or `NAME:VOICE`.
    """

    profile: Profile | None = None
    llm: str | None = None
    stt: str | None = None
    tts: str | None = None


@dataclass(frozen=True, slots=True)
class Trust:
    """What a user grants at the command line, and no recipe can.

    Attributes:
        bash: `--allow-bash`: a coder may run shell commands.
    """

    bash: bool = False


@dataclass(frozen=True, slots=True)
class ServeOptions:
    """Where the web server listens, and whom it lets in.

    Attributes:
        transport: One transport of Pipecat's runner; None serves all that need no more
            than the web server.
        host: The address to bind.
        port: The port to bind.
        allowed_origins: Origins let in besides the server's own, `https://host[:port]`.
        page_token: Asked of every request when set; the page carries it in its fragment.
        insecure: Allows a bind beyond loopback without a page token.
        runner_args: What followed `--`, for Pipecat's runner.
    """

    transport: str | None = None
    host: str = "localhost"
    port: int = 7860
    allowed_origins: tuple[str, ...] = ()
    page_token: str | None = field(default=None, repr=False)
    insecure: bool = False
    runner_args: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class BusOptions:
    """Which bus carries calls, as it was typed; the environment fills in what wasn't.

    Attributes:
        bus: `--bus`: `local`, `redis`, `pgmq` or a URL.
        redis_url: `--redis-url`, the same in other words.
        database_url: `--database-url`, likewise.
        channel: `--channel`, the application's name on a shared bus.
    """

    bus: str | None = None
    redis_url: str | None = None
    database_url: str | None = None
    channel: str | None = None


@dataclass(frozen=True, slots=True)
class LocalOptions:
    """This machine's own sound, for `-t local`.

    Attributes:
        duplex: `half` closes the microphone while the bot speaks.
        input_device: The microphone's number or name; None takes the default.
        output_device: The loudspeaker's.
        list_devices: Only list which there are.
    """

    duplex: Duplex = Duplex.HALF
    input_device: str | None = None
    output_device: str | None = None
    list_devices: bool = False


@dataclass(frozen=True, slots=True)
class LinkOptions:
    """How workers are reached that have an `at`.

    Attributes:
        headers: Sent when a link is opened, names and values.
        ca_file: Whose certificates are trusted; None trusts those that this machine does.
        reconnect_timeout: Seconds in which a link that broke is opened again, or never.
        wire: What is spoken: this program's own, or what stock Pipecat's proxy workers do.
    """

    headers: tuple[tuple[str, str], ...] = field(default=(), repr=False)
    ca_file: Path | None = None
    reconnect_timeout: float = 30.0
    wire: Wire = Wire.PMW


LINKS = LinkOptions()
"""How they are reached where nothing was typed."""


@dataclass(frozen=True, slots=True)
class CallOptions:
    """All that a pattern command was told.

    Attributes:
        services: Which providers.
        serve: Where callers come from.
        local: Which microphone and loudspeaker, where the caller is here.
        trust: What is granted besides.
        bus: What carries messages between workers.
        links: How workers are reached that have an `at`.
        sets: `--set` as typed, `KEY=VALUE` each.
        traffic: How traffic is shown; None leaves it to the terminal.
        say: User turns to be sent instead of a person's; None asks a person.
        record: Where every message is recorded; None records none.
        output: Text or JSON lines on stdout.
        audio: A WAV file that holds the call; None records nothing.
        max_turn_ms: Milliseconds that an answer may take; None allows any.
        idle_timeout: Seconds in which nobody says anything before a call ends.
        max_calls: Calls at once in this process; None takes what the slowest of the
            chosen services bears.
        detach: Whether to run in the background.
    """

    services: ServiceOptions = field(default_factory=ServiceOptions)
    serve: ServeOptions = field(default_factory=ServeOptions)
    local: LocalOptions = field(default_factory=LocalOptions)
    trust: Trust = field(default_factory=Trust)
    bus: BusOptions = field(default_factory=BusOptions)
    links: LinkOptions = field(default_factory=LinkOptions)
    sets: tuple[str, ...] = ()
    traffic: TrafficMode | None = None
    say: tuple[str, ...] | None = None
    record: Path | None = None
    output: Output = Output.TEXT
    audio: Path | None = None
    max_turn_ms: int | None = None
    idle_timeout: float = 300.0
    max_calls: int | None = None
    detach: bool = False


@dataclass(frozen=True, slots=True)
class HostOptions:
    """All that `pmw worker` was told.

    Attributes:
        names: The workers to host.
        every: Whether all of the recipe's are meant.
        services: Which providers.
        bus: Where calls are.
        sets: `--set` as typed, `KEY=VALUE` each.
        max_calls: Calls at once, for each worker; None takes what the slowest of the chosen
            services bears.
        drain_timeout: Seconds that calls may go on after the first signal.
        health_port: Where an orchestrator may ask how it is; None answers nobody.
    """

    names: tuple[str, ...]
    every: bool = False
    services: ServiceOptions = field(default_factory=ServiceOptions)
    bus: BusOptions = field(default_factory=BusOptions)
    sets: tuple[str, ...] = ()
    max_calls: int | None = None
    drain_timeout: float = 60.0
    health_port: int | None = None


@dataclass(frozen=True, slots=True)
class ProxyOptions:
    """All that `pmw proxy serve` was told.

    Attributes:
        worker: Which worker is served.
        services: Which providers.
        sets: `--set` as typed, `KEY=VALUE` each.
        host: The address to bind.
        port: The port to bind.
        tokens: Each of which opens a link; none lets in everybody.
        tls_cert: The certificate's file; None speaks plainly.
        tls_key: Its key's; None looks for it in the certificate's file.
        allowed_origins: Pages that may open a link.
        insecure: Allows a bind beyond loopback without a token.
        max_calls: Links at once.
        max_message_bytes: Of what is taken at once.
        idle_timeout: Seconds in which nothing is said over a link, until it is closed.
        drain_timeout: Seconds that calls may go on after the first signal.
        wire: What is spoken: this program's own, or what stock Pipecat's proxy workers do.
    """

    worker: str
    services: ServiceOptions = field(default_factory=ServiceOptions)
    sets: tuple[str, ...] = ()
    host: str = "localhost"
    port: int = 8765
    tokens: tuple[str, ...] = field(default=(), repr=False)
    tls_cert: Path | None = None
    tls_key: Path | None = None
    allowed_origins: tuple[str, ...] = ()
    insecure: bool = False
    max_calls: int = 100
    max_message_bytes: int = 1_048_576
    idle_timeout: float = 300.0
    drain_timeout: float = 60.0
    wire: Wire = Wire.PMW
