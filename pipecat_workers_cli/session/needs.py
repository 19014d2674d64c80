"""The table of commands as `pmw doctor` sees them: what each needs of a machine."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType

from pipecat_workers_cli.buses.way import Way
from pipecat_workers_cli.errors import ConfigurationError, near_miss
from pipecat_workers_cli.options import BusOptions, Profile, ServiceOptions


@dataclass(frozen=True, slots=True)
class Need:
    """A row: what a command needs.

    Attributes:
        recipe: The recipe that it runs; None runs what it is given, if it runs any.
        calls: Holds calls itself.
        hosts: Hosts the workers of other processes' calls.
        callers: Serves browsers: a port, a network, a microphone.
        bus: The bus if none is named, as after `--bus`; empty if it takes none.
        remote: Its LLM worker is at the other end of a link.
        extra: An extra of ours that it can't do without.
        profile: The profile if none is named.
    """

    recipe: str | None = None
    calls: bool = False
    hosts: bool = False
    callers: bool = False
    bus: str = ""
    remote: bool = False
    extra: str = ""
    profile: Profile | None = None


COMMANDS: Mapping[str, Need] = MappingProxyType(
    {
        **{
            name: Need(name, calls=True, callers=True, bus="local")
            for name in ("handoff", "debate", "code", "sensor")
        },
        "run": Need(calls=True, callers=True, bus="local"),
        "eval": Need(calls=True, profile=Profile.OFFLINE),
        "worker": Need("handoff", hosts=True, bus="redis"),
        "up": Need(calls=True, callers=True, extra="up"),
        "proxy": Need("assistant", calls=True, callers=True, remote=True),
        "ps": Need(bus="local"),
        "bus": Need(bus="local"),
        "voices": Need(),
    }
)


@dataclass(frozen=True, slots=True)
class Asked:
    """What `pmw doctor` was told besides the commands.

    Attributes:
        services: Which providers the commands would be told to use.
        transport: Their `--transport`; None serves all that the web server can.
        host: Where their web server would listen.
        port: Its port.
        bus: Which bus they would be told to use.
        remote: Where the worker of `pmw proxy call` is, as was typed; None if it wasn't.
        online: Whether to ask the providers.
        speech: Whether to try the offline speech, where it would be used.
        env_file: The env file that was read; None if there is none.
    """

    services: ServiceOptions = field(default_factory=ServiceOptions)
    transport: str | None = None
    host: str = "localhost"
    port: int = 7860
    bus: BusOptions = field(default_factory=BusOptions)
    remote: Way | None = None
    online: bool = False
    speech: bool = True
    env_file: Path | None = None


def read_commands(words: Sequence[str]) -> tuple[list[Need], list[str]]:
    """Tell commands from the recipes that are named with them.

    Args:
        words: As typed: `handoff`, or `run my.toml`.

    Returns:
        What the commands need, and the recipes for those that run any.

    Raises:
        ConfigurationError: There is no such command, or none that takes a recipe.
    """
    recipes = [word for word in words if "/" in word or word.endswith(".toml")]
    commands = [word for word in words if word not in recipes]
    for command in commands:
        if command not in COMMANDS:
            raise ConfigurationError(
                f"no command '{command}' to look at", mend=near_miss(command, COMMANDS)
            )
    needs = [COMMANDS[command] for command in commands]
    if recipes and not any(need.calls and need.recipe is None for need in needs):
        if commands and not any(need.hosts for need in needs):
            raise ConfigurationError(
                f"{commands[0]} takes no recipe such as {recipes[0]}", mend="write run before it"
            )
        needs = needs or [COMMANDS["run"]]
    return needs, recipes
