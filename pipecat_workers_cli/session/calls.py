"""The calls of one session: how many there are, which one is meant, how all are ended."""

import asyncio
from collections.abc import AsyncGenerator, Callable, Collection, Generator
from contextlib import asynccontextmanager, contextmanager, suppress

from loguru import logger
from pipecat.transports.base_transport import BaseTransport

from pipecat_workers_cli.call.audio import AudioRecorder
from pipecat_workers_cli.call.distribution import Distribution
from pipecat_workers_cli.call.plan import Plan
from pipecat_workers_cli.call.run import STOP_WITHIN, Call, open_call
from pipecat_workers_cli.errors import ConfigurationError, PmwError
from pipecat_workers_cli.logs import told
from pipecat_workers_cli.session.current import CurrentPlan
from pipecat_workers_cli.traffic.tap import Tap
from pipecat_workers_cli.transports.console import ConsoleTransport

STOPPED = "the session stopped"


class Calls:
    """What a session holds: callers' calls, and one in words that `pmw say` keeps open.

    Attributes:
        open_ones: Those in which something can be said.
        held: Calls at this moment, those included that are being opened or ended.
        closing: Whether the session ends; a call that opens then ends at once.
        distribution: Where the workers are that don't run here; None runs all of them.
    """

    def __init__(
        self,
        current: CurrentPlan,
        tap: Tap,
        *,
        idle_timeout: float,
        when_empty: Callable[[], None],
    ) -> None:
        """Begin with none.

        Args:
            current: Gives a call in words the plan to begin with.
            tap: Sees the calls' buses and is told their entries.
            idle_timeout: Seconds in which nobody says anything before a call ends.
            when_empty: Called when the last call is over.
        """
        self.distribution: Distribution | None = None
        self.held = 0
        self.closing = False
        self._current = current
        self._tap = tap
        self._idle_timeout = idle_timeout
        self._when_empty = when_empty
        self.open_ones: set[Call] = set()
        self._nobody = asyncio.Event()
        self._nobody.set()
        self._arriving: set[asyncio.Timeout] = set()
        self._opening: asyncio.Future[Call] | None = None
        self._kept: Call | None = None
        self._keeping: asyncio.Task[None] | None = None

    @contextmanager
    def room(self) -> Generator[None]:
        """Count a call from its first moment to its last."""
        self.held += 1
        self._nobody.clear()
        try:
            yield
        finally:
            self.held -= 1
            if not self.held:
                self._nobody.set()
                self._when_empty()

    @asynccontextmanager
    async def arriving(self, within: float) -> AsyncGenerator[None]:
        """Wait in the block for a caller to say what is needed to begin.

        Args:
            within: Seconds; fewer if the session ends before.

        Raises:
            TimeoutError: They are over.
        """
        async with asyncio.timeout(0 if self.closing else within) as limit:
            self._arriving.add(limit)
            try:
                yield
            finally:
                self._arriving.discard(limit)

    @asynccontextmanager
    async def open(
        self,
        plan: Plan,
        transport: BaseTransport,
        *,
        has_client: bool = True,
        audio: AudioRecorder | None = None,
    ) -> AsyncGenerator[Call]:
        """Run a call for as long as the block lasts; see `open_call`."""
        opened = open_call(
            plan,
            transport,
            tap=self._tap,
            idle_timeout=self._idle_timeout,
            has_client=has_client,
            audio=audio,
            distribution=self.distribution,
        )
        async with opened as call:
            self.open_ones.add(call)
            if self.closing:  # it began while this call was being opened
                call.end(STOPPED)
            try:
                yield call
            finally:
                self.open_ones.discard(call)

    async def end_all(self) -> None:
        """Hang up on everybody, and wait until the calls' workers have stopped."""
        self.closing = True
        for limit in self._arriving:
            with suppress(RuntimeError):  # it is over by itself
                limit.reschedule(0)  # is past
        for call in self.open_ones:
            call.end(STOPPED)
        await self.emptied(within=STOP_WITHIN)

    async def emptied(self, *, within: float) -> None:
        """Wait until no call is held, or until `within` seconds are over."""
        with suppress(TimeoutError):
            await asyncio.wait_for(self._nobody.wait(), within)

    async def find(self, call: str | None, *, busy: Callable[[], bool]) -> Call:
        """Return the call in which to say something.

        Args:
            call: Its id; None means the one that was opened here, else the only one. If
                there is none, one is opened in words, and goes on when whoever asked for it
                has left.
            busy: Whether one more call would be too many.

        Raises:
            PmwError: There is no such call, there are several, or no more room.
        """
        if self._kept and self._keeping and self._kept.ended.is_set():
            await asyncio.wait({self._keeping}, timeout=STOP_WITHIN)  # it leaves its room
        going_on = [one for one in self.open_ones if not one.ended.is_set()]
        opening = self._opening if self._opening and not self._opening.done() else None
        if call is None and opening is None and self._kept and self._kept in going_on:
            return self._kept
        if call is not None or (going_on and opening is None):
            return choose(going_on, call)
        if opening is None:
            if busy():
                raise PmwError("the session takes no more calls", mend="wait until one has ended")
            self._opening = opening = asyncio.get_running_loop().create_future()
            self._keeping = asyncio.create_task(self._keep(opening), name="call in words")
        return await asyncio.shield(opening)  # of all who want it, any may leave

    async def _keep(self, opened: "asyncio.Future[Call]") -> None:
        """Hold a call in words until it ends by itself or with the session."""
        with self.room():
            try:
                plan = (await self._current.renew()).in_words()
                async with self.open(plan, ConsoleTransport(), has_client=False) as call:
                    if plan.loaded.recipe.main.opening:
                        call.log.expect_opening()
                        await call.settled()
                    self._kept = call
                    opened.set_result(call)
                    await call.ended.wait()
            except Exception as error:  # a provider's constructor may raise anything
                if opened.done():
                    logger.error(f"a call did not end well: {type(error).__name__}")
                elif isinstance(first := _first(error), PmwError):
                    opened.set_exception(first)
                else:
                    what = f"the call could not begin: {told(first)}"
                    opened.set_exception(PmwError(what, mend="see the session's log"))


def _first(error: Exception) -> Exception:
    """Return what a task group wraps, or the error itself."""
    while isinstance(error, ExceptionGroup):
        error = error.exceptions[0]
    return error


def choose(calls: Collection[Call], wanted: str | None) -> Call:
    """Return the call that is meant.

    Args:
        calls: The open ones.
        wanted: The beginning of its id; None means the only one.

    Raises:
        ConfigurationError: None has this id, or it isn't clear which is meant.
    """
    found = [call for call in calls if call.id.startswith(wanted or "")]
    if len(found) == 1:
        return found[0]
    ids = ", ".join(sorted(call.id for call in found or calls))
    if found:
        raise ConfigurationError(f"it isn't clear which call is meant: {ids}", mend="--call ID")
    mend = f"--call with one of {ids}" if ids else "leave --call out: one is opened"
    raise ConfigurationError(f"there is no call '{wanted}'", mend=mend)
