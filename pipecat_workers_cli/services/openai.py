"""OpenAI's LLM, and those of servers that speak as it does."""

from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from openai import AsyncOpenAI, DefaultAsyncHttpxClient
from pipecat.services.ollama.llm import OLLamaLLMService
from pipecat.services.openai.llm import OpenAILLMService

from pipecat_workers_cli.services.cloud import (
    ATTEMPT_TIMEOUT,
    HOOKS,
    LOCAL_ATTEMPT_TIMEOUT,
    RETRIES,
)
from pipecat_workers_cli.services.providers import TOOL_TIMEOUT, Persona
from pipecat_workers_cli.services.tls import tls

OPENAI_HOST = "api.openai.com"
OLLAMA_URL = "http://localhost:11434/v1"


def build_openai(
    *, model: str, key: str, base_url: str | None, settings: Mapping[str, Any], persona: Persona
) -> OpenAILLMService:
    """Build OpenAI's LLM, or that of any server which speaks the same."""
    service = _OpenAI(
        **_openai_options(
            model=model,
            key=key,
            base_url=base_url,
            settings=settings,
            persona=persona,
            timeout=ATTEMPT_TIMEOUT,
        )
    )
    if base_url and urlsplit(base_url).hostname != OPENAI_HOST:
        # Few of the others know the role; Pipecat then words such a message as the user's.
        service.supports_developer_role = False
    return service


def build_ollama(
    *, model: str, base_url: str | None, settings: Mapping[str, Any], persona: Persona
) -> OLLamaLLMService:
    """Build an Ollama server's LLM."""
    return _Ollama(
        **_openai_options(
            model=model,
            key="ollama",
            base_url=base_url or OLLAMA_URL,
            settings=settings,
            persona=persona,
            timeout=LOCAL_ATTEMPT_TIMEOUT,
            kind=OLLamaLLMService.Settings,
        )
    )


class _OpenAI(OpenAILLMService):
    """Gives up on a silent server, and closes its connections with the call."""

    def __init__(self, *, attempt_timeout: float, **options: Any) -> None:
        self._attempt_timeout = attempt_timeout
        super().__init__(**options)

    def create_client(  # pyright: ignore[reportIncompatibleMethodOverride]
        self, api_key: str | None = None, base_url: str | None = None, **_: Any
    ) -> AsyncOpenAI:
        """Return a client that waits for bytes no longer than the timeout, streaming too."""
        self._bounded_client = AsyncOpenAI(
            api_key=api_key,
            base_url=base_url,
            timeout=self._attempt_timeout,
            max_retries=RETRIES,
            http_client=DefaultAsyncHttpxClient(verify=tls(), event_hooks=HOOKS),
        )
        return self._bounded_client

    async def cleanup(self) -> None:
        """Close what is open to the server."""
        await super().cleanup()
        await self._bounded_client.close()


class _Ollama(_OpenAI, OLLamaLLMService):  # pyright: ignore[reportIncompatibleMethodOverride]
    """The same for Ollama."""


def _openai_options(
    *,
    model: str,
    key: str,
    base_url: str | None,
    settings: Mapping[str, Any],
    persona: Persona,
    timeout: float,
    kind: type[OpenAILLMService.Settings] = OpenAILLMService.Settings,
) -> dict[str, Any]:
    """Return what the service of OpenAI or of a server like it is built with."""
    own = dict(settings)
    return {
        "api_key": key,
        "base_url": base_url,
        "attempt_timeout": own.pop("timeout", timeout),
        "function_call_timeout_secs": TOOL_TIMEOUT,
        "settings": kind(model=model, system_instruction=persona.prompt or None, **own),
    }
