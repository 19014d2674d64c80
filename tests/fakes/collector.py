"""An OpenTelemetry collector: takes traces as OTLP over HTTP, and keeps their spans."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)


@dataclass(frozen=True)
class SpanSeen:
    """One span as it arrived.

    Attributes:
        trace: The trace's id, in hex.
        id: Its own.
        parent: That of the span that it is part of; empty at the root.
        name: What it is called.
        attributes: By name.
        resource: What is said of the process that it came from.
        began_ns: When it began, by the wall clock.
        ended_ns: When it ended.
        failed: Whether it says that it failed.
        raw: All of it.
    """

    trace: str
    id: str
    parent: str
    name: str
    attributes: dict[str, Any]
    resource: dict[str, Any]
    began_ns: int
    ended_ns: int
    failed: bool
    raw: str

    @property
    def process(self) -> str:
        """Which process it came from."""
        return self.resource["service.instance.id"]

    @property
    def service(self) -> str:
        """What that is called."""
        return self.resource["service.name"]

    @property
    def kind(self) -> str:
        """What of ours, or of Pipecat's, it is about."""
        return self.attributes.get("pmw.kind", "")


class Collector:
    """Takes traces on a free local port.

    Attributes:
        spans: Those that arrived, in their order.
        headers: Of each request.
    """

    def __init__(self) -> None:
        self.spans: list[SpanSeen] = []
        self.headers: list[dict[str, str]] = []
        self._news = threading.Condition()
        collector = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                assert self.path == "/v1/traces", self.path
                collector._take(ExportTraceServiceRequest.FromString(body), dict(self.headers))
                self.send_response(200)
                self.send_header("Content-Type", "application/x-protobuf")
                self.end_headers()
                self.wfile.write(ExportTraceServiceResponse().SerializeToString())

            def log_message(self, *_: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)

    @property
    def url(self) -> str:
        """What `OTEL_EXPORTER_OTLP_ENDPOINT` is set to."""
        return f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(5)

    def _take(self, request: ExportTraceServiceRequest, headers: dict[str, str]) -> None:
        with self._news:
            self.headers.append(headers)
            self.spans.extend(_spans(request))
            self._news.notify_all()

    def wait_for(self, seen: Callable[[list[SpanSeen]], object], *, within: float = 10) -> None:
        """Wait until the spans that arrived make `seen` true."""
        deadline = time.monotonic() + within
        with self._news:
            while not seen(self.spans):
                left = deadline - time.monotonic()
                assert left > 0, f"not seen among {sorted(one.name for one in self.spans)}"
                self._news.wait(left)


def _spans(request: ExportTraceServiceRequest) -> Iterator[SpanSeen]:
    for resource in request.resource_spans:
        for scope in resource.scope_spans:
            for span in scope.spans:
                yield SpanSeen(
                    trace=span.trace_id.hex(),
                    id=span.span_id.hex(),
                    parent=span.parent_span_id.hex(),
                    name=span.name,
                    attributes=_attributes(span.attributes),
                    resource=_attributes(resource.resource.attributes),
                    began_ns=span.start_time_unix_nano,
                    ended_ns=span.end_time_unix_nano,
                    failed=span.status.code == span.status.STATUS_CODE_ERROR,
                    raw=str(span),
                )


def _attributes(given: Any) -> dict[str, Any]:
    return {one.key: getattr(one.value, one.value.WhichOneof("value")) for one in given}


@contextmanager
def collecting() -> Iterator[Collector]:
    """Run a collector for as long as the block lasts."""
    with Collector() as collector:
        yield collector


if __name__ == "__main__":  # to look at what a program sends
    with Collector() as running:
        print(running.url, flush=True)
        shown = 0
        while True:
            time.sleep(0.5)
            for one in running.spans[shown:]:
                above = one.parent[:4] or "----"
                print(one.trace[:6], one.id[:4], above, one.process, one.name, one.attributes)
            shown = len(running.spans)
