"""Draws docs/table.svg, the README's picture: the live table of a real call in words."""

import asyncio
from io import StringIO
from pathlib import Path

from rich.console import Console

from pipecat_workers_cli.call.plan import plan_call
from pipecat_workers_cli.call.run import open_call
from pipecat_workers_cli.cli.sheet import Header, render_table
from pipecat_workers_cli.options import Profile, ServiceOptions
from pipecat_workers_cli.recipe.load import load_recipe
from pipecat_workers_cli.traffic.tap import Tap
from pipecat_workers_cli.transports.console import ConsoleTransport

PICTURE = Path(__file__).with_name("table.svg")
WIDTH, HEIGHT = 104, 26
TURNS = ("What do you sell?", "How much are the rocket boots?", "And how fast are they?")


async def draw() -> None:
    """Hold the call and export the table as it stands before the caller hangs up."""
    offline = ServiceOptions(profile=Profile.OFFLINE)
    loaded = load_recipe("handoff")
    plan = plan_call(loaded, offline, speech=False)
    providers = plan_call(loaded, offline, speech=True).choices()
    header = Header(
        recipe="handoff",
        address="http://localhost:7860/",
        providers=" · ".join(f"{choice.role}: {choice.provider}" for choice in providers),
        ending="q or Ctrl-C ends",
        max_calls=4,
    )
    tap, transport = Tap(), ConsoleTransport()
    async with open_call(plan, transport, tap=tap, idle_timeout=60) as call:
        call.log.expect_opening()
        await call.settled()
        for turn in TURNS:
            await asyncio.sleep(1.5)  # as a person would take; rates and times look lived in
            tap.snapshot()
            call.log.expect_turn()
            await transport.send_turn(turn)
            await call.settled()
        sheet = render_table(tap.snapshot(), header, WIDTH, HEIGHT)
    console = Console(
        record=True, width=WIDTH, file=StringIO(), force_terminal=True, color_system="truecolor"
    )
    console.print(sheet)
    console.save_svg(str(PICTURE), title="pmw handoff")


if __name__ == "__main__":
    asyncio.run(draw())
