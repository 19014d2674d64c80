"""The process of a worker host: it drains at the first signal, and leaves at the second."""

import asyncio
import os
import signal
from collections.abc import AsyncGenerator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import TYPE_CHECKING, TypeAlias, TypeVar

from pipecat_workers_cli.buses.post import open_post
from pipecat_workers_cli.buses.urls import SharedBus, open_channel, open_network
from pipecat_workers_cli.call.plan import Plan
from pipecat_workers_cli.errors import ConfigurationError, PmwError
from pipecat_workers_cli.fleet.gateway import Gateway
from pipecat_workers_cli.fleet.health import answering, serving_health
from pipecat_workers_cli.fleet.host import WorkerHost
from pipecat_workers_cli.session.socket import open_socket
from pipecat_workers_cli.traffic.tap import Tap

if TYPE_CHECKING:
    from pipecat_workers_cli.fleet.stock_host import StockHost

AnyHost: TypeAlias = "WorkerHost | StockHost"
_Host = TypeVar("_Host", "WorkerHost | StockHost", "Gateway")
Beside = Callable[[AnyHost, str | None], AbstractAsyncContextManager[None]]
"""What runs while the host serves: a banner, a live table. Given the host and its name."""


async def serve_workers(
    plan: Plan,
    bus: SharedBus,
    *,
    tap: Tap,
    max_calls: int,
    drain_timeout: float,
    health_port: int | None,
    beside: Beside,
) -> int:
    """Run workers for calls elsewhere until a signal ends it.

    Args:
        plan: The recipe with its providers, checked; all of its workers are run.
        bus: Where calls are.
        tap: Sees the workers' buses.
        max_calls: How many of each worker to run at once.
        drain_timeout: Seconds that calls may go on here after the first signal.
        health_port: Where an orchestrator may ask; None answers nobody.
        beside: Entered once it serves.

    Returns:
        The signal that ended it.

    Raises:
        PmwError: The bus can't be reached, or calls were still going on at the end.
    """
    hosting = _open_host(plan, bus, tap, max_calls=max_calls, health_port=health_port)
    return await run_host(hosting, tap=tap, drain_timeout=drain_timeout, beside=beside)


async def run_host(
    hosting: AbstractAsyncContextManager[_Host],
    *,
    tap: Tap,
    drain_timeout: float,
    beside: Callable[[_Host, str | None], AbstractAsyncContextManager[None]],
) -> int:
    """Run what serves workers until a signal ends it: the first drains, the second leaves.

    Args:
        hosting: Gives the host; entering opens what it needs.
        tap: Sees the workers' buses.
        drain_timeout: Seconds that calls may go on here after the first signal.
        beside: Entered once it serves.

    Returns:
        The signal that ended it.

    Raises:
        PmwError: It can't serve, or calls were still going on at the end.
    """
    stopping = _Stopping()
    async with hosting as host:
        running = asyncio.create_task(host.run(), name="worker host")
        running.add_done_callback(lambda _: stopping.asked.set())
        measuring = asyncio.create_task(host.loop_lag.measure(), name="measure lag")
        try:
            async with (
                tap.collecting(),
                open_socket(host, tap) as name,
                beside(host, name),
            ):
                await stopping.asked.wait()
                clean = running.done() or await host.drain(within=drain_timeout)
                cut_off = host.failure
        finally:
            running.cancel()
            measuring.cancel()
            await asyncio.wait({running, measuring})
    if not running.cancelled() and (error := running.exception()) is not None:
        raise error
    if not clean and cut_off is not None:
        what = f"calls were cut off, for there was no way to hand them over: {cut_off}"
        raise PmwError(what, mend="start hosts where the bus can be reached")
    if not clean:
        what = f"calls went on after {drain_timeout:g} s of draining"
        raise PmwError(what, mend="give them longer: --drain-timeout S")
    return stopping.signal


@asynccontextmanager
async def _open_host(
    plan: Plan, bus: SharedBus, tap: Tap, *, max_calls: int, health_port: int | None
) -> AsyncGenerator[AnyHost]:
    """Connect a host to its bus, and answer for it, while the block lasts; the block runs it."""
    if bus.kind.stock:
        if health_port is not None:
            what = "a host for stock Pipecat has no health port"
            raise ConfigurationError(what, mend="leave --health-port out, or use redis://")
        from pipecat_workers_cli.fleet.stock_host import StockHost  # noqa: PLC0415  # brings redis-py

        async with open_channel(bus) as channel:
            yield StockHost(plan, channel, tap)
    else:
        async with open_network(bus) as network, open_post(network) as post:
            host = WorkerHost(plan, post, tap, max_calls=max_calls)
            async with serving_health(host, post, health_port):
                yield host


async def serve_proxy(
    gateway: Gateway,
    *,
    tap: Tap,
    drain_timeout: float,
    beside: Callable[[Gateway, str | None], AbstractAsyncContextManager[None]],
) -> int:
    """Serve one worker to links until a signal ends it.

    Args:
        gateway: What serves; nothing listens yet.
        tap: Sees the workers' buses.
        drain_timeout: Seconds that calls may go on here after the first signal.
        beside: Entered once it serves.

    Returns:
        The signal that ended it.

    Raises:
        PmwError: The port is taken, or calls were still going on at the end.
    """

    @asynccontextmanager
    async def hosting() -> AsyncGenerator[Gateway]:
        async with answering(gateway), gateway.listening():
            yield gateway

    return await run_host(hosting(), tap=tap, drain_timeout=drain_timeout, beside=beside)


class _Stopping:
    """The first signal asks to stop, the second leaves at once."""

    def __init__(self) -> None:
        self.asked = asyncio.Event()
        self.signal = 0
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, self._take, number)

    def _take(self, number: int) -> None:
        if self.asked.is_set():
            os._exit(130 if number == signal.SIGINT else 1)
        self.signal = number
        self.asked.set()
