"""Deepgram's ears."""

from collections.abc import Mapping
from typing import Any

from pipecat.services.deepgram.stt import DeepgramSTTService


def build_deepgram(
    *, model: str, key: str, base_url: str | None, settings: Mapping[str, Any]
) -> DeepgramSTTService:
    """Build Deepgram's streaming ears."""
    return DeepgramSTTService(
        api_key=key,
        base_url=base_url or "",
        settings=DeepgramSTTService.Settings(model=model, **settings),
    )
