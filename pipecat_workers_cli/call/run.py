"""One call, from hello to goodbye: its workers run for as long as a block lasts."""

import asyncio
import time
import uuid
from collections import Counter
from collections.abc import AsyncGenerator, Coroutine, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext
from typing import Any

from loguru import logger
from pipecat.bus import BusCancelMessage, BusEndMessage, BusMessage, WorkerBus
from pipecat.frames.frames import InputTransportMessageFrame
from pipecat.transports.base_transport import BaseTransport
from pipecat.workers.base_worker import BaseWorker
from pipecat.workers.runner import WorkerRunner

from pipecat_workers_cli.buses.local import open_bus
from pipecat_workers_cli.buses.remote import HubBus
from pipecat_workers_cli.call.assembly import build_workers
from pipecat_workers_cli.call.audio import AudioRecorder
from pipecat_workers_cli.call.distribution import Distribution
from pipecat_workers_cli.call.log import CallLog
from pipecat_workers_cli.call.placement import Placement
from pipecat_workers_cli.call.plan import Plan, introduce
from pipecat_workers_cli.recipe.model import Recipe
from pipecat_workers_cli.tracing.setup import trace_call
from pipecat_workers_cli.traffic.tap import Tap, no_links
from pipecat_workers_cli.transports.console import text_turn
from pipecat_workers_cli.workers.bridging import BridgingMain
from pipecat_workers_cli.workers.main import Line, MainWorker

STOP_WITHIN = 4.0  # seconds; a process must be out within 5 s of a signal


class Call:
    """One caller's conversation while it lasts.

    Attributes:
        id: Eight hex digits, unique among a session's calls.
        main: The main worker.
        log: What happens in the call.
        trace: Its spans; None while calls aren't traced.
        ended: Set once the call is over, by whomever.
        reason: Why it ended; empty until then.
    """

    def __init__(self, call_id: str, *, recipe: str, main: str, tap: Tap) -> None:
        """Begin a call whose workers are yet to be built."""
        self.id = call_id
        self.main: MainWorker
        self.trace = trace_call(call_id, recipe=recipe, main=main)
        emit = self.trace.telling(tap.add) if self.trace else tap.add
        self.log = CallLog(call_id, main=main, emit=emit)
        self.ended = asyncio.Event()
        self.reason = ""

    def end(self, reason: str) -> None:
        """Let the call end; the first reason counts."""
        if not self.ended.is_set():
            self.reason = reason
            self.ended.set()

    async def say(self, text: str) -> None:
        """Say a turn as the caller, in words, however the caller is connected."""
        self.log.expect_turn()
        await self.main.queue_frame(InputTransportMessageFrame(message=text_turn(text)))

    async def settled(self) -> None:
        """Wait until the latest turn has been answered, or the call has ended instead."""
        await self._unless_ended(self.log.settled())

    async def heard(self) -> None:
        """Wait until the turn that was sent last has arrived, or the call has ended instead."""
        await self._unless_ended(self.log.heard())

    async def _unless_ended(self, awaited: Coroutine[Any, Any, None]) -> None:
        waits = {
            asyncio.create_task(awaited, name="awaited"),
            asyncio.create_task(self.ended.wait(), name="ended"),
        }
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()

    def on_bus(self, message: BusMessage) -> None:
        """Follow the bus: the log takes note, and a goodbye ends the call."""
        self.log.on_bus(message)
        if isinstance(message, BusEndMessage):
            self.end(message.reason or "goodbye")
        elif isinstance(message, BusCancelMessage):
            self.end(message.reason or "cancelled")


@asynccontextmanager
async def open_call(
    plan: Plan,
    transport: BaseTransport,
    *,
    tap: Tap,
    idle_timeout: float | None,
    has_client: bool = True,
    audio: AudioRecorder | None = None,
    distribution: Distribution | None = None,
) -> AsyncGenerator[Call]:
    """Build the workers of a call and run them for as long as the block lasts.

    The block decides when to leave; `call.ended` tells it that the call is over. Leaving
    stops the workers, however the block is left.

    Args:
        plan: The recipe with its providers, checked.
        transport: The caller's path.
        tap: Sees the call's bus and is told its entries.
        idle_timeout: Seconds in which nobody says anything before the call ends.
        has_client: Whether an RTVI client is at the other end to be told of events.
        audio: Records the call to be heard.
        distribution: Where the workers are that don't run here; None runs all of them.

    Raises:
        PmwError: A service can't be built.
        TimeoutError: The workers did not stop in time; they are cancelled now.
    """
    recipe = plan.loaded.recipe
    call = Call(uuid.uuid4().hex[:8], recipe=recipe.name, main=recipe.main.name, tap=tap)
    placement = distribution.place(call.id, plan) if distribution else None
    async with (
        _told_apart(call),
        open_bus() if placement is None else placement.open_bus() as bus,
    ):
        line = Line(
            transport=transport,
            observers=[call.log, *([audio] if audio else [])],
            on_bus=call.on_bus,
            idle_timeout=idle_timeout,
            has_client=has_client,
            trace=call.trace,
        )
        call.main, workers = await build_workers(plan, line, bus=bus)
        names = [worker.name for worker in recipe.workers]
        late = bus.late if isinstance(bus, HubBus) else Counter[str]()
        if isinstance(call.main, BridgingMain):
            call.main.bridge.dropped = late
        call.log.began = time.monotonic()
        tap.open_call(
            call.id,
            bus,
            recipe=recipe.name,
            workers=names,
            main=recipe.main.name,
            main_talks=plan.llm is not None,
            since=call.log.began,
            recipe_hash=plan.loaded.hash,
            timeouts=job_timeouts(recipe),
            dropped=late,
            links=placement.links if isinstance(placement, Placement) else no_links,
        )
        if isinstance(bus, HubBus):
            call.log.link_by(bus.link_to)
        call.log.tell(event="call", name=recipe.name, payload=introduce(plan))

        @call.main.event_handler("on_setup_timeout")
        async def on_setup_timeout(_main: MainWorker) -> None:
            call.log.tell(event="error", text="a service did not connect in time")

        @transport.event_handler("on_client_disconnected")
        async def on_client_disconnected(_transport: BaseTransport, _client: object) -> None:
            call.end("the caller hung up")

        over = asyncio.create_task(call.main.wait(), name="main worker")
        over.add_done_callback(lambda _: call.end("the main worker stopped"))
        try:
            async with (
                _recorded(call, audio, transport),
                running([call.main, *workers], bus),
                nullcontext() if placement is None else placement.running(call.main, call.log.tell),
            ):
                try:
                    yield call
                finally:
                    call.end("stopped")
        finally:
            call.end("failed")  # only if it never ran
            over.cancel()
            call.log.tell(event="end", reason=call.reason)
            tap.close_call(call.id)


@asynccontextmanager
async def _told_apart(call: Call) -> AsyncGenerator[None]:
    """Let log lines of the block say which call they are about; at its end its trace ends."""
    ids = call.trace.ids if call.trace else {}
    try:
        with logger.contextualize(call=call.id, **ids):
            yield
    finally:
        if call.trace is not None:
            call.trace.close()


def _recorded(
    call: Call, audio: AudioRecorder | None, transport: BaseTransport
) -> AbstractAsyncContextManager[None]:
    if audio is None:
        return nullcontext()
    return audio.recording(
        transport.output(),
        began=call.log.began,
        tell=lambda text: call.log.tell(event="error", text=text),
    )


def job_timeouts(recipe: Recipe) -> dict[tuple[str, str], float]:
    """Return how long who waits for whose answer to a job; the longest, if there are several."""
    timeouts: dict[tuple[str, str], float] = {}
    for asker in (recipe.main, *recipe.workers):
        for tool in asker.jobs:
            for name in tool.workers:
                pair = (asker.name, name)
                timeouts[pair] = max(tool.timeout, timeouts.get(pair, 0.0))
    return timeouts


@asynccontextmanager
async def running(
    workers: Sequence[BaseWorker], bus: WorkerBus, *, stop_within: float = STOP_WITHIN
) -> AsyncGenerator[None]:
    """Run workers on a bus for as long as the block lasts.

    A runner that fails ends the block; a block that ends stops the workers. Errors of
    both come out as one `ExceptionGroup`.

    Raises:
        TimeoutError: Stopping took over `stop_within` seconds; all are cancelled now.
    """
    runner = WorkerRunner(bus=bus, handle_sigint=False)
    await runner.add_workers(*workers)
    ready = asyncio.Event()

    @runner.event_handler("on_ready")
    async def on_ready(_runner: WorkerRunner) -> None:
        ready.set()

    try:
        async with asyncio.timeout(None) as deadline, asyncio.TaskGroup() as tasks:
            tasks.create_task(runner.run(auto_end=False), name="runner")
            await ready.wait()
            try:
                yield
            finally:
                deadline.reschedule(asyncio.get_running_loop().time() + stop_within)
                await runner.cancel("the call is over")
    finally:
        # The runner stops its workers by messages; over a dead bus none arrives. Outside
        # the group, because a task that fails in it cancels all inside.
        late = runner.task_manager.current_tasks()
        for task in late:
            task.cancel()
        if late:
            _, stuck = await asyncio.wait(late, timeout=stop_within)
            for task in stuck:
                logger.warning(f"task {task.get_name()} did not end in {stop_within:.0f} s")
