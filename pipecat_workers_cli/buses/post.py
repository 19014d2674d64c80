"""A process's post: letters go out in parcels, come in once and in order, and never block.

One `Post` a process, over one `Network`, or one a link. Whoever sends only queues: a dead
engine holds up nobody. A task sends what waits, everything for one inbox in one parcel, so
that under load parcels grow instead of their number; when the engine fails, it sends the same
again, and whoever receives drops what it has had already.
"""

import asyncio
import itertools
from collections import Counter, OrderedDict
from collections.abc import AsyncGenerator, Callable, Collection, Generator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from typing import Generic

from loguru import logger
from typing_extensions import TypeVar

from pipecat_workers_cli.buses.network import Carrier, Network
from pipecat_workers_cli.buses.outbox import ASK_AGAIN, BOUNDS, Bounds, Outbox
from pipecat_workers_cli.buses.pace import Pace
from pipecat_workers_cli.buses.waits import Backoff
from pipecat_workers_cli.errors import PmwError
from pipecat_workers_cli.wire.letter import Letter
from pipecat_workers_cli.wire.letter import decode as decode_parcel
from pipecat_workers_cli.wire.limits import Refused

ALIVE_EVERY = 0.7  # seconds between signs of life
KNOWN_SENDERS = 10_000
ENDED_CALLS = 1_000  # of whose workers something may still be on its way
REASONS = 100  # kept apart in counts and told once each
WORKERS_FIRST = 5  # rounds of the loop: from a letter's arrival to its answer's departure
LETTERS_AT_ONCE = 100  # taken before others have their turn; some five milliseconds of work
LAST_WORDS = 1.0  # seconds in which what waits is sent still, when a process leaves
SIGN_OF_LIFE = ""
"""The call of a letter that is for none."""

Take = Callable[[str, Letter], None]
"""Is given a sender's address and what it sent for a call; must not block."""


@dataclass(slots=True)
class Counts:
    """What happened since the process began.

    Attributes:
        sent: Letters that the engine has.
        taken: Letters that came for a call.
        twice: Parcels that came again and were dropped.
        shed: Letters with audio, dropped because their inbox took too few.
        lost: Other letters, dropped for that or because nobody was there any more.
        failures: How often the engine could not be reached after it could.
        refused: Parcels and letters that were dropped on arrival, by why.
        told: What was logged, so that nothing is twice.
    """

    sent: int = 0
    taken: int = 0
    twice: int = 0
    shed: int = 0
    lost: int = 0
    failures: int = 0
    refused: Counter[str] = field(default_factory=Counter[str])
    told: set[str] = field(default_factory=set[str])


_Network = TypeVar("_Network", bound=Carrier, default=Network)


class Post(Generic[_Network]):
    """Sends and takes letters for all calls of this process.

    Attributes:
        network: What it goes over.
        counts: What happened until now.
        refused: How many parcels and letters this post alone has dropped on arrival.
        taken_at: When the latest letter for a call came, in the event loop's seconds.
        lag: Seconds that the engine took for what was sent last.
    """

    def __init__(
        self,
        network: _Network,
        *,
        peer: str | None = None,
        counts: Counts | None = None,
        bounds: Bounds = BOUNDS,
        pace: Pace | None = None,
    ) -> None:
        """Begin with nothing to send; `open_post` also runs it.

        Args:
            network: What it goes over.
            peer: The only one who may send anything; None lets in everybody.
            counts: Where to count, with other posts; None counts alone.
            bounds: How much may wait, and be sent at once.
            pace: How many letters a second are taken at most; None takes all that come.
        """
        self.network = network
        self.counts = counts or Counts()
        self.refused = 0
        self.taken_at = 0.0
        self.lag = 0.0
        self._peer = peer
        self._bounds = bounds
        self._pace = pace
        self._failures: dict[str, str] = {}
        self._numbers = itertools.count(1)
        self._outboxes: dict[str, Outbox] = {}
        self._takers: dict[tuple[str, str], Take] = {}
        self._ended: OrderedDict[tuple[str, str], None] = OrderedDict()
        self._peers: Counter[str] = Counter()
        self._heard_at: dict[str, float] = {}
        self._last_from: OrderedDict[str, int] = OrderedDict()
        self._news = asyncio.Event()
        self._progress = asyncio.Condition()

    @property
    def address(self) -> str:
        """Where letters to this process are sent."""
        return self.network.address

    @property
    def failure(self) -> str | None:
        """Why the engine can't be reached now, in one direction or both; None while it can."""
        return next(iter(self._failures.values()), None)

    def send(self, to: str, letter: Letter, *, audio: bool = False) -> bool:
        """Queue a letter.

        Args:
            to: Whose inbox.
            letter: What to send.
            audio: Whether it is sound, which is dropped first where too much waits.

        Returns:
            Whether it waits now, or was dropped.
        """
        if len(letter.body) > self._bounds.letter_bytes:
            self._lose(1, "it was larger than any letter may be")
            return False
        outbox = self._outboxes.get(to)
        if outbox is None:
            outbox = self._outboxes[to] = Outbox(self.address, self._numbers, self._bounds)
        dropped = outbox.add(letter, audio=audio)
        self.counts.shed += dropped.audio
        if dropped.others:
            self._lose(dropped.others, "too many letters wait for an inbox that takes none")
        self._news.set()
        return not dropped.others

    async def sent(self, to: str, *, within: float) -> bool:
        """Wait until the engine has all that was queued for an inbox.

        Args:
            to: Whose inbox.
            within: Seconds to wait at most.

        Returns:
            Whether it has.
        """
        outbox = self._outboxes.get(to)
        if outbox is None:
            return True
        last = outbox.added
        await self._until(lambda: outbox.gone or outbox.arrived_to >= last, within)
        return outbox.arrived_to >= last

    async def _until(self, done: Callable[[], bool], within: float) -> bool:
        try:
            async with asyncio.timeout(within), self._progress:
                await self._progress.wait_for(done)
        except TimeoutError:
            return False
        return True

    def backlog(self, to: str) -> int:
        """Return how many bytes wait for an inbox, without what is on its way there."""
        outbox = self._outboxes.get(to)
        return outbox.waiting_bytes if outbox else 0

    async def flush(self) -> None:
        """Wait until the engine has all that was queued, if that takes no more than a moment."""
        if self.failure is None:
            # Not for what is for an inbox that isn't there: it may never be.
            await self._until(
                lambda: all(box.due_at for box in self._outboxes.values()), LAST_WORDS
            )

    @contextmanager
    def taking(self, call: str, workers: Collection[str], take: Take) -> Generator[None]:
        """Have `take` given the letters about workers of a call while the block lasts."""
        for worker in workers:
            self._takers[call, worker] = take
        try:
            yield
        finally:
            for worker in workers:
                if self._takers.get((call, worker)) is take:  # not of one who came after
                    del self._takers[call, worker]
                    self._ended[call, worker] = None
            while len(self._ended) > ENDED_CALLS:
                self._ended.popitem(last=False)

    @contextmanager
    def keeping(self, peer: str) -> Generator[None]:
        """Exchange signs of life with a process while the block lasts."""
        if not self._peers[peer]:
            self._heard_at[peer] = asyncio.get_running_loop().time()
        self._peers[peer] += 1
        try:
            yield
        finally:
            self._peers[peer] -= 1
            if not self._peers[peer]:
                del self._peers[peer], self._heard_at[peer]

    def silent_for(self, peer: str) -> float:
        """Return the seconds since anything came from a process that is kept; 0 for others."""
        now = asyncio.get_running_loop().time()
        return now - self._heard_at.get(peer, now)

    async def _take(self, payload: bytes) -> None:
        """Take a parcel that came; drop what is no parcel, or came before."""
        try:
            parcel = decode_parcel(payload)
        except Refused as refused:
            self._refuse(str(refused))
            return
        if self._peer not in (None, parcel.sender):
            self._refuse("it was said in the name of another process")
            return
        if self._pace is not None:
            await self._pace.spend(len(parcel.letters))
        if parcel.seq <= self._last_from.get(parcel.sender, 0):
            self.counts.twice += 1
            return
        self._last_from[parcel.sender] = parcel.seq
        self._last_from.move_to_end(parcel.sender)
        if len(self._last_from) > KNOWN_SENDERS:
            self._last_from.popitem(last=False)
        if parcel.sender in self._heard_at:
            self._heard_at[parcel.sender] = asyncio.get_running_loop().time()
        for number, letter in enumerate(parcel.letters, start=1):
            if letter.call != SIGN_OF_LIFE:
                self._hand_over(parcel.sender, letter)
            if number % LETTERS_AT_ONCE == 0:
                await asyncio.sleep(0)

    def _hand_over(self, sender: str, letter: Letter) -> None:
        taker = self._takers.get((letter.call, letter.worker))
        if taker is None:
            if (letter.call, letter.worker) not in self._ended:  # last words come late, as a rule
                self._refuse("it was for no call that is here")
            return
        self.counts.taken += 1
        self.taken_at = asyncio.get_running_loop().time()
        try:
            taker(sender, letter)
        except Refused as refused:
            self._refuse(str(refused))
        except Exception as error:  # of one call; the others' letters are still to be taken
            logger.opt(exception=error).debug(f"a letter for {letter.worker} was not taken")
            self._refuse(f"{type(error).__name__} when it was taken")

    async def run(self) -> None:
        """Send and receive until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._send(), name="post out")
            tasks.create_task(self._receive(), name="post in")
            tasks.create_task(self._tell_life(), name="signs of life")

    async def _receive(self) -> None:
        pause = Backoff()
        while True:
            try:
                parcels = await self.network.receive()
            except Exception as error:  # whatever it is: who ends here is deaf for good
                self._note_failure("in", error)
                await pause.wait()
                continue
            self._note_success("in", pause)
            for number, payload in enumerate(parcels, start=1):
                await self._take(payload)
                if number % LETTERS_AT_ONCE == 0:
                    await asyncio.sleep(0)
            for _ in range(WORKERS_FIRST if parcels else 0):
                await asyncio.sleep(0)  # to ask for more takes a tenth of a job's time

    async def _send(self) -> None:
        pause = Backoff()
        loop = asyncio.get_running_loop()
        while True:
            await self._news.wait()
            self._news.clear()
            now = loop.time()
            boxes = {to: box for to, box in self._outboxes.items() if box.due_at <= now}
            if not boxes:
                continue
            try:
                gone = await self.network.send({to: box.parcel() for to, box in boxes.items()})
            except Exception as error:  # as above
                self._note_failure("out", error)
                await pause.wait()
                self._news.set()
                continue
            self.lag = loop.time() - now
            self._note_success("out", pause)
            await self._note_sent(boxes, gone)

    async def _note_sent(self, boxes: Mapping[str, Outbox], gone: Collection[str]) -> None:
        loop = asyncio.get_running_loop()
        for to, box in boxes.items():
            if to not in gone:
                self.counts.sent += box.letters
                box.arrived()
                if len(box):
                    self._news.set()
                else:
                    del self._outboxes[to]
            elif box.not_there(loop.time()):
                del self._outboxes[to]
                self._lose(len(box), "nobody is at an inbox any more")
            else:
                loop.call_later(ASK_AGAIN, self._news.set)
        async with self._progress:
            self._progress.notify_all()

    async def _tell_life(self) -> None:
        sign = Letter(call=SIGN_OF_LIFE, worker="", epoch=0, body=b"")
        while True:
            await asyncio.sleep(ALIVE_EVERY)
            for peer in self._peers:
                if peer not in self._outboxes:  # what waits is a sign, too
                    self.send(peer, sign)

    def _note_failure(self, way: str, error: Exception) -> None:
        what = error.what if isinstance(error, PmwError) else f"unexpected {type(error).__name__}"
        if not self._failures:
            self.counts.failures += 1
            ours = None if isinstance(error, PmwError) else error
            logger.opt(exception=ours).warning(f"{what}; going on as soon as it is back")
        self._failures[way] = what

    def _note_success(self, way: str, pause: "Backoff") -> None:
        pause.reset()
        if self._failures.pop(way, None) and not self._failures:
            logger.warning("the bus is back")
            now = asyncio.get_running_loop().time()
            self._heard_at = dict.fromkeys(self._heard_at, now)  # nobody could be heard

    def _lose(self, letters: int, why: str) -> None:
        self.counts.lost += letters
        self._tell_once(f"letters are lost: {why}")

    def _refuse(self, why: str) -> None:
        if why not in self.counts.refused and len(self.counts.refused) >= REASONS:
            why = "other reasons"
        self.refused += 1
        self.counts.refused[why] += 1
        self._tell_once(f"a letter was dropped: {why}")

    def _tell_once(self, what: str) -> None:
        told = self.counts.told
        if what not in told and len(told) < REASONS:
            told.add(what)
            logger.warning(what)


@asynccontextmanager
async def open_post(network: Network) -> AsyncGenerator[Post]:
    """Run a process's post while the block lasts; see `running_post`."""
    async with running_post(Post(network)) as post:
        yield post


@asynccontextmanager
async def running_post(post: Post[_Network]) -> AsyncGenerator[Post[_Network]]:
    """Run a post while the block lasts; what waits at its end is sent if there is time."""
    running = asyncio.create_task(post.run(), name="post")
    running.add_done_callback(_tell_failure)
    try:
        yield post
        await post.flush()
    finally:
        running.cancel()
        await asyncio.wait({running}, timeout=LAST_WORDS)


def _tell_failure(running: "asyncio.Task[None]") -> None:
    if not running.cancelled() and (error := running.exception()) is not None:
        logger.opt(exception=error).error(f"the post failed: {type(error).__name__}")
