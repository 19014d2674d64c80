"""Cartesia's voices."""

from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit, urlunsplit

from pipecat.services.cartesia.tts import CartesiaTTSService, GenerationConfig

CARTESIA_PATH = "/tts/websocket"


def build_cartesia(
    *, voice: str, key: str, base_url: str | None, settings: Mapping[str, Any]
) -> CartesiaTTSService:
    """Build Cartesia's streaming voice."""
    own = dict(settings)
    if "generation_config" in own:
        own["generation_config"] = GenerationConfig(**own["generation_config"])
    chosen = CartesiaTTSService.Settings(voice=voice, **own)
    if base_url is None:
        return CartesiaTTSService(api_key=key, settings=chosen)
    return CartesiaTTSService(api_key=key, url=_cartesia_url(base_url), settings=chosen)


def _cartesia_url(base_url: str) -> str:
    """Return the address of the voice's socket on a server that is named by any address."""
    parts = urlsplit(base_url)
    scheme = {"http": "ws", "https": "wss"}.get(parts.scheme, parts.scheme)
    path = parts.path.rstrip("/") or CARTESIA_PATH
    return urlunsplit((scheme, parts.netloc, path, parts.query, ""))
