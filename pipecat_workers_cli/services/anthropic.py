"""Anthropic's LLM."""

from collections.abc import Mapping
from typing import Any

from anthropic import AsyncAnthropic, DefaultAsyncHttpxClient
from pipecat.services.anthropic.llm import AnthropicLLMService

from pipecat_workers_cli.services.cloud import ATTEMPT_TIMEOUT, HOOKS, RETRIES
from pipecat_workers_cli.services.providers import TOOL_TIMEOUT, Persona
from pipecat_workers_cli.services.tls import tls

ANTHROPIC_URL = "https://api.anthropic.com"


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
        http_client=DefaultAsyncHttpxClient(verify=tls(), event_hooks=HOOKS),
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
