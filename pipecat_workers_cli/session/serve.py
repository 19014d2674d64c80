"""A session that serves callers: Pipecat's runner behind our door, with our page.

Pipecat's runner owns the event loop, the signals and stdout while it runs. What has to be
different is arranged by public names alone: routes are put on its app before it starts,
and everything else happens in the app's lifespan (`Serving.lifespan`).
"""

import argparse
import asyncio
import io
import logging
import os
import signal
import sys
from collections import deque
from collections.abc import AsyncGenerator, Callable
from contextlib import (
    AbstractAsyncContextManager,
    asynccontextmanager,
    redirect_stdout,
    suppress,
)
from itertools import pairwise
from pathlib import Path
from types import FrameType

from fastapi import FastAPI
from fastapi.responses import FileResponse
from fastapi.staticfiles import StaticFiles
from loguru import logger
from pipecat.evals.serializer import EvalConnectionFlags
from pipecat.runner import run as runner
from pipecat.runner.types import RunnerArguments, WebSocketRunnerArguments
from pipecat.runner.utils import create_transport

from pipecat_workers_cli.call.plan import Plan
from pipecat_workers_cli.call.run import STOP_WITHIN, Call, open_call
from pipecat_workers_cli.checks import State
from pipecat_workers_cli.errors import ConfigurationError, PmwError
from pipecat_workers_cli.options import ServeOptions
from pipecat_workers_cli.services.offline import load_models
from pipecat_workers_cli.session.client import keep_client_informed
from pipecat_workers_cli.session.door import Door
from pipecat_workers_cli.session.door_rules import DoorRules, door_rules
from pipecat_workers_cli.session.health import check_port
from pipecat_workers_cli.settings import variable
from pipecat_workers_cli.traffic.tap import Tap
from pipecat_workers_cli.transports.params import transport_params

PAGE = Path(__file__).parent / "page"
LISTEN_EVERY = 0.02  # seconds between looks whether the server listens yet
LAG_EVERY = 0.25  # seconds between measurements of the event loop's lag
LAGS = 4  # measurements; a call that begins makes one or two late, an overload all of them
LAG_BUSY = 0.1  # seconds; five audio frames late is heard as stutter

Beside = Callable[["Serving"], AbstractAsyncContextManager[None]]
"""What runs while the server does: a banner, a live table."""


class Serving:
    """A session while it serves: what a table shows of it, and how it is stopped.

    Attributes:
        address: Where our page is.
        max_calls: Calls at once; more hear that it is busy.
        lag: Seconds by which the event loop was late when it was last measured.
        aborting: Called before the process leaves at once, to restore the terminal.
    """

    def __init__(
        self,
        plan: Plan,
        options: ServeOptions,
        *,
        tap: Tap,
        max_calls: int,
        idle_timeout: float,
        set_up_logs: Callable[[], None],
    ) -> None:
        """Prepare a session; nothing listens yet. See `serve` for the arguments."""
        token = "#token=…" if options.page_token else ""  # the page takes it from there
        self.address = f"http://{options.host}:{options.port}/{token}"
        self.max_calls = max_calls
        self.lag = 0.0
        self.aborting: list[Callable[[], None]] = []
        self.signal: int | None = None
        self._lags: deque[float] = deque(maxlen=LAGS)
        self._options = options
        self._plan = plan
        self._tap = tap
        self._idle_timeout = idle_timeout
        self._set_up_logs = set_up_logs
        self._calls: set[Call] = set()
        self._held = 0
        self._nobody = asyncio.Event()
        self._models: asyncio.Task[None] | None = None

    def busy(self) -> bool:
        """Say whether one more call would be too many, by count or by the loop's lag."""
        stutters = len(self._lags) == LAGS and min(self._lags) > LAG_BUSY
        return self._held >= self.max_calls or (self._held > 0 and stutters)

    def stop(self) -> None:
        """End the session as SIGTERM does."""
        signal.raise_signal(signal.SIGTERM)

    async def bot(self, runner_args: RunnerArguments) -> None:
        """Hold one call; Pipecat's runner runs this for each caller."""
        self._held += 1
        try:
            await self._load_models()
            transport = await create_transport(runner_args, transport_params())
            plan = self._plan.without_voices() if wants_text(runner_args) else self._plan
            opened = open_call(plan, transport, tap=self._tap, idle_timeout=self._idle_timeout)
            async with opened as call, keep_client_informed(call, plan, self._tap):
                self._calls.add(call)
                try:
                    await call.ended.wait()
                finally:
                    self._calls.discard(call)
        except PmwError as error:
            logger.error(f"a call could not begin: {error.what} ({error.mend})")
        finally:
            self._held -= 1
            if not self._held:
                self._nobody.set()

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
        self._take_signals()
        stopping = asyncio.Event()
        shown = asyncio.create_task(self._show(beside, stopping), name="show")
        lag = asyncio.create_task(self._measure_lag(), name="measure lag")
        models = self._load_models()
        try:
            yield
        finally:
            await self._end_calls()
            stopping.set()
            await asyncio.wait({shown}, timeout=2)
            for task in (shown, models, lag):
                task.cancel()
            await asyncio.wait({shown, models, lag}, timeout=1)

    async def _show(self, beside: Beside, stopping: asyncio.Event) -> None:
        """Enter `beside` once the server takes connections, which is after its lifespan began."""
        while not stopping.is_set():
            try:
                _, writer = await asyncio.open_connection(self._options.host, self._options.port)
            except OSError:
                await asyncio.sleep(LISTEN_EVERY)
                continue
            writer.close()
            async with beside(self):
                await stopping.wait()

    def _load_models(self) -> "asyncio.Task[None]":
        if self._models is None:
            loading = load_models(tuple(self._plan.choices()))
            self._models = asyncio.create_task(loading, name="load speech models")
        return self._models

    async def _measure_lag(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            due = loop.time() + LAG_EVERY
            await asyncio.sleep(LAG_EVERY)
            self.lag = loop.time() - due
            self._lags.append(self.lag)

    def _take_signals(self) -> None:
        loop = asyncio.get_running_loop()
        kept = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
        stopping: list[asyncio.Task[None]] = []

        async def stop(number: int, frame: FrameType | None) -> None:
            await self._end_calls()
            handler = kept[signal.Signals(number)]
            if callable(handler):
                handler(number, frame)

        def on_signal(number: int, frame: FrameType | None) -> None:
            if self.signal is not None:
                self._leave_at_once(number)
            self.signal = number
            loop.call_soon_threadsafe(
                lambda: stopping.append(loop.create_task(stop(number, frame), name="stop"))
            )

        for number in kept:
            signal.signal(number, on_signal)

    def _leave_at_once(self, number: int) -> None:
        for restore in self.aborting:
            restore()
        sys.stderr.flush()
        os._exit(130 if number == signal.SIGINT else 1)

    async def _end_calls(self) -> None:
        """Hang up on everybody, and wait until the calls' workers have stopped."""
        for call in self._calls:
            call.end("the session stopped")
        if self._held:
            self._nobody.clear()
            with suppress(TimeoutError):
                await asyncio.wait_for(self._nobody.wait(), STOP_WITHIN)


def serve(
    plan: Plan,
    options: ServeOptions,
    *,
    tap: Tap,
    max_calls: int,
    idle_timeout: float,
    set_up_logs: Callable[[], None],
    beside: Beside,
) -> None:
    """Serve callers until the session is stopped; blocks.

    Args:
        plan: The recipe with its providers, checked.
        options: Where to listen, and whom to let in.
        tap: Sees the calls' buses and is told their entries.
        max_calls: Calls at once.
        idle_timeout: Seconds in which nobody says anything before a call ends.
        set_up_logs: Sends log lines where they belong; called again once Pipecat's runner
            has set them up its own way.
        beside: Entered once the server is up, left when it stops.

    Raises:
        ConfigurationError: The bind or the origins aren't safe, or Pipecat's runner
            refuses its arguments.
        PmwError: The port is taken.
        KeyboardInterrupt: SIGINT ended the session.
    """
    rules = door_rules(
        options,
        proxy_host=runner_option(options, "-x", "--proxy"),
        uploads=bool(
            runner_option(options, "-u", "--uploads-folder") or variable("PIPECAT_UPLOADS_FOLDER")
        ),
    )
    require_port(options.host, options.port)
    serving = Serving(
        plan,
        options,
        tap=tap,
        max_calls=max_calls,
        idle_timeout=idle_timeout,
        set_up_logs=set_up_logs,
    )
    app = runner.app
    add_page(app)
    lifespan = app.router.lifespan_context

    @asynccontextmanager
    async def with_session(app: FastAPI) -> AsyncGenerator[None]:
        async with lifespan(app), serving.lifespan(app, rules, beside):
            yield

    app.router.lifespan_context = with_session
    # The runner looks for `bot` here; without it, it would run every .py file around.
    sys.modules["__main__"].bot = serving.bot  # type: ignore[attr-defined]
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    # Until the lifespan: the runner logs as it likes, and uvicorn says that it starts.
    logger.disable("pipecat")
    logging.disable(logging.INFO)
    try:
        with redirect_stdout(io.StringIO()):  # the runner's banner and access log
            runner.main(_RunnerParser(runner_argv(options)))
    except SystemExit as stop:
        if stop.code not in (0, None) and serving.signal is None:
            raise PmwError(
                f"the web server did not start on {options.host}:{options.port}",
                mend="see why with -v",
            ) from None
    if serving.signal == signal.SIGINT:
        raise KeyboardInterrupt


def wants_text(runner_args: RunnerArguments) -> bool:
    """Say whether the caller is an eval client that reads answers and wants none spoken.

    Skipping the voice frame by frame, as Pipecat does, holds for a turn's first response
    only: what follows a tool call or a transfer would be spoken.
    """
    if not isinstance(runner_args, WebSocketRunnerArguments) or runner_args.call_data is None:
        return False
    if runner_args.transport_type != "eval":
        return False
    return EvalConnectionFlags.model_validate(runner_args.call_data.body).skip_tts


class _RunnerParser(argparse.ArgumentParser):
    """Hands Pipecat's runner our arguments instead of the process's."""

    def __init__(self, argv: list[str]) -> None:
        super().__init__(prog="pmw … --", add_help=False)
        self._argv = argv

    def parse_args(self, args: object = None, namespace: object = None) -> argparse.Namespace:  # type: ignore[override]
        return super().parse_args(self._argv)

    def error(self, message: str) -> None:  # type: ignore[override]
        raise ConfigurationError(
            f"Pipecat's runner refuses what follows '--': {message}",
            mend="see https://docs.pipecat.ai for its arguments",
        )


def runner_argv(options: ServeOptions) -> list[str]:
    """Return the command line that Pipecat's runner gets."""
    argv = ["--host", options.host, "--port", str(options.port)]
    if options.transport:
        argv += ["--transport", options.transport]
    return [*argv, *options.runner_args]


def runner_option(options: ServeOptions, *names: str) -> str | None:
    """Return the value that follows one of `names` behind `--`, if it is there."""
    arguments = options.runner_args
    for argument, following in pairwise((*arguments, "")):
        name, equals, value = argument.partition("=")
        if name in names:
            return value if equals else following
    return None


def require_port(host: str, port: int) -> None:
    """Refuse to start on a port that is taken, in our words instead of a traceback.

    Raises:
        PmwError: Something listens there, or the address isn't this machine's.
    """
    finding = check_port(host, port)
    if finding.state is State.WRONG:
        raise PmwError(f"cannot listen on {host}:{port}: {finding.found}", mend=finding.mend)


def add_page(app: FastAPI) -> None:
    """Serve our page at `/` and its files at `/page/`, before the runner's own routes."""

    @app.get("/", include_in_schema=False)
    async def page() -> FileResponse:
        return FileResponse(PAGE / "index.html")

    app.mount("/page", StaticFiles(directory=PAGE))
