"""The far end of proxies: serves one worker of a recipe, anew for each link that is opened."""

import asyncio
import uuid
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import asynccontextmanager
from http import HTTPStatus

from loguru import logger
from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.datastructures import Headers
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request, Response
from websockets.typing import Subprotocol

from pipecat_workers_cli.buses.door import Door, WorkersDoor
from pipecat_workers_cli.buses.link import (
    CALLERS_END,
    CLOSE_WITHIN,
    DEFAULT_BYTES,
    MOST_BYTES,
    PING_EVERY,
    PONG_WITHIN,
    QUEUE,
    SUBPROTOCOL,
    WORKER,
    WORKERS_END,
    Code,
    Link,
    bytes_of,
    mind,
    single,
)
from pipecat_workers_cli.buses.network import Claim
from pipecat_workers_cli.buses.post import Counts, Post, running_post
from pipecat_workers_cli.buses.presence import HostRow, own_name, own_version
from pipecat_workers_cli.call.assembly import build_worker
from pipecat_workers_cli.call.plan import Plan
from pipecat_workers_cli.fleet.callerless import Callerless
from pipecat_workers_cli.fleet.doorstep import BACKLOG, Doorstep
from pipecat_workers_cli.fleet.gate import Gate, GateRules, Turned
from pipecat_workers_cli.fleet.hosted import Hosted
from pipecat_workers_cli.services.offline import load_models
from pipecat_workers_cli.traffic.tap import Tap
from pipecat_workers_cli.wire.limits import Refused
from pipecat_workers_cli.wire.notice import Offer, decode_offer

GREET_WITHIN = 5.0  # seconds from a link's opening until it is known for whom
HANDSHAKE_WITHIN = 5.0  # seconds for TLS, and again for the request
LOOK_EVERY = 0.25  # seconds
LEAVE_WITHIN = 2.0  # seconds for last words and closing
FIGURES = "/metrics"
Answers = Callable[[str], tuple[int, str] | None]
"""Gives status and text for a path, if it is one of an orchestrator's."""

ONE_CLAIM = Claim(queue="", offer="", body=b"", number=1)
"""What stands for a claim on a shared engine: a link is for one worker, and holds it."""


class Gateway(Callerless):
    """Serves one worker for as long as the process lasts.

    Attributes:
        name: Machine and process, `machine-12345`.
        recipe: The recipe's name.
        providers: Who thinks and speaks for the worker.
        max_calls: Links at once.
        held: The workers that run here, by link.
        letters: What went over all links.
        gate: Who was turned away.
        opened: Links that were opened so far.
        doorstep: Where it listens.
        answers: Answers what an orchestrator asks by a path; None for other paths.
        failure: None: there is no engine that it could be cut off from.
        subprotocols: One of which whoever opens a link has to speak; None asks for none.
    """

    failure: str | None = None
    deaf = False
    subprotocols: Sequence[Subprotocol] | None = (SUBPROTOCOL,)

    def __init__(
        self,
        plan: Plan,
        doorstep: Doorstep,
        rules: GateRules,
        tap: Tap,
        *,
        max_calls: int,
        idle_timeout: float,
        max_message_bytes: int = DEFAULT_BYTES,
    ) -> None:
        """Prepare; nothing listens yet.

        Args:
            plan: The recipe with its providers, checked; its one worker is served.
            doorstep: Where to listen.
            rules: Whom to let in.
            tap: Sees the workers' buses.
            max_calls: Links at once.
            idle_timeout: Seconds in which nothing is said over a link, until it is closed.
            max_message_bytes: Of what is taken at once.
        """
        (planned,) = plan.workers
        super().__init__()
        self.name = own_name()
        self.recipe = plan.loaded.recipe.name
        self.providers = plan.told()
        self.worker = planned.recipe.name
        self.max_calls = max_calls
        self.held: dict[ServerConnection, Hosted] = {}
        self.letters = Counts()
        self.gate = Gate(rules, room=self._room)
        self.opened = 0
        self.doorstep = doorstep
        self.address = doorstep.url
        self._plan = plan
        self._tap = tap
        self._idle_timeout = idle_timeout
        self._most = max_message_bytes
        self.answers: Answers | None = None
        self._draining = False
        self._changed = asyncio.Condition()

    @property
    def draining(self) -> bool:
        """Whether it takes no more calls."""
        return self._draining

    def rows(self) -> list[HostRow]:
        """Return what the gateway says of itself now."""
        full = len(self.held) >= self.max_calls
        state = "draining" if self._draining else "full" if full else "ready"
        return [
            HostRow(
                host=self.name,
                recipe=self.recipe,
                worker=self.worker,
                calls=len(self.held),
                max_calls=self.max_calls,
                state=state,
                version=own_version(),
                hash=self._plan.loaded.hash,
            )
        ]

    @asynccontextmanager
    async def listening(self) -> AsyncGenerator[None]:
        """Take links in while the block lasts; those that are open at its end are closed.

        Raises:
            PmwError: The port is taken, or the worker can't be built.
        """
        await load_models(self._plan.choices())
        await build_worker(self._plan, self._plan.workers[0])  # the first takes its time
        servers = await self._listen()
        try:
            yield
        finally:
            for server in servers:
                server.close(close_connections=False)
            await self._close_all()

    async def _listen(self) -> list[Server]:
        context = self.doorstep.context()
        return [
            await serve(
                self._serve,
                sock=sock,
                ssl=context,
                ssl_handshake_timeout=HANDSHAKE_WITHIN if context else None,
                subprotocols=self.subprotocols,
                process_request=self._admit,
                process_response=self._introduce,
                server_header=None,
                compression=None,
                open_timeout=HANDSHAKE_WITHIN,
                close_timeout=CLOSE_WITHIN,
                ping_interval=PING_EVERY,
                ping_timeout=PONG_WITHIN,
                max_size=self._most,
                max_queue=QUEUE,
                backlog=BACKLOG,
            )
            for sock in await self.doorstep.open(self.gate.answer_at_once)
        ]

    async def run(self) -> None:
        """Serve until cancelled; what is held then is stopped.

        Raises:
            PmwError: The port is taken, or the worker can't be built.
        """
        await asyncio.Event().wait()

    async def drain(self, *, within: float) -> bool:
        """Take no more calls, and wait until those here are over.

        Args:
            within: Seconds that calls may go on here.

        Returns:
            Whether all of them were over in time.
        """
        self._draining = True
        try:
            async with asyncio.timeout(within), self._changed:
                await self._changed.wait_for(lambda: not self.held)
        except TimeoutError:
            return False
        return True

    def _room(self) -> Turned | None:
        if self._draining:
            return DRAINING
        return FULL if len(self.held) >= self.max_calls else None

    async def _admit(self, connection: ServerConnection, request: Request) -> Response | None:
        """Answer a request in place of opening a link, if it is to be turned away."""
        path = request.path.partition("?")[0]
        address = str((connection.remote_address or ("?",))[0])
        if path == FIGURES and (kept := await self.gate.keep_figures(request, address)):
            return self._told(connection, kept)
        if self.answers is not None and (body := self.answers(path)) is not None:
            return connection.respond(*body)
        turned = await self.gate.turn_away(request, address)
        return None if turned is None else self._told(connection, turned)

    def _told(self, connection: ServerConnection, turned: Turned) -> Response:
        response = connection.respond(turned.status, f"{turned.what}\n")
        for name, value in turned.headers:
            response.headers[name] = value
        if turned.status in TELLING:  # to whoever knows a token
            response.headers[MOST_BYTES] = str(self._most)
        return response

    def _introduce(
        self, _connection: ServerConnection, _request: Request, response: Response
    ) -> None:
        if response.status_code == HTTPStatus.SWITCHING_PROTOCOLS:
            response.headers[WORKER] = self.worker
            response.headers[MOST_BYTES] = str(self._most)

    async def _serve(self, connection: ServerConnection) -> None:
        """Run a worker for a link, until that closes or the worker isn't needed any more."""
        try:
            offer = await self._greeted(connection)
        except Refused as refused:
            await connection.close(Code.GARBAGE, str(refused))
            return
        except (TimeoutError, ConnectionClosed):
            await connection.close(Code.IDLE, "nobody said for which worker it is")
            return
        if offer.worker != self.worker:
            await connection.close(Code.UNKNOWN_WORKER, f"{self.worker} is served here")
        elif len(self.held) >= self.max_calls or self._draining:
            await connection.close(Code.FULL, "no more calls are taken")
        else:
            await self._hold(connection, offer)

    async def _greeted(self, connection: ServerConnection) -> Offer:
        async with asyncio.timeout(GREET_WITHIN):
            first = await connection.recv()
        if isinstance(first, str):
            raise Refused("text, where an offer was due")
        offer = decode_offer(first)
        if offer.address != CALLERS_END:
            raise Refused("an offer that is for a shared bus")
        return offer

    async def _hold(self, connection: ServerConnection, offer: Offer) -> None:
        link = self._link(connection, offer)
        post = link.post(self.letters)
        hosted = Hosted(
            ONE_CLAIM,
            offer,
            post,
            door=self._door(offer),
            codec=link.codec,
            shown=self._shown(offer),
        )
        self.held[connection] = hosted
        self.opened += 1
        watching = [
            asyncio.create_task(work, name=name)
            for name, work in (
                ("link over", self._stop_when_over(link, hosted)),
                ("mind the link", self._mind(link, post, hosted)),
            )
        ]
        try:
            async with running_post(post):
                await hosted.run(self._plan, self._tap, host=self.name)
        finally:
            for task in watching:
                task.cancel()
            await link.close(Code.LEAVING if self._draining else Code.DONE)
            del self.held[connection]
            async with self._changed:
                self._changed.notify_all()

    def _link(self, connection: ServerConnection, _offer: Offer) -> Link:
        headers = connection.request.headers if connection.request else Headers()
        return Link(
            connection,
            address=WORKERS_END,
            peer=CALLERS_END,
            most_there=bytes_of(single(headers, MOST_BYTES)),
        )

    def _door(self, offer: Offer) -> Door:
        return WorkersDoor(self.worker, main=offer.main)

    def _shown(self, offer: Offer) -> str:
        """Return the call's name for watchers here; two links may say the same of themselves."""
        taken = {hosted.shown for hosted in self.held.values()}
        proper = offer.call.isascii() and offer.call.isalnum() and len(offer.call) <= 32
        return offer.call if proper and offer.call not in taken else uuid.uuid4().hex[:8]

    async def _stop_when_over(self, link: Link, hosted: Hosted) -> None:
        await link.over.wait()
        hosted.stop("")

    async def _mind(self, link: Link, post: Post[Link], hosted: Hosted) -> None:
        """Close a link that misbehaves, or over which nothing is said any more."""
        minding = asyncio.create_task(mind(link, post), name="mind refusals")
        loop = asyncio.get_running_loop()
        post.taken_at = loop.time()
        try:
            while loop.time() - post.taken_at < self._idle_timeout:
                rest = self._idle_timeout - (loop.time() - post.taken_at)
                await asyncio.sleep(max(rest, LOOK_EVERY))
        finally:
            minding.cancel()
        logger.info(f"a link is closed: nothing was said for {self._idle_timeout:g} s")
        await link.close(Code.IDLE, "nothing was said over it for too long")

    async def _close_all(self) -> None:
        for hosted in self.held.values():
            hosted.stop("the proxy stops")
        try:
            async with asyncio.timeout(LEAVE_WITHIN), self._changed:
                await self._changed.wait_for(lambda: not self.held)
        except TimeoutError:
            logger.warning("links did not close in time")


FULL = Turned(
    HTTPStatus.SERVICE_UNAVAILABLE,
    "full",
    "all calls that it has room for are taken",
    (("Retry-After", "5"),),
)
DRAINING = Turned(
    HTTPStatus.SERVICE_UNAVAILABLE, "draining", "it is about to stop", (("Retry-After", "5"),)
)
TELLING = (HTTPStatus.BAD_REQUEST, HTTPStatus.SERVICE_UNAVAILABLE)
