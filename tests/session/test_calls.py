"""The calls of a session: the one in words, while it is opened and where it can't be."""

import asyncio

import pytest

from pipecat_workers_cli.call.ready import ready_plan
from pipecat_workers_cli.errors import ConfigurationError, PmwError
from pipecat_workers_cli.options import Profile, ServiceOptions
from pipecat_workers_cli.session.calls import Calls
from pipecat_workers_cli.session.current import CurrentPlan
from pipecat_workers_cli.traffic.tap import Tap


class Slow(CurrentPlan):
    """Gives its plan when told to, or what it is told to raise."""

    def __init__(self, error: Exception | None = None) -> None:
        offline = ServiceOptions(profile=Profile.OFFLINE)
        super().__init__(ready_plan("handoff", offline, speech=False))
        self.go_on = asyncio.Event()
        self.error = error

    async def renew(self):
        await self.go_on.wait()
        if self.error is not None:
            raise self.error
        return self.latest


def calls_of(current: CurrentPlan) -> Calls:
    return Calls(current, Tap(), idle_timeout=30, when_empty=lambda: None)


def never() -> bool:
    return False


async def test_what_a_providers_constructor_raises_is_told_at_once_and_the_next_may_try():
    current = Slow(TypeError("unexpected argument 'voice'"))
    current.go_on.set()
    calls = calls_of(current)
    async with asyncio.timeout(5):
        for _ in range(2):
            with pytest.raises(PmwError, match="could not begin: TypeError: unexpected"):
                await calls.find(None, busy=never)
    assert calls.held == 0


async def test_while_a_call_opens_others_wait_for_it_and_who_means_another_does_not():
    current = Slow()
    calls = calls_of(current)
    async with asyncio.timeout(30):
        finding = [asyncio.create_task(calls.find(None, busy=never)) for _ in range(3)]
        await asyncio.sleep(0)
        with pytest.raises(ConfigurationError, match="no call 'abc'"):
            await calls.find("abc", busy=never)
        finding.pop().cancel()
        current.go_on.set()
        one, other = await asyncio.gather(*finding)
        assert one is other is await calls.find(None, busy=never)
        assert calls.held == 1
        await calls.end_all()


async def test_a_session_ends_its_calls_while_a_caller_runs_out_of_time():
    calls = calls_of(Slow())
    began = asyncio.Event()

    async def arrive() -> None:
        async with calls.arriving(0.01):
            try:
                began.set()
                await asyncio.sleep(5)
            finally:
                await asyncio.sleep(0.1)  # a handshake that is tidied up

    arriving = asyncio.create_task(arrive())
    await began.wait()
    await asyncio.sleep(0.05)
    async with asyncio.timeout(5):
        await calls.end_all()
        with pytest.raises(TimeoutError):
            await arriving
