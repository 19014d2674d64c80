"""Whether calls are traced, and where to: by OpenTelemetry's own variables, or not at all.

While it is off nothing of OpenTelemetry is imported, not by Pipecat either, whose services
then lack what would look at every frame for a trace's sake.
"""

import importlib
import logging
import os
import socket
import sys
import threading
from collections.abc import Mapping
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from pipecat_workers_cli.errors import ConfigurationError, PmwError, mend_extra
from pipecat_workers_cli.logs import correlate

if TYPE_CHECKING:
    from opentelemetry.sdk.trace.export import SpanExporter

    from pipecat_workers_cli.tracing.spans import WorkerTrace
    from pipecat_workers_cli.tracing.turns import CallTrace

ENDPOINTS = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
PROTOCOLS = ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL")
OF_PIPECAT = "pipecat.utils.tracing.setup"
FLUSH_WITHIN = 1.0  # seconds at a process's end; a signal leaves it five in all
EXPORTERS = {
    "http/protobuf": ("opentelemetry.exporter.otlp.proto.http.trace_exporter", ""),
    "grpc": (
        "opentelemetry.exporter.otlp.proto.grpc.trace_exporter",
        "opentelemetry-exporter-otlp-proto-grpc",
    ),
}
"""By protocol: the module of its exporter, and the package to be installed beside the extra."""

_provider: list[Any] = []  # one, once it is on


def asked_for() -> str | None:
    """Return the variable that asks for traces; None if none does, or another forbids them."""
    if os.environ.get("OTEL_SDK_DISABLED", "").strip().lower() == "true":
        return None
    if os.environ.get("OTEL_TRACES_EXPORTER", "otlp").strip().lower() != "otlp":
        return None
    return next((name for name in ENDPOINTS if os.environ.get(name)), None)


def set_up_tracing() -> None:
    """Trace the calls of this process from now on, if the environment asks for it.

    To be called before Pipecat's services are imported.

    Raises:
        PmwError: A package is missing.
        ConfigurationError: The protocol is none that there is.
    """
    if _provider:
        return
    name = asked_for()
    if name is None:
        _hide()
        return
    exporter = _build_exporter(name)
    from opentelemetry import trace  # noqa: PLC0415  # only if it is on, as all that follows
    from opentelemetry.sdk.resources import Resource  # noqa: PLC0415
    from opentelemetry.sdk.trace import TracerProvider  # noqa: PLC0415
    from opentelemetry.sdk.trace.export import BatchSpanProcessor  # noqa: PLC0415

    from pipecat_workers_cli.tracing.export import ToldExporter, WhoseProcessor  # noqa: PLC0415
    from pipecat_workers_cli.tracing.spans import ids_of_now  # noqa: PLC0415

    # A dead collector is told of once, by `ToldExporter`, and not at each attempt.
    logging.getLogger("opentelemetry").setLevel(logging.CRITICAL)
    provider = TracerProvider(
        resource=Resource.create({}).merge(Resource(dict(_resource()))),
        shutdown_on_exit=False,  # which would wait for a dead collector
    )
    provider.add_span_processor(WhoseProcessor())
    provider.add_span_processor(BatchSpanProcessor(ToldExporter(exporter, os.environ[name])))
    trace.set_tracer_provider(provider)
    _provider.append(provider)
    correlate(ids_of_now)


def _resource() -> Mapping[str, str]:
    """Return what is said of this process, but for what the environment says of it."""
    ours = {
        "service.name": "pmw",
        "service.version": version("pipecat-workers-cli"),
        "service.instance.id": f"{socket.gethostname()}-{os.getpid()}",
    }
    told = os.environ.get("OTEL_RESOURCE_ATTRIBUTES", "")
    said = {pair.partition("=")[0].strip() for pair in told.split(",")}
    if os.environ.get("OTEL_SERVICE_NAME"):
        said.add("service.name")
    return {name: value for name, value in ours.items() if name not in said}


def _build_exporter(asked_by: str) -> "SpanExporter":
    protocol = next((os.environ[name] for name in PROTOCOLS if os.environ.get(name)), None)
    known = EXPORTERS.get(protocol or "http/protobuf")
    if known is None:
        raise ConfigurationError(
            f"there is no OTLP protocol '{protocol}' here", mend=f"one of {', '.join(EXPORTERS)}"
        )
    module, package = known
    try:
        importlib.import_module("opentelemetry.sdk.trace")
        exporter = importlib.import_module(module).OTLPSpanExporter
    except ImportError:
        more = f", and {package}" if package else ""
        raise PmwError(
            f"{asked_by} asks for traces, but what sends them isn't installed",
            mend=f"{mend_extra('tracing')}{more}; or unset it",
        ) from None
    return exporter()


def _hide() -> None:
    """Let Pipecat decide, once and for all, that there is no OpenTelemetry."""
    if OF_PIPECAT in sys.modules:
        return
    there = sys.modules.get("opentelemetry")
    sys.modules["opentelemetry"] = None  # type: ignore[assignment]  # Python's way to refuse it
    try:
        importlib.import_module(OF_PIPECAT)
    finally:
        del sys.modules["opentelemetry"]
        if there is not None:
            sys.modules["opentelemetry"] = there


def flush_tracing(within: float = FLUSH_WITHIN) -> None:
    """Send what spans wait, if that takes no longer; the process is about to end.

    Args:
        within: Seconds; a collector that is dead by then has lost them.
    """
    if _provider:
        # Not here, for a connection that hangs can't be given up; a daemon thread can.
        thread = threading.Thread(target=_provider.pop().shutdown, name="last spans", daemon=True)
        thread.start()
        thread.join(within)


def trace_call(call: str, *, recipe: str, main: str) -> "CallTrace | None":
    """Begin the trace of a call; None while tracing is off.

    Args:
        call: Its id.
        recipe: The recipe's name.
        main: The main worker's.
    """
    if not _provider:
        return None
    from pipecat_workers_cli.tracing.turns import CallTrace  # noqa: PLC0415

    return CallTrace(call, recipe=recipe, main=main)


def trace_worker(call: str, worker: str) -> "WorkerTrace | None":
    """Prepare the spans of a worker whose call is elsewhere; None while tracing is off.

    Args:
        call: The call's id.
        worker: The worker's name.
    """
    if not _provider:
        return None
    from pipecat_workers_cli.tracing.spans import WorkerTrace  # noqa: PLC0415

    return WorkerTrace(call, worker)
