"""Who runs the workers of a call elsewhere: offered, joined, and replaced when they go silent."""

import asyncio
from collections.abc import AsyncGenerator, Callable, Coroutine, Iterable
from contextlib import ExitStack, asynccontextmanager, suppress
from typing import Any

from loguru import logger
from pipecat.bus import BusEndMessage
from pipecat.frames.frames import TTSSpeakFrame

from pipecat_workers_cli.buses.post import ALIVE_EVERY
from pipecat_workers_cli.buses.remote import HubBus, Seat
from pipecat_workers_cli.call.place import REST, Place, Seeker
from pipecat_workers_cli.call.plan import Plan
from pipecat_workers_cli.errors import PmwError
from pipecat_workers_cli.traffic.views import LinkState
from pipecat_workers_cli.wire.letter import Letter
from pipecat_workers_cli.wire.limits import Refused
from pipecat_workers_cli.wire.notice import (
    CLAIMS,
    Joined,
    Leave,
    Left,
    Notice,
    Offer,
    ToolBegun,
)
from pipecat_workers_cli.workers.bridging import AgentBridge, BridgingMain
from pipecat_workers_cli.workers.main import MainWorker

LOOK_EVERY = 0.1  # seconds
SILENT_AFTER = 2 * ALIVE_EVERY  # seconds; a filler is due two seconds after a host's death
NOBODY_AFTER = 2.0  # seconds without a host until that is said
SAY_AGAIN = 20.0  # seconds between two apologies
SWITCH_WITHIN = 8.0  # seconds that an answer under way may take before another host goes on
SAID_WITHIN = 20.0  # seconds; a goodbye is a sentence or two
TIDY_WITHIN = 1.0  # seconds for the engine to take offers back at a call's end

WAIT = "One moment, please."
LOST = "I'm sorry, I can't go on: the line to whom you spoke with is gone. Please call again."

Tell = Callable[..., None]
"""Tells an entry of the call, by its fields."""

Seekers = Iterable[Seeker]


class Placement:
    """Sees to it that somebody runs each of a call's other workers, for as long as it lasts.

    Attributes:
        bus: The call's bus.
    """

    def __init__(self, call: str, plan: Plan, seekers: Callable[["Placement"], Seekers]) -> None:
        """Prepare; nothing is offered yet.

        Args:
            call: The call's id.
            plan: The recipe, and which of its workers run here.
            seekers: Makes what looks for the others.
        """
        recipe = plan.loaded.recipe
        self.bus = HubBus(
            call,
            main=recipe.main.name,
            beside=[planned.recipe.name for planned in plan.workers],
            on_notice=self._note,
            on_end=self._note_end,
        )
        self._plan = plan
        self._places = {seeker.worker: Place(seeker) for seeker in seekers(self)}
        self._apologised_at = -SAY_AGAIN
        self._cut_off = False
        self._ending = False
        self._tasks: set[asyncio.Task[None]] = set()
        self._main: MainWorker
        self._tell: Tell

    def links(self) -> dict[str, LinkState]:
        """Return how the links to the call's workers are, by worker."""
        states = ((name, place.seeker.state()) for name, place in self._places.items())
        return {name: state for name, state in states if state is not None}

    @asynccontextmanager
    async def open_bus(self) -> AsyncGenerator[HubBus]:
        """Open the call's bus; leaving stops what it still delivers."""
        try:
            yield self.bus
        finally:
            await self.bus.stop()

    @asynccontextmanager
    async def running(self, main: MainWorker, tell: Tell) -> AsyncGenerator[None]:
        """Offer the workers, and have them replaced, while the block lasts.

        Args:
            main: The main worker, to whom fillers and takeovers go.
            tell: Told entries of the call.
        """
        self._main, self._tell = main, tell
        with ExitStack() as stack:
            for place in self._places.values():
                stack.enter_context(place.seeker.taking(self.bus.call, self.bus.take))
            self._start(self._watch())
            try:
                yield
            finally:
                tasks = set(self._tasks)
                for task in tasks:
                    task.cancel()
                if tasks:
                    await asyncio.wait(tasks, timeout=TIDY_WITHIN)
                await self._leave()

    async def _leave(self) -> None:
        for worker, seat in self.bus.seats.items():
            self.bus.notify(seat, worker, Leave("the call is over"))
        with suppress(TimeoutError):
            async with asyncio.timeout(TIDY_WITHIN):
                await asyncio.gather(*map(self._leave_to, self._places.values()))
        for place in self._places.values():
            place.keeping.close()

    async def _leave_to(self, place: Place) -> None:
        if place.seeker.cut_off is None:
            with suppress(PmwError):
                await place.seeker.leave()

    async def _watch(self) -> None:
        loop = asyncio.get_running_loop()
        for place in self._places.values():
            place.missed_at = loop.time()
        while not self._ending:
            self._look_at_engine(loop.time())
            for place in self._places.values():
                try:
                    await self._look(place, loop.time())
                except Exception as error:  # without this watch nobody would be replaced any more
                    what = f"a look after {place.worker} failed: {type(error).__name__}"
                    logger.opt(exception=error).error(what)
            await asyncio.sleep(LOOK_EVERY)

    def _look_at_engine(self, now: float) -> None:
        """Tell the user that it can't be reached; once it is back, offer what it may have lost."""
        failures = (place.seeker.cut_off for place in self._places.values())
        failure = next((failure for failure in failures if failure), None)
        if failure is not None and not self._cut_off:
            self._tell(event="error", text=f"{failure}; the call goes on as soon as it is back")
        elif failure is None and self._cut_off:
            for place in self._places.values():
                if place.worker not in self.bus.seats:
                    place.offer_at = now
        self._cut_off = failure is not None

    async def _look(self, place: Place, now: float) -> None:
        if place.lost:
            return
        seat = self.bus.seats.get(place.worker)
        if seat is not None:
            await self._look_at(place, seat, now)
        if place.missed_at is not None:
            await self._hold(place)
        if place.missed_at is not None:
            # Cut off, all else would wait with it; and who joins may have to wait a while.
            cut_off = place.seeker.cut_off is not None
            if now >= place.offer_at and not (cut_off or place.joining.locked()):
                await self._offer(place, now)
        if place.missed_at is not None:  # nobody has joined while these waited
            longest = place.seeker.gives_up_after
            if longest is not None and now - place.missed_at > longest:
                await self._lose_for_good(place)
            elif now - place.missed_at > NOBODY_AFTER:
                await self._miss(place, now)

    async def _look_at(self, place: Place, seat: Seat, now: float) -> None:
        """Notice that the process that runs a worker is silent, or is heard again."""
        silent = seat.post.silent_for(seat.address) > SILENT_AFTER
        if silent and not place.silent:
            place.missed_at = now
            place.offer_at = now + place.seeker.patience(
                0
            )  # a lease ends sooner, and it comes back
            logger.info(f"nothing is heard of {place.worker}")
        elif place.silent and not silent:
            place.missed_at, place.told, place.filled = None, False, False
        place.silent = silent

    def _bridge_to(self, place: Place) -> AgentBridge | None:
        """Return the way to a worker, if it is the agent that has the call."""
        main = self._main
        if isinstance(main, BridgingMain) and main.agent == place.worker:
            return main.bridge
        return None

    async def _hold(self, place: Place) -> None:
        """Ask the caller for patience, once, if it is the silent one who owes an answer."""
        bridge = self._bridge_to(place)
        if bridge and await bridge.hold() and not place.filled:
            place.filled = True
            await self._say(WAIT)

    async def _miss(self, place: Place, now: float) -> None:
        """Say that nobody runs a worker, to the user once and to the caller now and then."""
        if not place.told and not self._cut_off:
            place.told = True
            self._start(self._tell_missing(place))
        if self._is_waited_for(place.worker) and now - self._apologised_at > SAY_AGAIN:
            self._apologised_at = now
            await self._say(place.seeker.sorry)

    async def _tell_missing(self, place: Place, more: str = "") -> None:
        missing = await place.seeker.missing()
        self._tell(event="error", worker=place.worker, text=f"{missing}{more}")

    def _is_waited_for(self, worker: str) -> bool:
        main = self._main
        if not isinstance(main, BridgingMain) or not main.client_connected.is_set():
            return False
        if main.agent is None:
            return worker == self._plan.loaded.recipe.opener.name
        return main.agent == worker and bool(main.bridge.owed)

    async def _say(self, text: str) -> None:
        await self._main.queue_frame(TTSSpeakFrame(text, append_to_context=False))

    async def _offer(self, place: Place, now: float) -> None:
        """Offer a worker, once more if it was before; the engine may be away for a while."""
        self._give_up(place)  # whoever is silent for so long loses its claim now
        place.offer_at = now + place.seeker.patience(place.tries)
        place.offered += 1  # also if it fails, for it may have been made all the same
        place.tries += 1
        offer = Offer(
            call=self.bus.call,
            worker=place.worker,
            main=self._plan.loaded.recipe.main.name,
            address=place.seeker.address,
            number=place.offered,
            hash=self._plan.loaded.hash,
            speech=self._plan.stt is not None or self._plan.tts is not None,
        )
        try:
            await place.seeker.seek(offer)
        except PmwError as error:
            logger.info(f"{place.worker} could not be offered: {error.what}")
            place.offer_at = now + 1.0

    def note_broken(self, worker: str, *, again_in: float) -> None:
        """Take note that there is no way to a worker any more, or still none.

        Args:
            worker: The worker's name.
            again_in: Seconds until the next way is looked for.
        """
        place = self._places[worker]
        now = asyncio.get_running_loop().time()
        self._give_up(place)
        place.missed_at = now if place.missed_at is None else place.missed_at
        place.offer_at = max(now + again_in, place.joined_at + REST)
        if not self._ending:
            self._start(self._hold(place))

    async def _lose_for_good(self, place: Place) -> None:
        """Do without a worker; without the agent that has the call, the call ends."""
        place.lost = True
        self._give_up(place)
        with suppress(PmwError):
            await place.seeker.leave()
        why = f"{place.worker} was given up after {place.seeker.gives_up_after:g} s"
        await self._tell_missing(place, "; given up")
        self.bus.fail_jobs(place.worker, why)
        main = self._main
        opener = self._plan.loaded.recipe.opener.name
        has_call = main.agent if isinstance(main, BridgingMain) else None
        if (has_call or opener) == place.worker:
            await self._say(LOST)
            self._note_end(BusEndMessage(source=main.name, reason=why))

    def _note(self, sender: str, letter: Letter, notice: Notice) -> None:
        place = self._places[letter.worker]
        if isinstance(notice, Joined):
            if letter.epoch >= (place.offered + 1) * CLAIMS:
                raise Refused("it was not offered yet")
            if (seat := place.seeker.seat(sender, letter.epoch)) is not None:
                self._start(self._join(place, seat, notice))
        elif isinstance(notice, Left):
            self._start(self._lose(place, self.bus.seats[letter.worker], notice))
        elif isinstance(notice, ToolBegun) and (bridge := self._bridge_to(place)):
            bridge.owed.begun(notice.id, notice.name)

    def _note_end(self, message: BusEndMessage) -> None:
        self._ending = True
        self._start(self._end(message))

    async def _end(self, message: BusEndMessage) -> None:
        """Let the call end once the caller has heard all that was said.

        A worker in this process waits for that before it ends a call; one elsewhere can't.
        """
        if isinstance(self._main, BridgingMain):
            self._main.bridge.end()
        with suppress(TimeoutError):  # while the caller makes sounds, it never gives up itself
            async with asyncio.timeout(SAID_WITHIN):
                await self._main.flush_pipeline()
        self.bus.on_message_received(message)

    def _start(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work, name="placement of a worker")
        self._tasks.add(task)
        task.add_done_callback(self._done)

    def _done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            logger.opt(exception=error).error(f"{task.get_name()} failed: {type(error).__name__}")

    async def _join(self, place: Place, seat: Seat, joined: Joined) -> None:
        async with place.joining:
            if seat.epoch <= place.epoch or seat.epoch < place.offered * CLAIMS:
                self.bus.notify(seat, place.worker, Leave("another host has it"))
                return
            place.epoch = seat.epoch
            before = self.bus.seats.get(place.worker)
            if before is not None and not place.silent:
                await self._finished(place)
                self.bus.notify(before, place.worker, Leave("another host has it"))
            self._take_in(place, seat)
            if place.seeker.same_recipe and joined.hash != self._plan.loaded.hash:
                what = f"{joined.host} runs {place.worker} by another recipe, {joined.hash}"
                self._tell(event="error", worker=place.worker, text=what)
            if bridge := self._bridge_to(place):
                await bridge.resume()

    def _take_in(self, place: Place, seat: Seat) -> None:
        place.keeping.close()
        place.keeping.enter_context(seat.post.keeping(seat.address))
        place.joined_at = asyncio.get_running_loop().time()
        place.missed_at, place.silent, place.tries = None, False, 0
        place.told = place.filled = False
        self.bus.take_in(place.worker, seat)

    async def _finished(self, place: Place) -> None:
        """Wait until a worker has said or done what it is at, before another goes on."""
        deadline = asyncio.get_running_loop().time() + SWITCH_WITHIN
        while self._is_at_work(place):
            await asyncio.sleep(LOOK_EVERY)
            if asyncio.get_running_loop().time() > deadline:
                if bridge := self._bridge_to(place):
                    await bridge.hold()
                    await asyncio.sleep(LOOK_EVERY)  # half an answer is in the conversation then
                return

    def _is_at_work(self, place: Place) -> bool:
        bridge = self._bridge_to(place)
        return bool(bridge and bridge.owed) or bool(self.bus.jobs_of(place.worker))

    async def _lose(self, place: Place, seat: Seat, left: Left) -> None:
        if self.bus.seats.get(place.worker) != seat:  # another has it by now
            return
        logger.info(f"{place.worker} is left by its host: {left.why}")
        self._give_up(place)
        place.missed_at = asyncio.get_running_loop().time()
        place.offer_at = max(place.missed_at, place.joined_at + REST)
        await self._hold(place)

    def _give_up(self, place: Place) -> None:
        """Hear no more of who runs a worker, if anybody does."""
        self.bus.put_out(place.worker)
        place.keeping.close()
        place.silent = False
