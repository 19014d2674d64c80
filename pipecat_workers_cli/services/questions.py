"""What each provider is asked to learn whether it takes a key: one request that costs nothing."""

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Question:
    """A GET request.

    Attributes:
        server: Where it is asked, unless the recipe or the row's variable names another.
        path: What follows; `{model}` is the model, for a voice the voice's id.
        headers: `{key}` is the key.
        key_begins: What the provider's keys begin with; empty where they have no such mark.
        lists: The answer lists the models under `data`, each with its `id`.
        fetch: The command that gets a model which isn't there; empty where none does.
        socket: The path of the provider's socket, which an address may end with.
    """

    server: str
    path: str
    headers: Mapping[str, str] = field(default_factory=dict)
    key_begins: str = ""
    lists: bool = False
    fetch: str = ""
    socket: str = ""


BEARER = {"Authorization": "Bearer {key}"}
ASK_DEEPGRAM = Question(
    "https://api.deepgram.com", "/v1/auth/token", {"Authorization": "Token {key}"}
)
ASK_OPENAI = Question("https://api.openai.com/v1", "/models", BEARER, key_begins="sk-", lists=True)
ASK_OLLAMA = Question(
    "http://localhost:11434/v1", "/models", lists=True, fetch="ollama pull {model}"
)
ASK_ANTHROPIC = Question(
    "https://api.anthropic.com",
    "/v1/models/{model}",
    {"x-api-key": "{key}", "anthropic-version": "2023-06-01"},
    key_begins="sk-ant-",
)
ASK_CARTESIA = Question(
    "https://api.cartesia.ai",
    "/voices/{model}",
    {"X-API-Key": "{key}", "Cartesia-Version": "2026-08-14"},
    key_begins="sk_car_",
    socket="/tts/websocket",
)
