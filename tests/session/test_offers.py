"""A page that gives up its WebRTC offer gets the place back that the offer held."""

import asyncio
from collections.abc import AsyncIterator

import httpx
import pytest
import pytest_asyncio
from fastapi import FastAPI
from pipecat.runner.types import (
    RunnerArguments,
    SmallWebRTCRunnerArguments,
    WebSocketRunnerArguments,
)
from pipecat.transports.smallwebrtc.connection import SmallWebRTCConnection

from pipecat_workers_cli.session.offers import Offers


class Session:
    """A `bot` that holds a call until its connection is closed.

    Attributes:
        held: The calls that go on.
    """

    def __init__(self) -> None:
        self.held: list[RunnerArguments] = []
        self.changed = asyncio.Event()

    async def bot(self, runner_args: RunnerArguments) -> None:
        closed = asyncio.Event()
        if isinstance(runner_args, SmallWebRTCRunnerArguments):

            @runner_args.webrtc_connection.event_handler("closed")
            async def on_closed(_connection: object) -> None:
                closed.set()

        self.held.append(runner_args)
        self.changed.set()
        async with asyncio.timeout(10):
            await closed.wait()
        self.held.remove(runner_args)


@pytest_asyncio.fixture
async def web() -> AsyncIterator[tuple[Session, Offers, httpx.AsyncClient]]:
    session, app = Session(), FastAPI()
    offers = Offers(session.bot)
    offers.add_route(app)
    to_app = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=to_app, base_url="http://localhost") as client:
        yield session, offers, client


async def give_up(client: httpx.AsyncClient, body: object) -> int:
    answer = await client.request("DELETE", "/api/offer", json=body)
    return answer.status_code


async def test_the_call_of_an_offer_that_is_given_up_is_over_when_the_page_hears_of_it(web):
    session, offers, client = web
    connections = [SmallWebRTCConnection(), SmallWebRTCConnection()]
    calls = [
        asyncio.create_task(offers.bot(SmallWebRTCRunnerArguments(webrtc_connection=connection)))
        for connection in connections
    ]
    while len(session.held) < 2:
        session.changed.clear()
        await session.changed.wait()
    assert await give_up(client, {"pc_id": connections[0].pc_id}) == 204
    assert [args.webrtc_connection for args in session.held] == [connections[1]]
    assert await give_up(client, {"pc_id": connections[0].pc_id}) == 204  # twice does no harm
    assert await give_up(client, {"pc_id": connections[1].pc_id}) == 204
    await asyncio.gather(*calls)
    assert session.held == []


@pytest.mark.parametrize("body", [{}, {"pc_id": 7}, {"pc_id": "x" * 201}, [], "pc_id"])
async def test_a_request_that_names_no_connection_is_refused(web, body):
    _session, _offers, client = web
    assert await give_up(client, body) == 422


async def test_a_call_that_comes_another_way_is_held_as_ever(web):
    session, offers, _client = web
    args = WebSocketRunnerArguments(websocket=None)  # type: ignore[arg-type]
    call = asyncio.create_task(offers.bot(args))
    await session.changed.wait()
    assert session.held == [args]
    call.cancel()
    await asyncio.wait({call})
