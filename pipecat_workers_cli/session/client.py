"""What a call's client is told beside Pipecat's own RTVI messages: our entries."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import msgspec
from loguru import logger

from pipecat_workers_cli.call.plan import Plan
from pipecat_workers_cli.call.run import Call
from pipecat_workers_cli.recipe.graph import Tie, build_graph
from pipecat_workers_cli.recipe.model import Recipe
from pipecat_workers_cli.traffic.entry import Entry
from pipecat_workers_cli.traffic.tap import Tap

WAITING = 256  # entries; a client that takes none for so long has lost its connection


@asynccontextmanager
async def keep_client_informed(call: Call, plan: Plan, tap: Tap) -> AsyncGenerator[None]:
    """Send the call's entries to its client as RTVI server messages, `{"pmw": entry}`.

    The first, once the client is ready, introduces the call: recipe, workers, providers.
    """
    waiting: asyncio.Queue[dict[str, object]] = asyncio.Queue(maxsize=WAITING)
    ready = asyncio.Event()

    def wait_for_client(entry: Entry) -> None:
        if entry.call != call.id:
            return
        try:
            waiting.put_nowait(msgspec.to_builtins(entry))
        except asyncio.QueueFull:
            logger.warning(f"call {call.id}: its client takes no messages, an entry is left out")

    @call.main.rtvi.event_handler("on_client_ready")
    async def on_client_ready(_rtvi: object) -> None:
        ready.set()

    async def send() -> None:
        await ready.wait()
        await call.main.rtvi.send_server_message({"pmw": introduction(call, plan)})
        while True:
            await call.main.rtvi.send_server_message({"pmw": await waiting.get()})

    unsubscribe = tap.subscribe(wait_for_client)
    sending = asyncio.create_task(send(), name=f"inform the client of {call.id}")
    try:
        yield
    finally:
        unsubscribe()
        sending.cancel()
        await asyncio.wait({sending}, timeout=1)
        # The entry of the call's end comes when its workers have stopped, and then there is
        # no way to the client any more; during a goodbye there still is.
        if ready.is_set():
            last = {"event": "end", "call": call.id, "reason": call.reason}
            await call.main.rtvi.send_server_message({"pmw": last})


def who_is_who(recipe: Recipe) -> list[tuple[str, str]]:
    """Return name and summary of each worker that a caller may hear of."""
    workers = [(worker.name, worker.summary) for worker in recipe.workers]
    talks = recipe.main.prompt is not None
    return [(recipe.main.name, "talks to you"), *workers] if talks else workers


def who_to_whom(recipe: Recipe) -> list[dict[str, str]]:
    """Return who may hand over to whom, and who asks whom by which tool."""
    graph = build_graph(recipe)
    return [
        {"source": edge.source, "target": edge.target, "tie": edge.tie.value}
        | ({"tool": edge.tool} if edge.tool else {})
        for edge in graph.edges
        if edge.tie is not Tie.BRIDGE  # the main worker's, which a caller needn't hear of
    ]


def introduction(call: Call, plan: Plan) -> dict[str, object]:
    """Return what a client is told first: who is who in this call."""
    recipe = plan.loaded.recipe
    return {
        "event": "call",
        "call": call.id,
        "recipe": recipe.name,
        "hash": plan.loaded.hash,
        "workers": [{"name": name, "summary": about} for name, about in who_is_who(recipe)],
        "edges": who_to_whom(recipe),
        "active": call.main.agent or recipe.opener.name,
        "providers": {choice.role.value: choice.provider for choice in plan.choices()},
    }
