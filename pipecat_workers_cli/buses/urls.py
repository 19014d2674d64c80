"""Which bus is meant, and what opens it. A scheme picks a row, and only its module is imported."""

from collections.abc import Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from importlib import import_module
from types import MappingProxyType
from typing import TYPE_CHECKING

from pipecat_workers_cli.addresses import split_login
from pipecat_workers_cli.errors import ConfigurationError, near_miss
from pipecat_workers_cli.options import BusOptions
from pipecat_workers_cli.settings import variable

if TYPE_CHECKING:
    from pipecat_workers_cli.buses.network import Network
    from pipecat_workers_cli.buses.pubsub import Channel
    from pipecat_workers_cli.checks import Check

REDIS_URL = "redis://localhost:6379"
LONGEST_CHANNEL = 80  # characters


@dataclass(frozen=True, slots=True)
class BusKind:
    """A row of the table of buses.

    Attributes:
        module: Has `open_network(url, *, channel)`, an async context manager; or if it is
            `stock`, `open_channel` with the same arguments.
        checks: Has `examine(url, *, channel)` for `pmw doctor`, a coroutine function that
            returns findings; or if it is `stock`, `examine_stock` with the same arguments.
        channel: The channel if none is named.
        channel_from: The environment variable that may name it, besides `$PMW_CHANNEL`.
        stock: Whether it is spoken as by Pipecat's own bus, with strangers: one call a channel.
    """

    module: str
    checks: str
    channel: str
    channel_from: str | None = None
    stock: bool = False


HERE = "pipecat_workers_cli.buses"
REDIS = BusKind(f"{HERE}.redis", f"{HERE}.redis_checks", "pipecat:acme")
PGMQ = BusKind(f"{HERE}.pgmq", f"{HERE}.postgres_checks", "pipecat_acme", "PGMQ_CHANNEL")
PUBSUB = BusKind(f"{HERE}.pubsub", f"{HERE}.redis_checks", "pipecat:acme", stock=True)
BUS_KINDS: Mapping[str, BusKind] = MappingProxyType(
    {
        "redis": REDIS,
        "rediss": REDIS,
        "postgresql": PGMQ,
        "postgres": PGMQ,
        "redis+pubsub": PUBSUB,
        "rediss+pubsub": PUBSUB,
    }
)
SHORT = ("local", "redis", "pgmq")


@dataclass(frozen=True, slots=True)
class SharedBus:
    """A bus that processes share.

    Attributes:
        url: Where it is; may hold a password.
        channel: The application's name on it.
    """

    url: str
    channel: str

    @property
    def kind(self) -> BusKind:
        """Its row of the table."""
        return BUS_KINDS[self.url.partition(":")[0]]

    def room(self, asked: int | None, *, otherwise: int) -> int:
        """Return how many calls at once it may carry for a process.

        Args:
            asked: `--max-calls`; None if it wasn't typed.
            otherwise: What is meant then.

        Raises:
            ConfigurationError: It can't carry so many.
        """
        if not self.kind.stock:
            return asked or otherwise
        if asked is not None and asked > 1:
            raise ConfigurationError(
                "stock Pipecat has one call a channel",
                mend="--max-calls 1, or a redis:// bus for our own workers",
            )
        return 1

    @property
    def told(self) -> str:
        """It and its channel, as they may be shown."""
        return f"{self.shown} {self.channel}"

    @property
    def shown(self) -> str:
        """Its URL as it may be shown."""
        scheme, login, where = split_login(self.url)
        if not login:
            return f"{scheme}://{where}"
        user, colon, _ = login.partition(":")
        return f"{scheme}://{user}{':***' if colon else ''}@{where}"


def choose_bus(options: BusOptions, *, otherwise: str = "local") -> SharedBus | None:
    """Choose the bus by what was typed, else by `$PMW_BUS`.

    Args:
        options: What was typed.
        otherwise: What is meant if neither says anything.

    Returns:
        The bus; None for one inside this process.

    Raises:
        ConfigurationError: Two options name one, no bus goes by that name, or the channel's
            name can't be one.
    """
    typed = {
        "--bus": options.bus,
        "--redis-url": options.redis_url,
        "--database-url": options.database_url,
    }
    named = [option for option, value in typed.items() if value]
    if len(named) > 1:
        what = f"{' and '.join(named)} both name a bus"
        raise ConfigurationError(what, mend=f"leave {named[-1]} out")
    wanted = typed[named[0]] if named else variable("PMW_BUS")
    if (url := _url(wanted or otherwise)) is None:
        return None
    kind = _kind(url)
    for option, meant in (("--redis-url", REDIS), ("--database-url", PGMQ)):
        if named == [option] and kind is not meant:
            raise ConfigurationError(
                f"{option} names no such bus: {url.partition(':')[0]}", mend="use --bus"
            )
    from_env = variable(kind.channel_from) if kind.channel_from else None
    channel = options.channel or variable("PMW_CHANNEL") or from_env or kind.channel
    if len(channel) > LONGEST_CHANNEL or not channel.isprintable():
        raise ConfigurationError(
            f"a channel's name has up to {LONGEST_CHANNEL} characters", mend="--channel NAME"
        )
    return SharedBus(url, channel)


def _url(wanted: str) -> str | None:
    match wanted:
        case "local":
            return None
        case "redis":
            return REDIS_URL
        case "pgmq":
            if (url := variable("DATABASE_URL")) is None:
                raise ConfigurationError(
                    "--bus pgmq takes the server from $DATABASE_URL, which is not set",
                    mend="set it, or use --database-url postgresql://…",
                )
            return url
        case _:
            return wanted


def _kind(url: str) -> BusKind:
    scheme = url.partition(":")[0]  # what follows may hold a password
    kind = BUS_KINDS.get(scheme)
    if kind is None or "://" not in url:
        mend = near_miss(scheme, (*SHORT, *(f"{known}://…" for known in BUS_KINDS)))
        raise ConfigurationError(f"no bus is called '{scheme[:40]}'", mend=mend)
    return kind


async def prepare(bus: SharedBus) -> str:
    """Install what a bus lacks, and make sure that it can be used.

    Args:
        bus: Which one.

    Returns:
        What is there now, in a line.

    Raises:
        PmwError: It can't be reached, or may not be used so.
    """
    told = "nothing to install"
    if bus.kind is PGMQ:
        from pipecat_workers_cli.buses.pgmq_install import install  # noqa: PLC0415  # brings asyncpg

        told = f"PGMQ {await install(bus.url)}"
    async with open_channel(bus) if bus.kind.stock else open_network(bus):
        return f"{bus.told}: {told}, and it can be used"


async def examine(bus: SharedBus) -> "Sequence[Check]":
    """Look at a bus as `pmw doctor` does; what can't be reached is a finding, too.

    Returns:
        Findings about the server, the rights there, and what would lose or delay messages.

    Raises:
        ConfigurationError: The URL can't be read.
    """
    checks = import_module(bus.kind.checks)
    look = checks.examine_stock if bus.kind.stock else checks.examine
    return await look(bus.url, channel=bus.channel)


def open_channel(bus: SharedBus) -> "AbstractAsyncContextManager[Channel]":
    """Return the same as `open_network`, for a bus of stock Pipecat's."""
    return import_module(bus.kind.module).open_channel(bus.url, channel=bus.channel)


def open_network(bus: SharedBus) -> "AbstractAsyncContextManager[Network]":
    """Return what connects to a bus when it is entered and disconnects when it is left.

    Args:
        bus: Which one.

    Raises:
        PmwError: On entering: it can't be reached, or isn't what it should be.
    """
    return import_module(bus.kind.module).open_network(bus.url, channel=bus.channel)
