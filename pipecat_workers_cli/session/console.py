"""A session of one call in words: turns come from a list, a file or a prompt."""

import asyncio
import signal
from collections.abc import AsyncIterator
from contextlib import nullcontext

from pipecat_workers_cli.call.plan import Plan
from pipecat_workers_cli.call.run import Call, open_call
from pipecat_workers_cli.errors import PmwError
from pipecat_workers_cli.session.calls import choose
from pipecat_workers_cli.session.socket import open_socket
from pipecat_workers_cli.traffic.tap import Tap
from pipecat_workers_cli.transports.console import ConsoleTransport

MEND_CODE = "mend its code; see where it failed with -v"
IDLE = "idle timeout"  # Pipecat's own word for it, on the bus


async def run_console(
    plan: Plan,
    turns: AsyncIterator[str],
    *,
    tap: Tap,
    idle_timeout: float,
    wait_for_answers: bool,
    attachable: bool = False,
) -> None:
    """Hold one call in words and return when it is over.

    Args:
        plan: The recipe with its providers, checked.
        turns: What the caller says; the call ends when there is no more.
        tap: Is told what happens in the call.
        idle_timeout: Seconds in which nobody says anything before the call ends.
        wait_for_answers: Send each turn when the one before has been answered; False for
            a person, who may interrupt.
        attachable: Whether the session has a name by which other commands reach it.

    Raises:
        PmwError: A turn got no answer.
    """
    transport = ConsoleTransport()
    host = _Host(plan)
    opened = open_call(plan, transport, tap=tap, idle_timeout=idle_timeout, has_client=False)
    async with (
        tap.collecting(),
        open_socket(host, tap) if attachable else nullcontext(),
        opened as call,
    ):
        host.call = call
        if plan.loaded.recipe.main.opening:
            call.log.expect_opening()
            if wait_for_answers:
                await _answered(call)
        async for text in _turns_of(call, turns):
            call.log.expect_turn()
            await transport.send_turn(text)
            if wait_for_answers:
                await _answered(call)
        await transport.hang_up()


class _Host:
    """The session, as whoever attaches to it meets it."""

    address = None
    max_calls = 1
    lag = 0.0  # of interest where many calls share a loop

    def __init__(self, plan: Plan) -> None:
        self.recipe = plan.loaded.recipe.name
        self.providers = plan.told()
        self.call: Call | None = None

    def stop(self) -> None:
        signal.raise_signal(signal.SIGTERM)

    async def call_for(self, call: str | None) -> Call:
        return choose([self.call] if self.call else [], call)


async def _answered(call: Call) -> None:
    """Wait until the latest turn has been answered, or the call has ended well.

    Raises:
        PmwError: An error came instead, or nothing within the idle timeout.
    """
    await call.settled()
    if call.log.failure is not None:
        call.end("no answer")  # or the reason would be that leaving stopped it
        mend = (
            MEND_CODE if call.log.code_failed else "check keys and network: pmw doctor; or see -v"
        )
        raise PmwError(f"no answer: {call.log.failure}", mend=mend)
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
