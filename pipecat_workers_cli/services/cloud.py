"""The providers behind an API, and those that speak OpenAI's: Pipecat's services, bounded.

Each factory takes what `providers` read from the table: `model` or `voice`, the key, another
server's address or None, and the recipe's further settings, which have been checked. Their
names are those of Pipecat's own settings. Nothing connects before the pipeline starts.
"""

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any
from urllib.parse import urlsplit, urlunsplit

from anthropic import AsyncAnthropic
from anthropic import DefaultAsyncHttpxClient as AnthropicHttpClient
from openai import AsyncOpenAI
from openai import DefaultAsyncHttpxClient as OpenAIHttpClient
from pipecat.services.anthropic.llm import AnthropicLLMService
from pipecat.services.cartesia.tts import CartesiaTTSService, GenerationConfig
from pipecat.services.deepgram.stt import DeepgramSTTService
from pipecat.services.ollama.llm import OLLamaLLMService
from pipecat.services.openai.llm import OpenAILLMService

from pipecat_workers_cli.services.providers import TOOL_TIMEOUT, Persona
from pipecat_workers_cli.services.tls import tls

ATTEMPT_TIMEOUT = 8.0  # seconds without a byte; a caller hangs up in longer silence
LOCAL_ATTEMPT_TIMEOUT = 60.0  # seconds; a server at home may have to load the model first
RETRIES = 1  # for a connection that had gone stale, or a server's moment of trouble
OPENAI_HOST = "api.openai.com"
OLLAMA_URL = "http://localhost:11434/v1"
ANTHROPIC_URL = "https://api.anthropic.com"
CARTESIA_PATH = "/tts/websocket"


def build_deepgram(
    *, model: str, key: str, base_url: str | None, settings: Mapping[str, Any]
) -> DeepgramSTTService:
    """Build Deepgram's streaming ears."""
    return DeepgramSTTService(
        api_key=key,
        base_url=base_url or "",
        settings=DeepgramSTTService.Settings(model=model, **settings),
    )


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


def build_anthropic(
    *, model: str, key: str, base_url: str | None, settings: Mapping[str, Any], persona: Persona
) -> AnthropicLLMService:
    """Build Anthropic's LLM."""
    own = dict(settings)
    timeout = own.pop("timeout", ATTEMPT_TIMEOUT)
    client = AsyncAnthropic(
        api_key=key,
        base_url=base_url or ANTHROPIC_URL,
        timeout=timeout,
        max_retries=RETRIES,
        http_client=AnthropicHttpClient(verify=tls(), event_hooks=HOOKS),
    )
    extra = own.pop("extra", {})
    chosen = AnthropicLLMService.Settings.from_mapping(own)
    chosen.model = model
    chosen.extra = dict(extra)
    chosen.system_instruction = persona.prompt or None
    return _Anthropic(
        client=client,
        api_key=key,
        settings=chosen,
        function_call_timeout_secs=TOOL_TIMEOUT,
    )


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
            http_client=OpenAIHttpClient(verify=tls(), event_hooks=HOOKS),
        )
        return self._bounded_client

    async def cleanup(self) -> None:
        """Close what is open to the server."""
        await super().cleanup()
        await self._bounded_client.close()


class _Ollama(_OpenAI, OLLamaLLMService):  # pyright: ignore[reportIncompatibleMethodOverride]
    """The same for Ollama."""


class _Anthropic(AnthropicLLMService):
    """Says when the server fell silent, and closes its connections with the call."""

    def __init__(self, *, client: AsyncAnthropic, **options: Any) -> None:
        super().__init__(client=client, **options)
        self._bounded_client = client
        self.add_event_handler("on_completion_timeout", self._tell_of_timeout)

    async def _tell_of_timeout(self, _service: AnthropicLLMService) -> None:
        # Pipecat's OpenAI service does so itself, this one tells handlers alone.
        await self.push_error(error_msg="LLM completion timeout")

    async def cleanup(self) -> None:
        """Close what is open to the server."""
        await super().cleanup()
        await self._bounded_client.close()


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


async def _refuse_to_wait(response: Any) -> None:
    """Make a limit that was hit an error at once: the clients would wait a minute for it."""
    if response.status_code == HTTPStatus.TOO_MANY_REQUESTS:
        response.headers["x-should-retry"] = "false"


HOOKS = {"response": [_refuse_to_wait]}


def _cartesia_url(base_url: str) -> str:
    """Return the address of the voice's socket on a server that is named by any address."""
    parts = urlsplit(base_url)
    scheme = {"http": "ws", "https": "wss"}.get(parts.scheme, parts.scheme)
    path = parts.path.rstrip("/") or CARTESIA_PATH
    return urlunsplit((scheme, parts.netloc, path, parts.query, ""))
