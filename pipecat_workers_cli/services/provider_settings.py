"""The keys that a recipe may give a provider besides its name, and what each may be.

They are fields of Pipecat's own settings of that service, and two of ours: `base_url`, the
address of another server, and for an LLM `timeout`, in seconds. A list rather than a look at
Pipecat, so that a recipe is checked in no time; a test holds the two together.
"""

from dataclasses import dataclass

@dataclass(frozen=True, slots=True)
class Kind:
    """What a setting may be.

    Attributes:
        types: Python's types of it; a bool is no number.
        says: The same in words, for who wrote something else.
    """

    types: tuple[type, ...]
    says: str

    def fits(self, value: object) -> bool:
        """Say whether `value` is of this kind."""
        if isinstance(value, bool) and bool not in self.types:
            return False
        return isinstance(value, self.types)


FLAG = Kind((bool,), "true or false")
NUMBER = Kind((int, float), "a number")
TABLE = Kind((dict,), "a table")
TEXT = Kind((str,), "a text")
WHOLE = Kind((int,), "a whole number")
PAUSE = Kind((bool, int), "a number of milliseconds, or false")
TEXTS = Kind((str, list), "a text or a list of texts")

LLM_SETTINGS = {
    "temperature": NUMBER,
    "top_p": NUMBER,
    "max_tokens": WHOLE,
    "timeout": NUMBER,
    "base_url": TEXT,
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
    **dict.fromkeys(("base_url", "language", "version"), TEXT),
    **dict.fromkeys(("keyterm", "keywords", "redact", "replace", "search"), TEXTS),
    **dict.fromkeys(("detect_entities", "diarize", "dictation", "interim_results"), FLAG),
    **dict.fromkeys(("numerals", "profanity_filter", "punctuate", "smart_format"), FLAG),
    "endpointing": PAUSE,
    "utterance_end_ms": WHOLE,
    "extra": TABLE,
}
CARTESIA_SETTINGS = {
    "base_url": TEXT,
    "language": TEXT,
    "model": TEXT,
    "generation_config": TABLE,
    "pronunciation_dict_id": TEXT,
}
