"""The bus of one call in more than one process: a hub at its main worker, a spoke at each host.

Each process has a bus of its own, on which its workers find all others of the call. What is
for a worker elsewhere goes there by post, by way of the hub, which knows where everybody is
and lets in only what the present holder of a worker says: whoever lost one, by death or by a
long sleep, is not heard any more.
"""

import asyncio
from collections import Counter
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from typing import Any

from loguru import logger
from pipecat.bus import (
    BusActivateWorkerMessage,
    BusDeactivateWorkerMessage,
    BusEndMessage,
    BusFrameMessage,
    BusJobRequestMessage,
    BusJobResponseMessage,
    BusLocalMessage,
    BusMessage,
    BusWorkerReadyMessage,
    BusWorkerRegistryMessage,
)
from pipecat.frames.frames import AudioRawFrame, LLMConfigureOutputFrame
from pipecat.pipeline.job_context import JobStatus
from pipecat.registry.types import WorkerRegistryEntry

from pipecat_workers_cli.buses.asked import Asked
from pipecat_workers_cli.buses.door import Door
from pipecat_workers_cli.buses.link import Link
from pipecat_workers_cli.buses.local import LocalBus
from pipecat_workers_cli.buses.post import Post
from pipecat_workers_cli.wire.format import Codec
from pipecat_workers_cli.wire.letter import Letter
from pipecat_workers_cli.wire.limits import Refused
from pipecat_workers_cli.wire.notice import (
    Joined,
    Noted,
    Notice,
    Present,
    ToolBegun,
    decode_notice,
    encode_notice,
)
from pipecat_workers_cli.wire.stock import StockCodec

LINE_DOWN = "the line is down, so nothing was done"
UNKNOWN = "it was cut off while a tool ran; whether that did its work is unknown"

ELSEWHERE = "elsewhere"
"""The runner under whose name workers of other processes stand in a registry."""

STAYS = (BusLocalMessage, BusWorkerReadyMessage, BusWorkerRegistryMessage)
"""What is about one process: who is there is told by notices instead."""

NOTED_WITHIN = 3.0  # seconds in which the hub confirms that it knows of a tool before that runs

AnyCodec = Codec | StockCodec
OnNotice = Callable[[str, Letter, Notice], None]
"""Told what another process says beside messages: its address, the letter, the notice."""


@dataclass(frozen=True, slots=True)
class Seat:
    """Who runs a worker now.

    Attributes:
        address: The inbox of the process.
        epoch: The claim by which it does; what is said by an earlier one is dropped.
        post: What takes letters there.
        door: What may cross on the way there and back; None lets through all that travels.
        codec: Writes and reads what crosses; None is the bus's own.
    """

    address: str
    epoch: int
    post: Post[Any] = field(compare=False, repr=False)
    door: Door | None = field(default=None, compare=False, repr=False)
    codec: AnyCodec | None = field(default=None, compare=False, repr=False)


class RemoteBus(LocalBus):
    """One process's part of a call's bus.

    Attributes:
        call: The call's id.
        elsewhere: Workers in other processes that are there now.
    """

    def __init__(self, call: str, *, on_notice: OnNotice) -> None:
        """Make a bus on which nobody is yet.

        Args:
            call: The call's id.
            on_notice: Must not block.
        """
        super().__init__()
        self.call = call
        self.elsewhere: set[str] = set()
        self._codec = Codec()
        self._on_notice = on_notice

    def notify(self, seat: Seat, worker: str, notice: Notice) -> bool:
        """Tell the process at a seat something about a worker; return whether that waits to go."""
        letter = Letter(self.call, worker, seat.epoch, encode_notice(notice), notice=True)
        return seat.post.send(seat.address, letter)

    def _write(self, seat: Seat, worker: str, message: BusMessage) -> None:
        """Send a message to the process at a seat, if it is one that travels."""
        if isinstance(message, STAYS) or not (seat.door is None or seat.door.lets_out(message)):
            return
        try:
            body = (seat.codec or self._codec).encode(message)
        except Refused as refused:
            logger.warning(f"a message of {message.source} did not cross: {refused}")
            return
        if body is not None:
            frame = message.frame if isinstance(message, BusFrameMessage) else None
            sound = isinstance(frame, AudioRawFrame)
            seat.post.send(seat.address, Letter(self.call, worker, seat.epoch, body), audio=sound)

    def _introduce(self, names: Collection[str]) -> None:
        """Put workers of other processes into this one's registry, and say that they are there."""
        entries = [WorkerRegistryEntry(name=name) for name in names]
        message = BusWorkerRegistryMessage(source=ELSEWHERE, runner=ELSEWHERE, workers=entries)
        self.on_message_received(message)
        for name in names:
            self.on_message_received(BusWorkerReadyMessage(source=name, runner=ELSEWHERE))


class HubBus(RemoteBus):
    """A call's bus where its main worker is.

    Attributes:
        seats: By worker, who runs it now.
        late: By worker, how often something came from a past holder of it and was dropped.
        agent: Who has the call, if anybody.
        holder: The same, or who had it last and has yet to hand it on.
    """

    def __init__(
        self,
        call: str,
        *,
        main: str,
        beside: Collection[str] = (),
        on_notice: OnNotice,
        on_end: Callable[[BusEndMessage], None],
    ) -> None:
        """Make a bus whose other workers are yet to join.

        Args:
            call: The call's id.
            main: The main worker's name.
            beside: Workers that run in the same process.
            on_notice: Must not block.
            on_end: Told that a worker elsewhere has ended the call, instead of those here.
        """
        super().__init__(call, on_notice=on_notice)
        self.seats: dict[str, Seat] = {}
        self.late: Counter[str] = Counter()
        self.agent: str | None = None
        self.holder: str | None = None
        self._main = main
        self._beside = frozenset(beside)
        self._on_end = on_end
        self._output: BusFrameMessage | None = None
        self._asked = Asked()

    def on_message_received(self, message: BusMessage) -> None:
        """Send a message to the process of whom it is for, and deliver it here.

        In this order, because what travels takes longer.
        """
        self._pass_on(message)
        super().on_message_received(message)

    def _pass_on(self, message: BusMessage) -> None:
        if isinstance(message, BusActivateWorkerMessage):
            self.agent = self.holder = message.target
        elif isinstance(message, BusDeactivateWorkerMessage) and message.target == self.agent:
            self.agent = None
        if isinstance(message, BusFrameMessage) and message.target is None:
            self._asked.follow(message)
            self._send_frame(message)
            return
        if isinstance(message, BusJobRequestMessage) and message.target in self.seats:
            self._asked.asks(message, message.target)
        else:
            self._asked.follow(message)
        if message.target in self.seats and message.target != message.source:
            self._write(self.seats[message.target], message.target, message)

    def link_to(self, worker: str) -> float:
        """Return the seconds that a link to a worker takes, there and back; 0 without one."""
        seat = self.seats.get(worker)
        network = seat.post.network if seat else None
        return network.latency if isinstance(network, Link) else 0.0

    def jobs_of(self, worker: str) -> list[str]:
        """Return the ids of the jobs that a worker elsewhere has not answered."""
        return [job.job_id for job in self._asked.of(worker)]

    def _send_frame(self, message: BusFrameMessage) -> None:
        """Send a frame of this process to the agent that has the call.

        Agents send each other none. How output is wanted is said once, at the call's start,
        and is for all of them.
        """
        if message.source in self.seats or message.source in self._beside:
            return
        if isinstance(message.frame, LLMConfigureOutputFrame):
            self._output = message
            for worker, seat in self.seats.items():
                self._write(seat, worker, message)
        elif self.agent is not None and (seat := self.seats.get(self.agent)):
            self._write(seat, self.agent, message)

    def take_in(self, worker: str, seat: Seat) -> None:
        """Hear a worker from where it runs now, and no longer from where it ran before."""
        self.seats[worker] = seat
        self.elsewhere.add(worker)
        self._introduce([worker])
        if self._output is not None:
            self._write(seat, worker, self._output)
        self._tell_present()
        for job in self._asked.of(worker):
            self._ask_again(worker, seat, job)

    def _ask_again(self, worker: str, seat: Seat, job: BusJobRequestMessage) -> None:
        """Ask a worker's new holder what the one before it never answered.

        Not if that may have used a tool for it: nothing is to be done twice.
        """
        if self._asked.may_have_begun(job.job_id, worker):
            self._fail(worker, job, UNKNOWN)
        else:
            self._write(seat, worker, job)

    def _fail(self, worker: str, job: BusJobRequestMessage, why: str) -> None:
        self.on_message_received(
            BusJobResponseMessage(
                source=worker,
                target=job.source,
                job_id=job.job_id,
                status=JobStatus.FAILED,
                response={"error": why},
            )
        )

    def fail_jobs(self, worker: str, why: str) -> None:
        """Answer what a worker was asked, since nobody will run it any more."""
        for job in self._asked.of(worker):
            begun = self._asked.may_have_begun(job.job_id, worker)
            self._fail(worker, job, UNKNOWN if begun else why)

    def put_out(self, worker: str) -> None:
        """Hear a worker no longer; nobody runs it now."""
        if self.seats.pop(worker, None):
            self.elsewhere.discard(worker)
            self._tell_present()

    def _tell_present(self) -> None:
        present = Present([self._main, *self._beside, *self.elsewhere])
        for worker, seat in self.seats.items():
            self.notify(seat, worker, present)

    def take(self, sender: str, letter: Letter) -> None:
        """Take a letter for this call.

        Raises:
            Refused: It can't be read, or says more than its worker may.
        """
        notice = decode_notice(letter.body) if letter.notice else None
        if isinstance(notice, Joined):
            self._on_notice(sender, letter, notice)
            return
        seat = self.seats.get(letter.worker)
        if seat is None or (seat.address, seat.epoch) != (sender, letter.epoch):
            self.late[letter.worker] += 1
            if self.late[letter.worker] == 1:
                logger.info(f"what another than {letter.worker}'s host says for it is dropped")
            return
        if isinstance(notice, ToolBegun):
            self._asked.begins(notice.id, letter.worker)
            if not self._asked.has(notice.id, letter.worker):  # a job itself is followed as one
                self._on_notice(sender, letter, notice)
            self.notify(seat, letter.worker, Noted(notice.id))
            return
        if notice is not None:
            self._on_notice(sender, letter, notice)
            return
        message = (seat.codec or self._codec).decode(letter.body)
        if message.source != letter.worker:
            raise Refused("it was said in the name of another worker")
        if seat.door is not None:
            seat.door.let_in(message)
        if isinstance(message, BusEndMessage):
            self._on_end(message)
        else:
            self.on_message_received(message)


class SpokeBus(RemoteBus):
    """A call's bus where one of its workers is hosted.

    Attributes:
        is_taken_in: Whether the main worker's process knows that the worker is here.
    """

    def __init__(self, call: str, *, worker: str, hub: Seat, on_notice: OnNotice):
        """Make a bus for one worker.

        Args:
            call: The call's id.
            worker: The name of the worker that is to run here.
            hub: Where the main worker is, and by which claim the worker runs here.
            on_notice: Must not block.
        """
        super().__init__(call, on_notice=on_notice)
        self.is_taken_in = False
        self._worker = worker
        self._hub = hub
        self._announced: dict[str, asyncio.Event] = {}

    async def publish(self, message: BusMessage) -> None:
        """Send what this worker says to the hub, and deliver a message here."""
        if message.source == self._worker:
            self._write(self._hub, self._worker, message)
        self.on_message_received(message)

    def tell(self, notice: Notice) -> bool:
        """Tell the hub something about this worker; return whether that waits to go."""
        return self.notify(self._hub, self._worker, notice)

    async def announce(self, id: str, name: str) -> bool:
        """Let the hub know of what is about to be done, and must not be done twice.

        If this process dies meanwhile, the outcome is told there as unknown, and nobody
        does it again. A hub that hears somebody else by now, because this process has slept or
        was cut off, doesn't confirm: it has been done elsewhere, or will be.

        Args:
            id: The tool call's, or the job's.
            name: The tool's, or the job's.

        Returns:
            Whether the hub has confirmed; if not, nothing may be done.
        """
        if self._hub.codec is not None:  # a stock end confirms nothing, and has nobody take over
            return await self._hub.post.sent(self._hub.address, within=NOTED_WITHIN)
        noted = self._announced[id] = asyncio.Event()
        try:
            async with asyncio.timeout(NOTED_WITHIN):
                return self.tell(ToolBegun(id=id, name=name)) and await noted.wait()
        except TimeoutError:
            return False
        finally:
            del self._announced[id]

    def take(self, sender: str, letter: Letter) -> None:
        """Take a letter for this worker.

        Raises:
            Refused: It can't be read, or isn't from the call's main worker.
        """
        if (sender, letter.epoch) != (self._hub.address, self._hub.epoch):
            raise Refused("it was not said by the call's main worker, to this claim")
        if not letter.notice:
            message = (self._hub.codec or self._codec).decode(letter.body)
            if self._hub.door is not None:
                self._hub.door.let_in(message)
            self.on_message_received(message)
            return
        notice = decode_notice(letter.body)
        if isinstance(notice, Present):
            self.is_taken_in = True
            self.elsewhere = {name for name in notice.names if name != self._worker}
            self._introduce(self.elsewhere)
        elif isinstance(notice, Noted):
            if (noted := self._announced.get(notice.id)) is not None:
                noted.set()
        else:
            self._on_notice(sender, letter, notice)
