"""A session of one call: turns come from a list, a file or a prompt, and may be spoken aloud."""

import asyncio
import signal
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import asynccontextmanager, nullcontext

from pipecat.transports.base_transport import BaseTransport

from pipecat_workers_cli.buses.urls import SharedBus
from pipecat_workers_cli.call.audio import AudioRecorder
from pipecat_workers_cli.call.plan import Plan
from pipecat_workers_cli.call.run import Call, open_call
from pipecat_workers_cli.checks import State
from pipecat_workers_cli.errors import PmwError
from pipecat_workers_cli.options import LINKS, LinkOptions
from pipecat_workers_cli.services.models import speak
from pipecat_workers_cli.services.offline import load_models, spelled_out
from pipecat_workers_cli.services.provider_checks import check
from pipecat_workers_cli.services.providers import Choice, Role
from pipecat_workers_cli.services.voices import find_voice
from pipecat_workers_cli.session.bus_watchers import connected
from pipecat_workers_cli.session.calls import choose
from pipecat_workers_cli.session.socket import open_socket
from pipecat_workers_cli.traffic.tap import Tap
from pipecat_workers_cli.transports.console import ConsoleTransport
from pipecat_workers_cli.transports.spoken import RATE, SpokenTransport

CALLER = Choice(Role.TTS, "piper", "joe-high")  # unlike any agent that ships
HEARD_WITHIN = 10.0  # seconds from the end of a spoken turn until it is words
PAUSE = 0.3  # seconds that people leave before they answer
IDLE = "idle timeout"  # Pipecat's own word for it, on the bus


async def run_console(
    plan: Plan,
    turns: AsyncIterator[str],
    *,
    tap: Tap,
    idle_timeout: float,
    wait_for_answers: bool,
    attachable: bool = False,
    audio: AudioRecorder | None = None,
    bus: SharedBus | None = None,
    links: LinkOptions = LINKS,
    leaving: Callable[[], None],
) -> None:
    """Hold one call and return when it is over.

    Args:
        plan: The recipe with its providers, checked.
        turns: What the caller says; the call ends when there is no more.
        tap: Is told what happens in the call.
        idle_timeout: Seconds in which nobody says anything before the call ends.
        wait_for_answers: Send each turn when the one before has been answered; False for
            a person, who may interrupt.
        attachable: Whether the session has a name by which other commands reach it.
        audio: Records the call, in which the turns are spoken then; the plan has voices.
        bus: Where the workers are that don't run here; None runs all of them.
        links: How those are reached that have an `at`.
        leaving: Called when all that is left to do is to end the workers.

    Raises:
        PmwError: A turn got no answer.
    """
    if audio is not None:
        await load_models((*plan.choices(), CALLER))
    transport = ConsoleTransport() if audio is None else SpokenTransport(caller_says)
    opened = open_sole_call(
        plan,
        transport,
        tap=tap,
        idle_timeout=idle_timeout,
        attachable=attachable,
        audio=audio,
        bus=bus,
        links=links,
    )
    async with opened as call:
        try:
            if plan.loaded.recipe.main.opening:
                call.log.expect_opening()
                if wait_for_answers:
                    await _answered(call)
            async for text in _turns_of(call, turns):
                if isinstance(transport, ConsoleTransport):
                    call.log.expect_turn()
                    await transport.send_turn(text)
                else:
                    await _speak(call, transport, text)
                if wait_for_answers:
                    await _answered(call)
            await transport.hang_up()
        finally:
            leaving()


class Sole:
    """A session of one call, as whoever attaches to it meets it.

    Attributes:
        call: The call, once it is there.
    """

    address = None
    max_calls = 1
    lag = 0.0  # of interest where many calls share a loop

    def __init__(self, plan: Plan) -> None:
        """Begin without a call."""
        self.recipe = plan.loaded.recipe.name
        self.providers = plan.told()
        self.call: Call | None = None

    def stop(self) -> None:
        """End the session."""
        signal.raise_signal(signal.SIGTERM)

    async def call_for(self, call: str | None) -> Call:
        """Return the call in which to say something.

        Raises:
            PmwError: It isn't there yet, or another one was meant.
        """
        return choose([self.call] if self.call else [], call)


@asynccontextmanager
async def open_sole_call(
    plan: Plan,
    transport: BaseTransport,
    *,
    tap: Tap,
    idle_timeout: float,
    attachable: bool,
    audio: AudioRecorder | None,
    bus: SharedBus | None,
    links: LinkOptions,
) -> AsyncGenerator[Call]:
    """Hold the only call of a session while the block lasts.

    Args:
        plan: The recipe with its providers, checked.
        transport: The caller's.
        tap: Is told what happens in the call.
        idle_timeout: Seconds in which nobody says anything before the call ends.
        attachable: Whether the session has a name by which other commands reach it.
        audio: Records the call.
        bus: Where the workers are that don't run here; None runs all of them.
        links: How those are reached that have an `at`.

    Raises:
        PmwError: The bus can't be reached, or a worker can't be built.
    """
    host = Sole(plan)
    async with (
        tap.collecting(),
        open_socket(host, tap) if attachable else nullcontext(),
        connected(bus, tap, lambda: host.lag, plan=plan, links=links) as distribution,
        open_call(
            plan,
            transport,
            tap=tap,
            idle_timeout=idle_timeout,
            has_client=False,
            audio=audio,
            distribution=distribution,
        ) as call,
    ):
        host.call = call
        yield call


async def _speak(call: Call, transport: SpokenTransport, text: str) -> None:
    """Say a turn aloud, and wait until it is heard.

    Raises:
        PmwError: Nobody made words of it.
    """
    await asyncio.sleep(PAUSE)
    await transport.send_turn(text)
    # Not before: a pause in the middle may end a turn that goes on.
    call.log.expect_turn()
    try:
        async with asyncio.timeout(HEARD_WITHIN):
            await call.heard()
    except TimeoutError:
        call.end("a turn was not heard")
        raise PmwError(
            f"nothing was heard of '{text}'", mend="say it in more words, or without --audio"
        ) from None


async def caller_says(text: str) -> bytes:
    """Return what the caller's voice makes of a text, 16-bit mono at `RATE`."""
    voice = find_voice(CALLER.model or "")
    words = await spelled_out(text)
    return b"".join([piece async for piece in speak(words, voice, sample_rate=RATE)])


def check_caller() -> None:
    """Refuse to speak for the caller where the offline voice isn't installed.

    Raises:
        PmwError: What is missing, and how to get it.
    """
    for finding in check(CALLER):
        if finding.state is State.WRONG:
            raise PmwError(f"--audio speaks by Piper: {finding.found}", mend=finding.mend)


async def _answered(call: Call) -> None:
    """Wait until the latest turn has been answered, or the call has ended well.

    Raises:
        PmwError: An error came instead, or nothing within the idle timeout.
    """
    await call.settled()
    if call.log.failure is not None:
        call.end("no answer")  # or the reason would be that leaving stopped it
        raise PmwError(f"no answer: {call.log.failure}", mend=call.log.mend)
    if call.reason == IDLE:
        raise PmwError("no answer before the idle timeout", mend="see why with -v")


async def _turns_of(call: Call, turns: AsyncIterator[str]) -> AsyncIterator[str]:
    """Give the caller's turns until there is no more, or the call has ended."""
    ended = asyncio.create_task(call.ended.wait(), name="call ended")
    try:
        while True:
            turn = asyncio.ensure_future(anext(turns, None))
            try:
                await asyncio.wait({turn, ended}, return_when=asyncio.FIRST_COMPLETED)
            finally:
                turn.cancel()  # does nothing to one that is there
            text = None if ended.done() else await turn
            if text is None:
                return
            yield text
    finally:
        ended.cancel()
