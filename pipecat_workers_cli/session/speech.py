"""The offline voice and ears for scenarios, which name them as the factory of a service.

    user: {modality: audio, speech: {factory: pipecat_workers_cli.session.speech.voice}}
    judge: {modality: audio, transcription: {factory: pipecat_workers_cli.session.speech.ears}}

Pipecat's own, Kokoro and Moonshine's larger models, are downloaded when first used.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from pipecat_workers_cli.options import Profile, ServiceOptions
from pipecat_workers_cli.services.providers import Role, build_stt, build_tts, choose

if TYPE_CHECKING:
    from pipecat.services.stt_service import STTService
    from pipecat.services.tts_service import TTSService

OFFLINE = ServiceOptions(profile=Profile.OFFLINE)


def voice(config: Mapping[str, Any]) -> "TTSService":
    """Speak a scenario's turns by Piper.

    Args:
        config: The scenario's `user.speech`; its `voice` is one of `pmw voices`' Piper voices.
    """
    return build_tts(choose(Role.TTS, options=OFFLINE), config.get("voice"))


def ears(config: Mapping[str, Any]) -> "STTService":
    """Write down by Moonshine what a recipe's workers say; nothing of `config` counts."""
    return build_stt(choose(Role.STT, options=OFFLINE))
