"""What is looked at over a link, with a far end of a proxy in this process."""

import asyncio
from dataclasses import replace

from pipecat_workers_cli.checks import Check, State
from pipecat_workers_cli.session.looks import Look, look_at_all, look_at_proxy
from tests.fleet.proxies import TOKEN, proxying, way_to


async def test_a_proxy_is_opened_with_the_right_token_alone():
    async with proxying(tokens=(TOKEN,)) as gateway:
        way = way_to(gateway, token=TOKEN)
        (fine,) = await look_at_proxy(way)
        (refused,) = await look_at_proxy(replace(way, token="another-0123456789"))
    (gone,) = await look_at_proxy(way)
    assert fine.state is State.OK
    assert (refused.state, gone.state) == (State.WRONG, State.WRONG)
    for finding in (fine, refused, gone):
        assert TOKEN not in f"{finding}"


async def test_looks_run_at_once_and_one_that_hangs_or_raises_is_a_finding_like_others():
    both = asyncio.Barrier(2)

    async def meets():
        await both.wait()
        return [Check("met", State.OK, "fine")]

    async def hangs():
        await asyncio.Event().wait()

    async def raises():
        raise RuntimeError("hunter2")

    left = []
    found = await look_at_all(
        [
            Look("hangs", hangs, within=0.2),
            Look("raises", raises),
            Look("one", meets),
            Look("two", meets),
        ],
        lambda names: left.append(len(names)),
    )
    assert [finding.state for finding in found] == [State.WRONG, State.WRONG, State.OK, State.OK]
    assert "hunter2" not in f"{found}"
    assert (left[0], left[-1]) == (4, 0)
