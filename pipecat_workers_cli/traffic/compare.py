"""Two recorded calls compared by meaning: who said and did what, in which order."""

import json
import re
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from difflib import SequenceMatcher
from itertools import zip_longest
from types import MappingProxyType

from pipecat_workers_cli.errors import ConfigurationError, near_miss
from pipecat_workers_cli.options import Words
from pipecat_workers_cli.traffic.story import Step, Story, walk

CONTEXT = 3  # steps shown before the first that differs
ALIKE = 0.6  # of two texts' words in common, from which fuzzy words count as the same
NUMBER = re.compile(r"\d+(?:[.,]\d+)*")


ASPECTS: Mapping[str, str] = MappingProxyType(
    {
        "user": "the caller's turns",
        "bot": "the workers' turns",
        "tool": "calls of tools",
        "args": "the arguments of tools and jobs",
        "result": "what tools gave",
        "transfer": "handing the call over",
        "reason": "why it was handed over, why the call ended",
        "job": "jobs and how they ended",
        "error": "errors",
        "end": "how the call ended",
    }
)
"""What can be left out of a comparison."""


@dataclass(frozen=True, slots=True)
class Trait:
    """One step of a call, without what doesn't count: ids and times.

    Attributes:
        line: As it is shown.
        what: What must be the same.
        words: What is compared by how much words count.
    """

    line: str
    what: tuple[str, ...]
    words: str = ""


@dataclass(frozen=True, slots=True)
class Divergence:
    """The first place at which two calls differ.

    Attributes:
        before: The last steps that both have.
        one: The next of the first call; None if it is over.
        other: Likewise of the second.
        turn: The turn it is in, from 0.
    """

    before: tuple[str, ...]
    one: str | None
    other: str | None
    turn: int


def find_divergence(
    one: Story, other: Story, *, words: Words = Words.EXACT, ignore: Collection[str] = ()
) -> Divergence | None:
    """Compare two calls.

    Args:
        one: The call as it was, or is to be.
        other: The call as it is.
        words: How much the words of turns count.
        ignore: Aspects that don't count, of `ASPECTS`.

    Returns:
        None if they are alike.

    Raises:
        ConfigurationError: There is no such aspect.
    """
    for aspect in ignore:
        if aspect not in ASPECTS:
            what = f"nothing called '{aspect}' can be left out of a comparison"
            raise ConfigurationError(what, mend=near_miss(aspect, ASPECTS))
    same = _SAME[words]
    before: list[str] = []
    turn = 0
    pairs = zip_longest(traits(one, ignore=ignore), traits(other, ignore=ignore))
    for mine, yours in pairs:
        turn += all(trait is None or trait.what[0] == "user" for trait in (mine, yours))
        if mine is None or yours is None or mine.what != yours.what or not same(mine, yours):
            first, second = (trait and trait.line for trait in (mine, yours))
            return Divergence(tuple(before[-CONTEXT:]), first, second, turn)
        before.append(mine.line)
    return None


def traits(story: Story, *, ignore: Collection[str] = ()) -> Iterator[Trait]:
    """Give what counts of a call, in its order; jobs asked for at once in that of their names."""
    for turn in story.turns:
        for step in _in_order(turn.steps):
            if step.what not in ignore:
                yield _trait(step, ignore)
    if "end" not in ignore:
        reason = "" if "reason" in ignore else story.reason or ""
        ended = "ended" if story.reason is not None else "goes on"
        yield Trait(f"end: {story.reason}" if story.reason else "(no end)", ("end", ended, reason))


def _in_order(steps: list[Step]) -> Iterator[Step]:
    waiting: list[Step] = []
    for step in walk(steps):
        if step.what == "job":
            waiting.append(step)
            continue
        yield from sorted(waiting, key=lambda job: job.name or "")
        waiting.clear()
        yield step
    yield from sorted(waiting, key=lambda job: job.name or "")


def _trait(step: Step, ignore: Collection[str]) -> Trait:
    args = "" if "args" in ignore else json.dumps(step.args or {}, sort_keys=True)
    name, worker, state = step.name or "", step.worker or "", step.state or ""
    match step.what:
        case "user":
            return Trait(f"user: {step.text}", ("user",), step.text or "")
        case "bot":
            return Trait(f"{worker}: {step.text}", ("bot", worker), step.text or "")
        case "tool":
            result = "" if "result" in ignore else json.dumps(step.result, sort_keys=True)
            line = f"{worker} calls {name}({args}) → {state} {result}"
            return Trait(line, ("tool", worker, name, args, state), result)
        case "job":
            return Trait(f"job for {name}({args}) {state}: {step.text}",
                         ("job", worker, name, args, state), step.text or "")  # fmt: skip
        case "transfer":
            reason = "" if "reason" in ignore else step.text or ""
            return Trait(f"{worker} → {name}: {step.text}", ("transfer", worker, name), reason)
        case _:
            return Trait(f"error {worker}: {step.text}", ("error", worker), step.text or "")


def _exactly(one: Trait, other: Trait) -> bool:
    return one.words.split() == other.words.split()


def _about(one: Trait, other: Trait) -> bool:
    """Take other words for the same, but no other number: a price that changed is a change."""
    first, second = (re.findall(r"[\w']+", trait.words.casefold()) for trait in (one, other))
    numbers = [sorted(NUMBER.findall(trait.words)) for trait in (one, other)]
    return numbers[0] == numbers[1] and SequenceMatcher(None, first, second).ratio() >= ALIKE


_SAME: Mapping[Words, Callable[[Trait, Trait], bool]] = MappingProxyType(
    {Words.EXACT: _exactly, Words.FUZZY: _about, Words.OFF: lambda _one, _other: True}
)
