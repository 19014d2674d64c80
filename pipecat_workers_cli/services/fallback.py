"""What the scripted LLM says when no rule of its script fits, so that every recipe talks.

Pure, like `script`: words and calls are made from the worker's name, its summary and the
tools that the conversation offers, and nothing else.
"""

import re
from collections.abc import Sequence
from typing import cast

from pipecat_workers_cli.recipe.names import END, TRANSFER
from pipecat_workers_cli.services.providers import Persona
from pipecat_workers_cli.services.script import (
    MATCHED,
    Answer,
    Call,
    Say,
    Tool,
    Tools,
    speakable,
)
from pipecat_workers_cli.services.trigger import Trigger

SPOKEN = 1_500  # characters of a result that are read out: some one and a half minutes

GOODBYE = re.compile(
    r"""\b(?:good[\s-]?bye | bye(?:[\s-]?bye)? | farewell | hang\s+up | see\s+(?:you|ya)\b
    | (?:end|finish)\s+(?:the|this)\s+(?:call|conversation) | (?:have\s+to|gotta|must)\s+go)\b
    | ^\W*(?:ok(?:ay)?\W+|thanks?\W+|thank\s+you\W+)*good\s+(?:buy|by)\W*$""",
    re.IGNORECASE | re.VERBOSE,
)
"""A caller who is leaving; "good buy" is how speech recognition may write it."""

STAYING = re.compile(r"\b(?:don.?t|do\s+not|never|before\s+(?:i|you|we))\b", re.IGNORECASE)
"""Ahead of a goodbye, these mean that the caller is not leaving yet."""

REPEAT = re.compile(r"\b(?:repeat|not\s+recogni[sz]ed)\b", re.IGNORECASE)
"""In a developer message that is no cue: Pipecat asks so after a turn without words."""

THANKS = re.compile(r"\bthank(?:s|\s+you)\b", re.IGNORECASE)
WHO = re.compile(
    r"^\W*(?:hello|hi|hey|good\s+(?:morning|afternoon|evening))\b|\bwho\s+are\s+you\b|\byour\s+name\b",
    re.IGNORECASE,
)

ABOUT = re.compile(r"\babout\s+(.+?)\W*$", re.IGNORECASE)
"""What a reason for handing over is about."""

VERBS = re.compile(
    r"(?:answer|argue|ask|book|bring|call|care|check|collect|compare|control|deal|doe|explain|find"
    r"|fixe|give|greet|handle|ha|help|keep|know|list|listen|look|make|measure|moderate|offer|passe"
    r"|plan|read|repair|run|say|sell|send|set|solve|speak|take|teache|tell|track|translate|watche"
    r"|welcome|work|write)s"
)
"""First words of summaries such as "knows every product" that can follow "I'm the one who"."""


def improvise(persona: Persona, trigger: Trigger, tools: Tools) -> Answer | None:
    """Answer without a rule.

    Args:
        persona: Who speaks.
        trigger: What is to be answered.
        tools: What may be called.

    Returns:
        None if silence is right: after a transfer has gone through, the next agent speaks.
    """
    match trigger.kind:
        case "opening":
            return Say(f"Hello, {introduction(persona)} What can I do for you?")
        case "prompt" if REPEAT.search(trigger.texts[0][:MATCHED]):
            return Say("I'm sorry, I didn't catch that. Could you say it again?")
        case "prompt":
            return Say("I'm still here. What can I do for you?")
        case "tool":
            return _tell_result(trigger)
        case "transfer":
            return _take_over(persona, trigger, tools)
        case "user":
            return _answer_words(persona, trigger, tools)


def introduction(persona: Persona) -> str:
    """Say who speaks, as what follows "Hello,": the name and, if there is one, the summary."""
    return f"this is {_spoken_name(persona.name)}. {_role(persona)}".rstrip()


def _answer_words(persona: Persona, trigger: Trigger, tools: Tools) -> Answer:
    words = trigger.texts[0][:MATCHED]
    for target in _targets(tools):
        if _names(target, words):
            reason = f"the caller asked for {_spoken_name(target)}"
            return Call(TRANSFER, {"agent": target, "reason": reason})
    if END in tools and _leaves(words):
        return Call(END, {"reason": "the caller said goodbye"})
    return _pass_on(words, tools) or Say(_no_rule(persona, words, tools))


def _take_over(persona: Persona, trigger: Trigger, tools: Tools) -> Answer:
    heard = trigger.heard[:MATCHED].strip()
    # Who only asked to be put through has no question yet that a tool could answer.
    question = "" if _names(persona.name, heard) else heard
    if call := _pass_on(question, tools):
        return call
    hello = f"Hello, {introduction(persona)}"
    if question:
        return Say(f"{hello} You said: {_sentence(question[:200])} Could you tell me more?")
    topic = ABOUT.search(trigger.texts[-1][:200])
    hint = f" I hear it's about {topic[1]}." if topic else ""
    return Say(f"{hello}{hint} What would you like to know?")


def _tell_result(trigger: Trigger) -> Say | None:
    result = trigger.result
    if trigger.cancelled:
        return Say("I'm sorry, that took too long and I had to stop. Shall I try again?")
    if isinstance(result, dict):
        told = cast("dict[str, object]", result)
        if told.get("error"):
            trouble = speakable(told["error"])[:SPOKEN].rstrip(". ")
            return Say(f"I'm sorry, that didn't work: {trouble}. Is there anything else?")
        if trigger.tool == TRANSFER:
            return None
        result = _without_wrapping(told)
    if trigger.tool == END:
        return Say("Thank you for calling. Goodbye!")
    return Say(_sentence(speakable(result)[:SPOKEN]) or "That's done.")


def _without_wrapping(result: dict[str, object]) -> object:
    """Take a lone text out of its dict, and word who of a job group didn't answer."""
    told = {key: value for key, value in result.items() if key != "missing"}
    missing = result.get("missing")
    if not isinstance(missing, list):  # some tool's own key
        told = result
    inner = next(iter(told.values())) if len(told) == 1 else None
    words = inner if isinstance(inner, str) else speakable(told)
    if isinstance(missing, list) and missing:
        names = speakable(cast("list[object]", missing))
        return f"{_sentence(words)} I had no answer from {names}.".strip()
    return words


def _no_rule(persona: Persona, words: str, tools: Tools) -> str:
    """Say so kindly, and what could be asked instead; a courtesy is answered by one."""
    if THANKS.search(words):
        return "You're welcome. Is there anything else?"
    if WHO.search(words):
        return f"Hello, {introduction(persona)} What can I do for you?"
    offers = [role] if (role := _role(persona)) else []
    if targets := _targets(tools):
        names = _either([f'"{_spoken_name(target)}"' for target in targets])
        offers.append(f"Say {names} and I'll put you through.")
    if not words.strip():
        start = "I'm sorry, I didn't catch that."
    else:
        start = "I'm sorry, I don't have an answer to that."
    return " ".join([start, *(offers or ["Could you put it another way?"])])


def _pass_on(words: str, tools: Tools) -> Call | None:
    """Call the only job tool there is with the caller's words, if there is just one."""
    jobs = [tool for name, tool in tools.items() if name not in (TRANSFER, END)]
    jobs = [tool for tool in jobs if _free_texts(tool)]
    if len(jobs) != 1 or not words.strip():
        return None
    tool = jobs[0]
    texts = _free_texts(tool)
    needed = [name for name in texts if name in tool.required] or texts[:1]
    if set(tool.required) - set(needed):
        return None  # it wants more than words
    return Call(tool.name, dict.fromkeys(needed, words))


def _free_texts(tool: Tool) -> list[str]:
    return [
        name
        for name, schema in tool.properties.items()
        if schema.get("type") == "string" and not schema.get("enum")
    ]


def _targets(tools: Tools) -> list[str]:
    tool = tools.get(TRANSFER)
    schema = tool.properties.get("agent", {}) if tool else {}
    return [str(name) for name in schema.get("enum") or ()]


def _names(name: str, words: str) -> bool:
    spoken = re.escape(_spoken_name(name)).replace(r"\ ", r"[\s_-]*")
    return re.search(rf"\b{spoken}\b", words, re.IGNORECASE) is not None


def _leaves(words: str) -> bool:
    found = GOODBYE.search(words)
    return found is not None and STAYING.search(words[: found.start()]) is None


def _role(persona: Persona) -> str:
    """Make a sentence of the summary's first clause; empty without a summary."""
    clause = re.split(r"[;.](?:\s|$)", persona.summary.strip(), maxsplit=1)[0].strip()
    if not clause:
        return ""
    first = clause.split()[0].lower()
    if VERBS.fullmatch(first):
        return f"I'm the one who {first}{clause[len(first) :]}."
    if first in ("a", "an", "the", "your"):
        return f"I'm {first}{clause[len(first) :]}."
    return f"I'm {clause}." if "'s" in first else f"In short: {clause}."


def _spoken_name(name: str) -> str:
    return name.replace("_", " ").replace("-", " ")


def _either(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} or {names[-1]}"


def _sentence(text: str) -> str:
    text = text.strip()
    return text if not text or text.endswith((".", "!", "?")) else f"{text}."
