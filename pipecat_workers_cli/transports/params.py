"""Which transports Pipecat's runner serves, what each needs, and its parameters."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from importlib.util import find_spec

from pipecat_workers_cli.errors import ConfigurationError, PmwError, mend_extra, near_miss
from pipecat_workers_cli.settings import variable

SOCKET_PARAMS = "pipecat.transports.websocket.fastapi:FastAPIWebsocketParams"


@dataclass(frozen=True, slots=True)
class TransportKind:
    """A row of the table of transports.

    Attributes:
        needs: A module that must be importable for it.
        install: How to install it.
        params: `module:Class` of its parameters in Pipecat; None for our own.
        serializer: `module:Class` of what its parameters must bring: without one,
            everything a client sends is dropped silently.
        variables: Must be set for it.
    """

    needs: str
    install: str
    params: str | None
    serializer: str | None = None
    variables: tuple[str, ...] = ()


def _of_pipecat(extra: str) -> str:
    return f"uv pip install 'pipecat-ai[{extra}]'"


TELEPHONY = TransportKind("websockets", _of_pipecat("websocket"), SOCKET_PARAMS)
TRANSPORTS = {
    "console": TransportKind("pipecat", mend_extra(""), None),
    "daily": TransportKind(
        "daily",
        mend_extra("daily"),
        "pipecat.transports.daily.transport:DailyParams",
        variables=("DAILY_API_KEY",),
    ),
    "exotel": TELEPHONY,
    "livekit": TransportKind(
        "livekit",
        _of_pipecat("livekit"),
        "pipecat.transports.livekit.transport:LiveKitParams",
        variables=("LIVEKIT_URL", "LIVEKIT_API_KEY", "LIVEKIT_API_SECRET"),
    ),
    "local": TransportKind("sounddevice", mend_extra("local"), None),
    "moq": TransportKind(
        "moq", _of_pipecat("moq"), "pipecat.transports.base_transport:TransportParams"
    ),
    "plivo": TELEPHONY,
    "telnyx": TELEPHONY,
    "twilio": TELEPHONY,
    "vonage": TransportKind(
        "vonage_video_connector",
        _of_pipecat("vonage-video-connector"),
        "pipecat.transports.vonage.video_connector:VonageVideoConnectorTransportParams",
    ),
    "webrtc": TransportKind(
        "aiortc", _of_pipecat("webrtc"), "pipecat.transports.base_transport:TransportParams"
    ),
    "websocket": TransportKind(
        "websockets",
        _of_pipecat("websocket"),
        SOCKET_PARAMS,
        serializer="pipecat.serializers.protobuf:ProtobufFrameSerializer",
    ),
}

EVAL = TransportKind("pipecat", mend_extra(""), "pipecat.evals.transport:EvalTransportParams")
"""Pipecat's eval client at `/ws`; nobody names it, it is always served."""


def check_transport(name: str) -> None:
    """Refuse a transport that doesn't exist, or lacks its package or a variable.

    Raises:
        ConfigurationError: There is no such transport.
        PmwError: Its package or a variable is missing.
    """
    kind = TRANSPORTS.get(name)
    if kind is None:
        raise ConfigurationError(f"no transport '{name}'", mend=near_miss(name, TRANSPORTS))
    if find_spec(kind.needs) is None:
        raise PmwError(
            f"transport {name} needs a package that isn't installed",
            mend=kind.install,
        )
    for needed in kind.variables:
        if variable(needed) is None:
            raise PmwError(f"transport {name} needs {needed}", mend="set it, or write it to .env")


def transport_params() -> dict[str, Callable[[], object]]:
    """Return, for Pipecat's `create_transport`, how each transport's parameters are made."""
    kinds = {**TRANSPORTS, "eval": EVAL}
    return {name: partial(_build_params, kind) for name, kind in kinds.items() if kind.params}


def _build_params(kind: TransportKind) -> object:
    settings: dict[str, object] = {"audio_in_enabled": True, "audio_out_enabled": True}
    if kind.serializer:
        settings["serializer"] = _load(kind.serializer)()
    return _load(kind.params or "")(**settings)


def _load(reference: str) -> Callable[..., object]:
    module, _, name = reference.partition(":")
    return getattr(import_module(module), name)
