"""Wording for the ear: counts, short lists, first sentences, names as they are said."""

import re
from collections.abc import Iterable, Sequence

NAMED = 3  # things of a list that are named; whoever listens keeps no more
LONGEST_SENTENCE = 220  # characters, some fifteen seconds


def count(number: int, noun: str, plural: str = "") -> str:
    """Word a number of things: `no files`, `one file`, `12 files`, `12,000 files`."""
    words = {0: "no", 1: "one"}
    many = noun if number == 1 else (plural or f"{noun}s")
    return f"{words.get(number, f'{number:,}')} {many}"


def listed(things: Sequence[str], *, most: int = NAMED) -> str:
    """Word a list: all of a short one, the beginning of a long one and how many more."""
    if len(things) > most + 1:
        return f"{', '.join(things[:most])} and {len(things) - most} more"
    if len(things) < 2:
        return "".join(things)
    return f"{', '.join(things[:-1])} and {things[-1]}"


def first_sentence(text: str) -> str:
    """Return the first sentence of a documentation text, plain and not endless."""
    paragraph = re.split(r"\n\s*\n", text.strip(), maxsplit=1)[0]
    paragraph = re.sub(r"!?\[([^\]\n]{0,100})\]\([^)\n]{0,300}\)", r"\1", paragraph)
    plain = re.sub(r"[`*_#]{1,3}(?=\S)|(?<=\S)[`*]{1,3}", "", " ".join(paragraph.split()))
    found = re.match(r".{1,400}?[.!?](?=\s|$)", plain)
    sentence = found[0] if found else plain
    if len(sentence) > LONGEST_SENTENCE:
        sentence = f"{sentence[:LONGEST_SENTENCE].rsplit(' ', 1)[0]} and so on."
    sentence = sentence.rstrip(" :;,-")
    return sentence if not sentence or sentence.endswith((".", "!", "?")) else f"{sentence}."


def joined(*sentences: str) -> str:
    """Put sentences together, leaving out the empty ones."""
    return " ".join(sentence for sentence in sentences if sentence)


def normal(name: str) -> str:
    """Reduce a name to what is heard of it: `WorkerRunner`, `worker_runner`: `workerrunner`."""
    return re.sub(r"[^a-z0-9]", "", name.lower())


def distinct(things: Iterable[str]) -> list[str]:
    """Return things in order, each once."""
    return list(dict.fromkeys(things))
