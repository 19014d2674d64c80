"""What an orchestrator asks a worker host: whether it lives, whether it is ready, its figures."""

import asyncio
import socket
from collections.abc import AsyncGenerator, Callable, Generator, Iterable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import uvicorn
from fastapi import FastAPI, Request, Response
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Histogram, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from pipecat_workers_cli.buses.post import Counts, Post
from pipecat_workers_cli.errors import PmwError
from pipecat_workers_cli.fleet.gateway import FIGURES, Gateway
from pipecat_workers_cli.fleet.host import WorkerHost
from pipecat_workers_cli.fleet.hosted import Hosted
from pipecat_workers_cli.fleet.timing import Timing

READ_EVERY = 0.2  # seconds; a bus's ring holds a second of all that it can carry
STOP_WITHIN = 1.0  # seconds
ANSWERS = (0.05, 0.1, 0.2, 0.3, 0.5, 0.75, 1, 1.5, 2, 3, 5, 10)
"""Bounds in seconds: people notice from 0.2 and think that nobody heard them from 1."""
JOBS = (0.01, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
"""Bounds in seconds, from a lookup to an hour's work of a model cut short."""


class Figures(Collector):
    """A host's figures, as Prometheus reads them."""

    def __init__(self, host: WorkerHost | Gateway, letters: Counts, more: "More") -> None:
        """Begin to count answers and jobs; all else is read when it is asked for.

        Args:
            host: The host.
            letters: What went to calls, and came.
            more: Gives what such a host alone has.
        """
        self._host = host
        self._letters = letters
        self._more = more
        self.registry = CollectorRegistry()
        self.registry.register(self)
        self._answers = Histogram(
            "pmw_answer_seconds",
            "From a turn's arrival at the worker to the first word of its answer",
            ["worker"],
            buckets=ANSWERS,
            registry=self.registry,
        )
        self._jobs = Histogram(
            "pmw_job_seconds",
            "From a job's arrival at the worker to its end",
            ["worker", "state"],
            buckets=JOBS,
            registry=self.registry,
        )
        self._timings: dict[Any, Timing] = {}

    async def follow(self) -> None:
        """Read the buses of the host's workers until cancelled."""
        while True:
            held: Mapping[Any, Hosted] = self._host.held
            for key, hosted in held.items():
                if key not in self._timings:
                    self._timings[key] = Timing(
                        hosted.offer.worker,
                        hosted.bus,
                        on_answer=lambda worker, took: self._answers.labels(worker).observe(took),
                        on_job=lambda worker, state, took: self._jobs.labels(worker, state).observe(
                            took
                        ),
                    )
            for key, timing in list(self._timings.items()):
                timing.catch_up()
                if key not in held:
                    del self._timings[key]
            await asyncio.sleep(READ_EVERY)

    def collect(self) -> Iterator[Metric]:
        """Give all figures but those of answers and jobs, as they are now."""
        calls = GaugeMetricFamily(
            "pmw_calls", "Calls for which a worker runs here", labels=["worker"]
        )
        most = GaugeMetricFamily("pmw_max_calls", "Calls at once at most", labels=["worker"])
        for row in self._host.rows():
            calls.add_metric([row.worker], row.calls)
            most.add_metric([row.worker], row.max_calls)
        yield calls
        yield most
        yield GaugeMetricFamily("pmw_ready", "1 if it takes calls", value=int(is_ready(self._host)))
        yield GaugeMetricFamily(
            "pmw_loop_lag_seconds", "How late the event loop was", value=self._host.lag
        )
        letters = self._letters
        for name, told, value in (
            *self._more(),
            ("letters_sent", "Letters that were sent", letters.sent),
            ("letters_taken", "Letters that came for a call", letters.taken),
            ("letters_shed", "Letters with audio that were dropped", letters.shed),
            ("letters_lost", "Letters without audio that were dropped", letters.lost),
        ):
            yield CounterMetricFamily(f"pmw_{name}", told, value=value)
        refused = CounterMetricFamily(
            "pmw_letters_refused", "Letters that were dropped on arrival", labels=["why"]
        )
        for why, count in letters.refused.items():
            refused.add_metric([why], count)
        yield refused


More = Callable[[], Iterable[tuple[str, str, float]]]
"""Gives counters: name, what is counted, how often."""


class BusFigures(Figures):
    """Those of a host on a shared bus."""

    def __init__(self, host: WorkerHost, post: Post) -> None:
        """Begin to count, also what is about the bus.

        Args:
            host: The host.
            post: Its post.
        """
        super().__init__(host, post.counts, self._of_bus)
        self._worker_host = host
        self._post = post

    def _of_bus(self) -> Iterator[tuple[str, str, float]]:
        counts = self._worker_host.counts
        yield "claims", "Workers claimed", counts.claims
        yield "takeovers", "Claims of a worker that another host had before", counts.taken_over
        yield "fencings", "Claims that were lost", counts.fenced
        failures = self._post.counts.failures
        yield "bus_failures", "Times that the bus could not be reached any more", failures

    def collect(self) -> Iterator[Metric]:
        """Give all figures, the bus's lag among them."""
        yield from super().collect()
        yield GaugeMetricFamily(
            "pmw_bus_lag_seconds",
            "How long the bus took for what was sent last",
            value=self._post.lag,
        )


def is_ready(host: WorkerHost | Gateway) -> bool:
    """Tell whether a host takes calls: it isn't draining, and the bus can be reached."""
    return not host.draining and not host.deaf


def answer(path: str, host: WorkerHost | Gateway, figures: Figures) -> tuple[int, str] | None:
    """Answer what an orchestrator asks.

    Args:
        path: What it asks for.
        host: Whom it is about.
        figures: Its figures.

    Returns:
        The status and the text; None for a path that isn't one of these.
    """
    match path:
        case "/healthz":
            return 200, "ok\n"
        case "/readyz" if is_ready(host):
            return 200, "ready\n"
        case "/readyz":
            return 503, "draining\n" if host.draining else "the bus can't be reached\n"
        case str() if path == FIGURES:
            return 200, generate_latest(figures.registry).decode()
        case _:
            return None


def health_app(host: WorkerHost, figures: Figures) -> FastAPI:
    """Return what answers `/healthz`, `/readyz` and `/metrics`."""
    app = FastAPI(openapi_url=None)

    @app.get("/healthz")
    @app.get("/readyz")
    @app.get(FIGURES)
    async def asked(request: Request) -> Response:
        status, text = answer(request.url.path, host, figures) or (404, "")
        kind = CONTENT_TYPE_LATEST if request.url.path == FIGURES else "text/plain"
        return Response(text, status_code=status, media_type=kind)

    return app


class _Server(uvicorn.Server):
    """A server beside something else: signals are not its business."""

    @contextmanager
    def capture_signals(self) -> Generator[None]:
        yield


@asynccontextmanager
async def serving_health(host: WorkerHost, post: Post, port: int | None) -> AsyncGenerator[None]:
    """Answer an orchestrator's questions while the block lasts.

    It listens on all addresses, for probes come from elsewhere; what it says names no call.

    Args:
        host: Whom it is about.
        post: Its post.
        port: Where to listen; None answers nobody.

    Raises:
        PmwError: The port is taken.
    """
    if port is None:
        yield
        return
    figures = BusFigures(host, post)
    listening = _listen(port)
    config = uvicorn.Config(health_app(host, figures), log_config=None, access_log=False)
    server = _Server(config)
    tasks = {
        asyncio.create_task(server.serve(sockets=[listening]), name="health"),
        asyncio.create_task(figures.follow(), name="figures"),
    }
    try:
        yield
    finally:
        server.should_exit = True
        await asyncio.wait(tasks, timeout=STOP_WITHIN, return_when=asyncio.FIRST_COMPLETED)
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks, timeout=STOP_WITHIN)


@asynccontextmanager
async def answering(gateway: Gateway) -> AsyncGenerator[None]:
    """Let a gateway answer an orchestrator's questions where it listens, while the block lasts."""

    def more() -> Iterator[tuple[str, str, float]]:
        yield "links", "Links that were opened", gateway.opened
        for kind, count in gateway.gate.turned.items():
            name = f"turned_away_{kind.replace(' ', '_')}"
            yield name, f"Links that were not opened: {kind}", count

    figures = Figures(gateway, gateway.letters, more)
    gateway.answers = lambda path: answer(path, gateway, figures)
    following = asyncio.create_task(figures.follow(), name="figures")
    try:
        yield
    finally:
        following.cancel()
        await asyncio.wait({following}, timeout=STOP_WITHIN)


def _listen(port: int) -> socket.socket:
    try:
        if socket.has_dualstack_ipv6():
            return socket.create_server(("", port), family=socket.AF_INET6, dualstack_ipv6=True)
        return socket.create_server(("", port))
    except OSError as error:
        what = f"cannot listen on port {port} for --health-port: {error.strerror}"
        raise PmwError(what, mend="choose another port") from None
