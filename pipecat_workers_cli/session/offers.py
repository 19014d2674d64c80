"""WebRTC calls that a page offered and gives up, because it goes another way.

A page that finds no path can tell its peer nothing: the session would wait for it, and hold
its place against the very call that the page then places over a WebSocket.
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from fastapi import FastAPI, Response
from pipecat.runner.types import RunnerArguments, SmallWebRTCRunnerArguments
from pipecat.transports.smallwebrtc.connection import SmallWebRTCConnection
from pydantic import BaseModel, Field

LET_GO_WITHIN = 2.5  # seconds; the page waits three, then it tries its other path anyway


class GivenUp(BaseModel):
    """The body of the request: which connection is meant."""

    pc_id: str = Field(max_length=200)


@dataclass(frozen=True, slots=True)
class Offer:
    """A WebRTC call from its offer to its end."""

    connection: SmallWebRTCConnection
    over: asyncio.Event = field(default_factory=asyncio.Event)


class Offers:
    """Stands between Pipecat's runner and a session's `bot`, and knows who offered a call."""

    def __init__(self, bot: Callable[[RunnerArguments], Awaitable[None]]) -> None:
        """Hold calls by `bot`."""
        self._bot = bot
        self._open: dict[str, Offer] = {}

    async def bot(self, runner_args: RunnerArguments) -> None:
        """Hold one call; Pipecat's runner runs this for each caller."""
        if not isinstance(runner_args, SmallWebRTCRunnerArguments):
            await self._bot(runner_args)
            return
        offer = Offer(runner_args.webrtc_connection)
        pc_id = offer.connection.pc_id
        self._open[pc_id] = offer
        try:
            await self._bot(runner_args)
        finally:
            del self._open[pc_id]
            offer.over.set()

    async def give_up(self, pc_id: str) -> bool:
        """End the call of a connection; whoever knows its id is the one that offered it.

        Returns:
            Whether its place is free again, or was so already.
        """
        offer = self._open.get(pc_id)
        if offer is None:
            return True
        await offer.connection.disconnect()
        try:
            await asyncio.wait_for(offer.over.wait(), LET_GO_WITHIN)
        except TimeoutError:
            return False
        return True

    def add_route(self, app: FastAPI) -> None:
        """Let pages give up what they offered: `DELETE /api/offer` with its `pc_id`."""

        @app.delete("/api/offer", include_in_schema=False)
        async def give_up(given_up: GivenUp) -> Response:
            return Response(status_code=204 if await self.give_up(given_up.pc_id) else 202)
