"""The keys that a recipe may give a provider besides its name, and what each may be.

They are fields of Pipecat's own settings of that service, and two of ours: `base_url`, the
address of another server, and for an LLM `timeout`, in seconds. A list rather than a look at
Pipecat, so that a recipe is checked in no time; a test holds the two together.
"""

from dataclasses import dataclass
from typing import cast
from urllib.parse import urlsplit


@dataclass(frozen=True, slots=True)
class Kind:
    """What a setting may be.

    Attributes:
        types: Python's types of it; a bool is no number.
        mend: What to write instead of something else, in the imperative.
        schemes: For an address, what it may begin with; empty for all else.
        keys: For a table, the keys it may have; empty for any.
    """

    types: tuple[type, ...]
    mend: str
    schemes: tuple[str, ...] = ()
    keys: tuple[str, ...] = ()

    def fits(self, value: object) -> bool:
        """Say whether `value` is of this kind."""
        if isinstance(value, bool) and bool not in self.types:
            return False
        if not isinstance(value, self.types):
            return False
        if isinstance(value, dict) and self.keys:
            return set(cast(dict[str, object], value)) <= set(self.keys)
        return not self.schemes or _is_address(str(value), self.schemes)


def _is_address(text: str, schemes: tuple[str, ...]) -> bool:
    try:
        parts = urlsplit(text)
        return parts.scheme in schemes and bool(parts.hostname) and parts.port != 0
    except ValueError:  # brackets without an end, a port that is no number
        return False


FLAG = Kind((bool,), "write true or false")
NUMBER = Kind((int, float), "write a number")
TABLE = Kind((dict,), "write a table, { key = value }")
TEXT = Kind((str,), "write a text")
WHOLE = Kind((int,), "write a whole number")
PAUSE = Kind((bool, int), "write milliseconds, or false")
TEXTS = Kind((str, list), "write a text or a list of texts")
MANNER = Kind(
    (dict,),
    "write { volume = 1.0, speed = 1.0, emotion = 'calm' }",
    keys=("volume", "speed", "emotion"),
)
HTTP = Kind((str,), "write it as https://HOST[:PORT][/PATH]", ("http", "https"))
SOCKET = Kind((str,), "write it as wss://HOST[:PORT]", ("ws", "wss", "http", "https"))

LLM_SETTINGS = {
    "temperature": NUMBER,
    "top_p": NUMBER,
    "max_tokens": WHOLE,
    "timeout": NUMBER,
    "base_url": HTTP,
    "extra": TABLE,
}
OPENAI_SETTINGS = LLM_SETTINGS | {
    "max_completion_tokens": WHOLE,
    "frequency_penalty": NUMBER,
    "presence_penalty": NUMBER,
    "seed": WHOLE,
}
ANTHROPIC_SETTINGS = LLM_SETTINGS | {
    "top_k": WHOLE,
    "enable_prompt_caching": FLAG,
    "system_prompt_cache_ttl": TEXT,
    "thinking": TABLE,
    "effort": TEXT,
}
DEEPGRAM_SETTINGS = {
    "base_url": SOCKET,
    **dict.fromkeys(("language", "version"), TEXT),
    **dict.fromkeys(("keyterm", "keywords", "redact", "replace", "search"), TEXTS),
    **dict.fromkeys(("detect_entities", "diarize", "dictation", "interim_results"), FLAG),
    **dict.fromkeys(("numerals", "profanity_filter", "punctuate", "smart_format"), FLAG),
    "endpointing": PAUSE,
    "utterance_end_ms": WHOLE,
    "extra": TABLE,
}
CARTESIA_SETTINGS = {
    "base_url": SOCKET,
    "language": TEXT,
    "model": TEXT,
    "generation_config": MANNER,
    "pronunciation_dict_id": TEXT,
}
