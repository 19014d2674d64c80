"""Which bus a URL names. A scheme picks a row, and only that row's module is imported."""

from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING

from pipecat_workers_cli.errors import ConfigurationError, near_miss

if TYPE_CHECKING:
    from pipecat_workers_cli.buses.local import LocalBus


@dataclass(frozen=True, slots=True)
class BusKind:
    """A row of the table of buses.

    Attributes:
        module: Has `open_bus(url, *, channel)`, an async context manager.
    """

    module: str


BUS_KINDS = {"local": BusKind("pipecat_workers_cli.buses.local")}


def open_bus(url: str, *, channel: str) -> "AbstractAsyncContextManager[LocalBus]":
    """Choose the bus that `url` names; entering it connects, leaving it disconnects.

    Args:
        url: `local`.
        channel: The application's name on a shared bus, 1 to 80 characters.

    Raises:
        ConfigurationError: No bus goes by that scheme.
    """
    scheme = url.partition(":")[0]  # what follows may hold a password
    kind = BUS_KINDS.get(scheme)
    if kind is None:
        raise ConfigurationError(
            f"no bus is called '{scheme[:40]}'", mend=near_miss(scheme, BUS_KINDS)
        )
    return import_module(kind.module).open_bus(url, channel=channel)
