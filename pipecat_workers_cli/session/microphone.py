"""A session of one call by this machine's own microphone and loudspeaker."""

import asyncio
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager

from pipecat_workers_cli.buses.urls import SharedBus
from pipecat_workers_cli.call.audio import AudioRecorder
from pipecat_workers_cli.call.plan import Plan
from pipecat_workers_cli.call.run import Call
from pipecat_workers_cli.options import Duplex, LinkOptions
from pipecat_workers_cli.services.offline import load_models
from pipecat_workers_cli.session.console import open_sole_call
from pipecat_workers_cli.traffic.tap import Tap
from pipecat_workers_cli.transports.devices import Line
from pipecat_workers_cli.transports.local import LocalTransport, open_local


class Voice:
    """The caller's side of the call, as a terminal shows and steers it."""

    def __init__(self, transport: LocalTransport, call: Call) -> None:
        """Keep both."""
        self._transport = transport
        self._call = call

    @property
    def level(self) -> float:
        """How loud the microphone is, from 0 to 1."""
        return self._transport.level

    @property
    def muted(self) -> bool:
        """Whether the caller chose not to be heard."""
        return self._transport.muted

    @property
    def bot_sounds(self) -> bool:
        """Whether the bot keeps the microphone closed."""
        return self._transport.bot_sounds

    def mute(self) -> None:
        """Be heard no more, or again."""
        self._transport.muted = not self._transport.muted

    def hang_up(self) -> None:
        """Leave the call."""
        self._call.end("the caller hung up")


async def run_local(
    plan: Plan,
    lines: tuple[Line, Line],
    *,
    duplex: Duplex,
    tap: Tap,
    idle_timeout: float,
    audio: AudioRecorder | None,
    bus: SharedBus | None,
    links: LinkOptions,
    beside: Callable[[Voice], AbstractAsyncContextManager[None]],
    leaving: Callable[[], None],
) -> None:
    """Hold one call and return when it is over.

    Args:
        plan: The recipe with its providers, checked.
        lines: The microphone's and the loudspeaker's.
        duplex: Whether the microphone stays open while the bot speaks.
        tap: Is told what happens in the call.
        idle_timeout: Seconds in which nobody says anything before the call ends.
        audio: Records the call.
        bus: Where the workers are that don't run here; None runs all of them.
        links: How those are reached that have an `at`.
        beside: Entered once the call is open, left when it is over.
        leaving: Called when all that is left to do is to end the workers.

    Raises:
        PmwError: A device can't be opened, or vanishes in mid-call.
    """
    await load_models(plan.choices())
    async with (
        open_local(*lines, full=duplex is Duplex.FULL) as transport,
        open_sole_call(
            plan,
            transport,
            tap=tap,
            idle_timeout=idle_timeout,
            attachable=True,
            audio=audio,
            bus=bus,
            links=links,
        ) as call,
    ):
        try:
            async with beside(Voice(transport, call)):
                over = {asyncio.create_task(one.wait()) for one in (call.ended, transport.gone)}
                try:
                    await asyncio.wait(over, return_when=asyncio.FIRST_COMPLETED)
                finally:
                    for one in over:
                        one.cancel()
            if transport.failure is not None:
                call.end("a sound device is gone")
                raise transport.failure
        finally:
            leaving()
