"""A session that serves callers: Pipecat's runner behind our door, with our page.

Pipecat's runner owns the event loop, the signals and stdout while it runs. What has to be
different is arranged by public names alone: routes are put on its app before it starts,
and everything else happens in the app's lifespan (`Serving.lifespan`).
"""

import asyncio
import io
import logging
import signal
from collections.abc import AsyncGenerator, Callable
from contextlib import (
    AbstractAsyncContextManager,
    asynccontextmanager,
    nullcontext,
    redirect_stdout,
)
from pathlib import Path

from fastapi import FastAPI
from loguru import logger
from pipecat.runner import run as runner
from pipecat.runner.types import RunnerArguments, SmallWebRTCRunnerArguments
from pipecat.runner.utils import create_transport
from pipecat.transports.base_transport import BaseTransport

from pipecat_workers_cli.buses.urls import SharedBus
from pipecat_workers_cli.call.audio import AudioRecorder, numbered
from pipecat_workers_cli.call.plan import Plan
from pipecat_workers_cli.call.run import Call
from pipecat_workers_cli.errors import PmwError
from pipecat_workers_cli.logs import told
from pipecat_workers_cli.options import LINKS, LinkOptions, ServeOptions
from pipecat_workers_cli.services.offline import load_models
from pipecat_workers_cli.services.providers import Choice
from pipecat_workers_cli.session.bus_watchers import connected
from pipecat_workers_cli.session.calls import Calls
from pipecat_workers_cli.session.client import keep_client_informed
from pipecat_workers_cli.session.current import CurrentPlan
from pipecat_workers_cli.session.door import Door
from pipecat_workers_cli.session.door_rules import EVERY_ADDRESS, DoorRules, door_rules, own_host
from pipecat_workers_cli.session.memory import give_back, keep_loaded_models, limit_arenas
from pipecat_workers_cli.session.offers import Offers
from pipecat_workers_cli.session.ports import require_port
from pipecat_workers_cli.session.runner import (
    RunnerParser,
    add_page,
    runner_option,
    set_bot,
    wants_text,
)
from pipecat_workers_cli.session.signals import Signals
from pipecat_workers_cli.session.socket import open_socket
from pipecat_workers_cli.settings import variable
from pipecat_workers_cli.traffic.lag import LoopLag
from pipecat_workers_cli.traffic.tap import Tap
from pipecat_workers_cli.transports.params import transport_params

CONNECT_WITHIN = 15.0  # seconds from an offer to its connection; Pipecat itself waits 60
TIDY_AFTER = 0.2  # seconds after the last call, when its workers' last tasks are gone
LISTEN_EVERY = 0.02  # seconds between looks whether the server listens yet

Beside = Callable[["Serving"], AbstractAsyncContextManager[None]]
"""What runs while the server does: a banner, a live table."""


class Serving:
    """A session while it serves: what a table shows of it, and how it is stopped.

    Attributes:
        options: Where it listens, and whom it lets in.
        address: Where our page is, to be shown: a page token is left out.
        link: The same with the token, to be opened and never shown.
        name: What other commands call it, once it serves; None if they can't reach it.
        max_calls: Calls at once; more hear that it is busy.
        signals: What ends it from outside.
    """

    def __init__(
        self,
        current: CurrentPlan,
        options: ServeOptions,
        *,
        tap: Tap,
        max_calls: int,
        idle_timeout: float,
        set_up_logs: Callable[[], None],
        attachable: bool = True,
        audio: Path | None = None,
        bus: SharedBus | None = None,
        links: LinkOptions = LINKS,
    ) -> None:
        """Prepare a session; nothing listens yet.

        Args:
            current: Gives each call the plan to begin with.
            options: Where to listen, and whom to let in.
            tap: Sees the calls' buses and is told their entries.
            max_calls: Calls at once.
            idle_timeout: Seconds in which nobody says anything before a call ends.
            set_up_logs: Sends log lines where they belong; called again once Pipecat's
                runner has set them up its own way.
            attachable: Whether the session has a name by which other commands reach it.
            audio: A WAV file for the first call to be heard in; the next have its name with
                a number. None records none.
            bus: Where the workers are that don't run here; None runs all of them.
            links: How those are reached that have an `at`.
        """
        host = "localhost" if options.host in EVERY_ADDRESS else own_host(options.host)
        page = f"http://{host}:{options.port}/"
        self.options = options
        self.address = f"{page}#token=…" if options.page_token else page
        self.link = f"{page}#token={options.page_token}" if options.page_token else page
        self.name: str | None = None
        self.max_calls = max_calls
        self._lag = LoopLag()
        self._current = current
        self._tap = tap
        self._set_up_logs = set_up_logs
        self._attachable = attachable
        self._calls = Calls(current, tap, idle_timeout=idle_timeout, when_empty=self._tidy_soon)
        self._audio = audio
        self._bus = bus
        self._links = links
        self._begun = 0
        self.signals = Signals(self._calls.end_all)
        self._models: asyncio.Task[None] | None = None
        self._models_of: tuple[Choice, ...] = ()

    @property
    def recipe(self) -> str:
        """The name of what it runs."""
        return self._current.latest.loaded.recipe.name

    @property
    def providers(self) -> str:
        """Who hears, thinks and speaks, and why these."""
        return self._current.latest.told()

    @property
    def lag(self) -> float:
        """Seconds by which the event loop was late when it was last measured."""
        return self._lag.seconds

    def busy(self) -> bool:
        """Say whether one more call would be too many, by count or by the loop's lag."""
        if self.signals.first is not None:
            return True
        held = self._calls.held
        return held >= self.max_calls or (held > 0 and self._lag.stutters)

    def stop(self) -> None:
        """End the session as SIGTERM does, unless it is ending already."""
        if self.signals.first is None:  # a second signal would leave at once
            signal.raise_signal(signal.SIGTERM)

    async def emptied(self, *, within: float) -> None:
        """Wait until no call is held, or until `within` seconds are over."""
        await self._calls.emptied(within=within)

    async def bot(self, runner_args: RunnerArguments) -> None:
        """Hold one call; Pipecat's runner runs this for each caller."""
        with self._calls.room():
            try:
                plan = await self._current.renew()
                # Shielded: a caller who gives up must not cancel the loading for all.
                await asyncio.shield(self._load_models(plan))
                transport = await self._transport(runner_args)
                if transport is None:
                    return
                if wants_text(runner_args):
                    plan = plan.without_voices()
                async with (
                    self._calls.open(plan, transport, audio=self._recorder()) as call,
                    keep_client_informed(call, plan, self._tap),
                ):
                    await self._hold(call, runner_args)
            except PmwError as error:
                logger.error(f"a call could not begin: {error.what} ({error.mend})")
            except (TimeoutError, ExceptionGroup) as error:
                logger.error(f"a call did not end well: {type(error).__name__}")

    async def call_for(self, call: str | None) -> Call:
        """Return the call in which to say something, opened in words if there is none.

        Raises:
            PmwError: There is no such call, there are several, or no more room.
        """
        return await self._calls.find(call, busy=self.busy)

    async def _transport(self, runner_args: RunnerArguments) -> BaseTransport | None:
        """Wait for a socket's first words, which say who calls; None if they didn't come."""
        try:
            async with self._calls.arriving(CONNECT_WITHIN):
                return await create_transport(runner_args, transport_params())
        except Exception as error:  # a stranger may send anything, or nothing
            if not self._calls.closing:
                logger.error(f"a call could not begin: {told(error)}")
            return None

    def _recorder(self) -> AudioRecorder | None:
        self._begun += 1
        return AudioRecorder(numbered(self._audio, self._begun)) if self._audio else None

    async def _hold(self, call: Call, runner_args: RunnerArguments) -> None:
        """Wait until a call is over; one that a browser offered and left is over soon."""
        ended = asyncio.create_task(call.ended.wait(), name="call ended")
        connected = asyncio.create_task(call.main.client_connected.wait(), name="connected")
        try:
            if isinstance(runner_args, SmallWebRTCRunnerArguments):
                waiting = {ended, connected}
                first = asyncio.FIRST_COMPLETED
                await asyncio.wait(waiting, timeout=CONNECT_WITHIN, return_when=first)
                if not connected.done():
                    call.end("nobody connected")
            await ended
        finally:
            ended.cancel()
            connected.cancel()

    def _tidy_soon(self) -> None:
        asyncio.get_running_loop().call_later(TIDY_AFTER, self._tidy)

    def _tidy(self) -> None:
        if not self._calls.held:
            give_back()

    @asynccontextmanager
    async def lifespan(
        self, app: FastAPI, rules: DoorRules, beside: Beside
    ) -> AsyncGenerator[None]:
        """Run from the server's start to its end, inside its event loop."""
        # Outermost, for the runner's own CORS would answer a foreign page's preflight.
        app.middleware_stack = Door(
            app.middleware_stack or app.build_middleware_stack(),
            rules=rules,
            busy=self.busy,
            max_calls=self.max_calls,
        )
        logging.disable(logging.NOTSET)
        logging.getLogger("uvicorn.access").disabled = True
        logging.getLogger("uvicorn.error").setLevel(logging.WARNING)
        self._set_up_logs()
        self.signals.take()
        stopping = asyncio.Event()
        shown = asyncio.create_task(self._show(beside, stopping), name="show")
        lag = asyncio.create_task(self._lag.measure(), name="measure lag")
        self._load_models(self._current.latest)
        try:
            async with (
                self._tap.collecting(),
                connected(
                    self._bus,
                    self._tap,
                    lambda: self.lag,
                    plan=self._current.latest,
                    links=self._links,
                ) as self._calls.distribution,
            ):
                try:
                    yield
                finally:
                    await self._calls.end_all()
        finally:
            stopping.set()
            await asyncio.wait({shown}, timeout=2)
            left = {shown, lag} | ({self._models} if self._models else set())
            for task in left:
                task.cancel()
            await asyncio.wait(left, timeout=1)

    async def _show(self, beside: Beside, stopping: asyncio.Event) -> None:
        """Enter `beside` once the server takes connections, which is after its lifespan began."""
        while not stopping.is_set():
            try:
                _, writer = await asyncio.open_connection(self.options.host, self.options.port)
            except OSError:
                await asyncio.sleep(LISTEN_EVERY)
                continue
            writer.close()
            named = open_socket(self, self._tap) if self._attachable else nullcontext()
            async with named as self.name, beside(self):
                await stopping.wait()

    def _load_models(self, plan: Plan) -> "asyncio.Task[None]":
        """Begin to load what a plan needs, unless that was begun for the plan before it."""
        choices = tuple(plan.choices())
        if self._models is None or choices != self._models_of:
            loading = self._load(choices, after=self._models)
            self._models = asyncio.create_task(loading, name="load speech models")
            self._models.add_done_callback(_tell_failure)
            self._models_of = choices
        return self._models

    async def _load(
        self, choices: tuple[Choice, ...], *, after: "asyncio.Task[None] | None"
    ) -> None:
        if after is not None:
            await asyncio.wait({after})
        await load_models(choices)
        if not self._calls.open_ones:  # or what is theirs would be kept for good, too
            keep_loaded_models()


def _tell_failure(loading: "asyncio.Task[None]") -> None:
    if not loading.cancelled() and (error := loading.exception()) is not None:
        what = error.what if isinstance(error, PmwError) else type(error).__name__
        logger.error(f"speech models did not load: {what}")


def serve(serving: Serving, *, beside: Beside) -> None:
    """Serve callers until the session is stopped; blocks.

    Args:
        serving: The session.
        beside: Entered once the server is up, left when it stops.

    Raises:
        ConfigurationError: The bind or the origins aren't safe, or Pipecat's runner
            refuses its arguments.
        PmwError: The port is taken, or the bus can't be reached.
        KeyboardInterrupt: SIGINT ended the session.
    """
    options = serving.options
    rules = door_rules(
        options,
        proxy_host=runner_option(options, "-x", "--proxy"),
        uploads=bool(
            runner_option(options, "-u", "--uploads-folder") or variable("PIPECAT_UPLOADS_FOLDER")
        ),
    )
    parser = RunnerParser(options)
    limit_arenas()
    require_port(options.host, options.port)
    app = runner.app
    add_page(app)
    lifespan = app.router.lifespan_context
    failures: list[PmwError] = []

    @asynccontextmanager
    async def with_session(app: FastAPI) -> AsyncGenerator[None]:
        try:
            async with lifespan(app), serving.lifespan(app, rules, beside):
                yield
        except PmwError as error:
            failures.append(error)
            logging.getLogger("uvicorn.error").setLevel(logging.CRITICAL)  # it would show where
            raise

    app.router.lifespan_context = with_session
    offers = Offers(serving.bot)
    offers.add_route(app)
    set_bot(offers.bot)
    # Until the lifespan: the runner logs as it likes, and uvicorn says that it starts.
    logger.disable("pipecat")
    logging.disable(logging.INFO)
    try:
        with redirect_stdout(io.StringIO()):  # the runner's banner and access log
            runner.main(parser)
    except SystemExit as stop:
        if failures:
            raise failures[0] from None
        if stop.code not in (0, None) and serving.signals.first is None:
            raise PmwError(
                f"the web server did not start on port {options.port}", mend="see why with -v"
            ) from None
    if serving.signals.first == signal.SIGINT:
        raise KeyboardInterrupt
