"""What a caller is told who may not come in, over HTTP or in place of a handshake."""

import json
from dataclasses import dataclass

from starlette.types import Message, Scope


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why somebody may not come in.

    Attributes:
        status: The HTTP status.
        kind: What it is counted under.
        what: What is wrong, for the caller.
        mend: What to do about it, for the caller.
        seen: What the caller said, for the log; never a token.
    """

    status: int
    kind: str
    what: str
    mend: str
    seen: str = ""


def foreign(seen: str) -> Refusal:
    """Refuse a page that isn't this server's."""
    return Refusal(
        403,
        "origin",
        "this page's origin is not one of this server's",
        "start the server with --allowed-origins and this page's origin",
        seen,
    )


def too_big(max_bytes: int, scope: Scope) -> Refusal:
    """Refuse a body for its size."""
    return Refusal(
        413, "size", f"the body has more than {max_bytes} bytes", "send less", scope["path"]
    )


def oversized(scope: Scope, max_bytes: int, *, must_say: bool = False) -> Refusal | None:
    """Find a body that is too big by its own account, before a byte of it is read.

    Args:
        scope: The request.
        max_bytes: The most that is taken.
        must_say: A body of unknown length is refused, too.
    """
    lengths = values(scope, b"content-length")
    if not lengths and must_say:
        return Refusal(411, "length", "an upload must say its length", "send Content-Length")
    # Twenty digits are beyond any limit, and int() of thousands of them would be slow.
    if any(not text.isdecimal() or int(text[:20]) > max_bytes for text in lengths):
        return too_big(max_bytes, scope)
    return None


def values(scope: Scope, name: bytes) -> list[str]:
    """Return all values of a header; `name` is in lower case."""
    return [value.decode("latin-1").strip() for key, value in scope["headers"] if key == name]


def answer_of(refusal: Refusal, scope: Scope) -> tuple[Message, Message]:
    """Make the two messages of a refusal's HTTP response, `{"error": …, "mend": …}`."""
    prefix = "websocket.http" if scope["type"] == "websocket" else "http"
    body = json.dumps({"error": refusal.what, "mend": refusal.mend}).encode()
    headers = [
        (b"content-type", b"application/json"),
        (b"content-length", str(len(body)).encode()),
        (b"cache-control", b"no-store"),
    ]
    if refusal.status == 401:
        headers.append((b"www-authenticate", b"Bearer"))
    if refusal.status in (408, 411, 413):
        headers.append((b"connection", b"close"))  # the rest of the body is not read
    if refusal.status != 403:
        # An own or allowed page asked; the runner's CORS is behind us and can't say so.
        headers += [
            (b"access-control-allow-origin", origin.encode("latin-1"))
            for origin in values(scope, b"origin")
        ]
    start = {"type": f"{prefix}.response.start", "status": refusal.status, "headers": headers}
    return start, {"type": f"{prefix}.response.body", "body": body}
