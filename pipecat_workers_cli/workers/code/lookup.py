"""Finding what a question names: definitions and files, as written or as they are heard."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Protocol

from pipecat_workers_cli.workers.code.questions import Question
from pipecat_workers_cli.workers.code.sources import Sources
from pipecat_workers_cli.workers.code.spoken import distinct, normal
from pipecat_workers_cli.workers.code.symbols import Definition, definitions, is_code, is_test

FILE_NOUNS = ("file", "module", "script")
KIND_NOUNS = {"function": ("function", "method"), "method": ("method", "function")}
WEIGHT = {"function": 1, "method": 2, "constant": 3, "field": 4}  # all that is like a class: 0


class Tell(Protocol):
    """Told each step of a search: what it is in words, and the tool that it is."""

    def __call__(self, text: str, tool: str, **args: str) -> None:
        """Take note of a step."""
        ...


@dataclass(frozen=True, slots=True)
class Subject:
    """What "it" means in the next question: a name, a file, or neither."""

    name: str = ""
    path: str = ""


@dataclass(frozen=True, slots=True)
class Found:
    """An answer, and what it was about; a subject of None leaves the one before."""

    text: str
    subject: Subject | None = None


Answerer = Callable[[Sources, Question, Tell], Found]


def find_definitions(sources: Sources, subject: str, noun: str = "") -> list[Definition]:
    """Return the definitions that a name means, the likeliest first.

    Args:
        sources: The files.
        subject: A name as it is written, or as it is said: `WorkerRunner`, `worker runner`.
        noun: What it was called, such as `class`; others count only if there is none such.
    """
    owner, _, name = subject.strip("/").rpartition(".")
    if not re.search(r"\w", name):
        return []
    spellings = _spellings(name)
    found = [
        one
        for path, text in sources.containing(spellings, code_paths(sources))
        for one in definitions(path, text)
        if one.name in spellings and (not owner or normal(owner).endswith(normal(one.within)))
    ]
    if not found and len(normal(name)) > 2:
        found = _find_by_sound(sources, name)
    wanted = KIND_NOUNS.get(noun, (noun,))
    right = [one for one in found if one.kind in wanted]
    return sorted(right or found, key=lambda one: _rank(one, name))


def _find_by_sound(sources: Sources, name: str) -> list[Definition]:
    """Find a name that is heard alike, else the shortest in which all its words stand."""
    words = [normal(word) for word in re.split(r"[\s_-]+", name)]
    alike: list[Definition] = []
    holding: list[Definition] = []
    for path, text in sources.texts(code_paths(sources)):
        for one in definitions(path, text):
            heard = normal(one.name)
            if heard == "".join(words):
                alike.append(one)
            elif len(words) > 1 and all(word in heard for word in words):
                holding.append(one)
    shortest = min((len(one.name) for one in holding), default=0)
    return alike or [one for one in holding if len(one.name) == shortest]


def _spellings(name: str) -> list[str]:
    words = [word for word in re.split(r"[\s_-]+", name) if word]
    capital = [word[:1].upper() + word[1:] for word in words]
    snake = "_".join(words)
    forms = (name, snake, snake.lower(), snake.upper(), "".join(capital))
    return distinct([*forms, words[0].lower() + "".join(capital[1:]), "".join(words)])


def _rank(one: Definition, name: str) -> tuple[bool, bool, int, int, str, int]:
    depth = one.path.count("/")
    return (
        *(is_test(one.path), one.name != name, WEIGHT.get(one.kind, 0)),
        *(depth, one.path, one.line),
    )


def find_files(sources: Sources, question: Question, *, sure: bool = False) -> list[str]:
    """Return the files, or the one folder, that a subject names.

    Args:
        sources: The files.
        question: Its noun tells whether a file is meant at all.
        sure: Only where nothing else can be meant: by noun, by an ending, by a slash.
    """
    said = question.subject.strip("/").lower()
    if not said or (
        question.noun and question.noun not in (*FILE_NOUNS, "folder", "directory", "package")
    ):
        return []
    ended = PurePosixPath(said).suffix != "" or "/" in said
    if sure and not ended and not question.noun:
        return []
    whole = [path for path in sources.paths if f"/{path.lower()}".endswith(f"/{said}")]
    if whole:
        return sorted(whole, key=lambda path: (is_test(path), path.count("/"), path))
    if ended and "/" not in said:
        return []
    folder = [path for path in sources.paths if f"/{said}/" in f"/{path.lower()}"]
    heard = normal(said)
    tails = [path for path in sources.paths if normal(path.rpartition(".")[0]).endswith(heard)]
    stems = [path for path in sources.paths if normal(PurePosixPath(path).stem) == heard]
    if stems and question.noun not in ("folder", "directory", "package"):
        return sorted(stems, key=lambda path: (is_test(path), not is_code(path), path))
    if tails and " " in said:  # "recipe model" is heard of recipe/model.py
        return tails
    if folder:
        head, _, _ = f"/{folder[0]}".lower().partition(f"/{said}/")
        return [folder[0][: len(head) + len(said)].rstrip("/") + "/"]
    return []


def code_paths(sources: Sources) -> list[str]:
    """Return the files in which names are defined."""
    return [path for path in sources.paths if is_code(path)]
