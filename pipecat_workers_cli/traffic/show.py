"""A recorded call in the forms it can be shown in: text, Mermaid, an eval scenario."""

import json
import re
from collections.abc import Iterable, Iterator

from pipecat_workers_cli.traffic.story import Step, Story, Turn, walk

SHORT = 120  # characters of a text in a line of its own
WORDS = 6  # of an answer that a scenario expects again
OBEYED = re.compile(r"[\x7f-\x9f]")  # JSON escapes those below the space
LIFELINE = re.compile(r"[^A-Za-z0-9_]")


def as_text(story: Story) -> Iterator[str]:
    """Tell a call in lines: a turn after the other, what was done for what as a tree."""
    told = story.introduction
    facts = [
        f"call {story.call}",
        story.recipe,
        str(told.get("hash", "")),
        str(told.get("began", "")),
    ]
    yield " · ".join(fact for fact in facts if fact)
    for turn in story.turns:
        yield ""
        yield f"turn {turn.number} · {_clock(turn.at_ms)}" + (
            f" · {turn.active}" if turn.active else ""
        )
        for step in turn.steps:
            yield from _tree(step, turn, "  ")
    yield ""
    if story.left_out:
        yield f"({story.left_out} messages came too fast to be recorded)"
    yield f"end: {story.reason}" if story.reason else "(the recording ends before the call does)"


def turn_as_text(story: Story, turn: Turn) -> Iterator[str]:
    """Tell what the worker of a turn was given, and why it was active."""
    yield f"turn {turn.number} of call {story.call}"
    if turn.active:
        yield f"active: {turn.active} ({turn.why})"
    for given in turn.given:
        yield ""
        yield f"{given.worker} was given at {_clock(given.at_ms)}:"
        if prompt := story.prompt(given.worker):
            yield f"  prompt: {' '.join(prompt.split())}"
        yield f"  tools: {', '.join(given.tools) or 'none'}"
        for message in given.messages:
            yield f"  {_message(message)}"
    yield ""
    for step in turn.steps:
        yield from _tree(step, turn, "")


def as_mermaid(story: Story) -> Iterator[str]:
    """Draw a call as a Mermaid sequence diagram."""
    names = ["caller", *_names(story)]
    yield "sequenceDiagram"
    for name in names:
        kind = "actor" if name == "caller" else "participant"
        yield f"    {kind} {_lifeline(name)} as {_label(name)}"
    for turn in story.turns:
        for step in walk(turn.steps):
            yield from (f"    {line}" for line in _arrows(step, turn))


def as_scenario(story: Story) -> Iterator[str]:
    """Make an eval scenario of a call: the caller's turns, and what came of each."""
    name = re.sub(r"[^A-Za-z0-9]+", "_", f"{story.recipe}_{story.call}").strip("_")
    yield f"# Made of call {story.call}. See what it is to promise, and leave out the rest."
    yield f"name: {json.dumps(name)}"
    yield "scenarios:"
    yield f"  - name: {json.dumps(name)}"
    yield "    user: { modality: text }"
    yield "    judge: { modality: text }"
    yield "    turns:"
    for turn in story.turns:
        said = next((step.text for step in turn.steps if step.what == "user"), None)
        expected = [*_expected(turn)]
        if said is not None:
            yield f"      - user: {_quoted(said)}"
        if expected:
            yield "        expect:" if said is not None else "      - expect:"
            yield from expected


def _expected(turn: Turn) -> Iterator[str]:
    for step in walk(turn.steps):
        if step.what == "tool":
            yield "          - event: function_call"
            yield "            check_from: turn_start"
            yield "            calls:"
            yield f"              - name: {json.dumps(step.name)}"
            if step.args:
                yield f"                args: {_quoted(step.args)}"
        elif step.what == "bot" and step.text and not _is_filler(step, turn):
            words = " ".join(step.text.split()[:WORDS])
            yield "          - event: response"
            yield "            check_from: turn_start"
            yield f"            text_contains: {_quoted(words)}"


def _is_filler(step: Step, turn: Turn) -> bool:
    """Tell whether something was said while a tool ran: an eval client may not hear of it."""
    return any(
        tool.what == "tool" and tool.at_ms <= step.at_ms < tool.at_ms + (tool.took_ms or 0)
        for tool in turn.steps
    )


def _tree(step: Step, turn: Turn, margin: str) -> Iterator[str]:
    after = f"+{(step.at_ms - turn.at_ms) / 1000:.2f} s"
    yield f"{margin}{after:>9}  {_line(step)}"
    inner = f"{margin}  "
    for note in step.told:
        yield f"{inner}{'':>9}  · {_short(note)}"
    for below in step.steps:
        yield from _tree(below, turn, inner)


def _line(step: Step) -> str:
    took = f" ({step.took_ms:,.0f} ms)" if step.took_ms is not None else ""
    match step.what:
        case "user":
            return f"user: {_flat(step.text)}"
        case "bot":
            parts = ", ".join(
                f"{name} {ms:.0f}" for name, ms in (step.parts or {}).items() if ms >= 1
            )
            return f"{step.worker}: {_flat(step.text)}{took}" + (f" [{parts}]" if parts else "")
        case "tool":
            ended = (
                f" → {_short(json.dumps(step.result, ensure_ascii=False))}" if step.state else ""
            )
            return f"{step.worker} calls {step.name}({_args(step.args)}){ended}{took}"
        case "job":
            told = f": {_short(step.text)}" if step.text else ""
            return f"job for {step.name} {step.state or 'still runs'}{told}{took}"
        case "transfer":
            return f"{step.worker} → {step.name}: {_flat(step.text)}"
        case _:
            return f"error {step.worker or ''}: {_flat(step.text)}"


def _arrows(step: Step, turn: Turn) -> Iterator[str]:
    worker = _lifeline(step.worker or turn.active or "caller")
    name = _lifeline(step.name or "")
    match step.what:
        case "user":
            yield f"caller->>{_lifeline(turn.active or 'caller')}: {_label(step.text)}"
        case "bot":
            yield f"{worker}->>caller: {_label(step.text)}"
        case "tool":
            yield f"Note over {worker}: {_label(f'{step.name}({_args(step.args)})')}"
        case "job":
            yield f"{worker}->>+{name}: {_label(_args(step.args) or 'job')}"
            ended = "x" if step.state in ("failed", "timeout", "cancelled") else ">>"
            yield f"{name}--{ended}-{worker}: {_label(step.text or step.state or 'still runs')}"
        case "transfer":
            yield f"{worker}-){name}: {_label(step.text or 'hands over')}"
        case _:
            yield f"Note over {worker}: {_label(f'error: {step.text}')}"


def _names(story: Story) -> list[str]:
    """Return who has to do with the call, in the order of the recipe, then of appearance."""
    seen: dict[str, None] = {}
    for turn in story.turns:
        for step in walk(turn.steps):
            target = step.name if step.what in ("job", "transfer") else None
            active = turn.active if step.what == "user" else None
            seen.update(dict.fromkeys(name for name in (active, step.worker, target) if name))
    known = [worker["name"] for worker in story.introduction.get("workers", ())]
    return [
        *(name for name in known if name in seen),
        *(name for name in seen if name not in known),
    ]


def _lifeline(name: str) -> str:
    """Make an identifier that is no word of Mermaid's own."""
    return name if name == "caller" else f"w_{LIFELINE.sub('_', name)}"


def _label(text: str | None) -> str:
    """Escape what would end a Mermaid line or begin a comment."""
    escaped = _short(text).replace("#", "#35;").replace(";", "#59;").replace("#35#59;", "#35;")
    return escaped.replace("<", "#lt;").replace(">", "#gt;").replace("%%", "%#37;") or " "


def _quoted(value: object) -> str:
    """Return what YAML reads as `value`, with nothing in it that a terminal obeys."""
    text = json.dumps(value, ensure_ascii=False)
    return OBEYED.sub(lambda sign: f"\\u{ord(sign[0]):04x}", text)


def _args(args: dict[str, object] | None) -> str:
    pairs = (args or {}).items()
    return ", ".join(f"{name}={json.dumps(value, ensure_ascii=False)}" for name, value in pairs)


def _message(message: dict[str, object]) -> str:
    role, content = message.get("role", "?"), message.get("content")
    calls = message.get("tool_calls")
    said = content if isinstance(content, str) else json.dumps(content, ensure_ascii=False)
    return (
        f"{role}: {_short(said if content else json.dumps(calls or message, ensure_ascii=False))}"
    )


def _flat(text: str | None) -> str:
    return " ".join((text or "").split())


def _short(text: str | None) -> str:
    flat = _flat(text)
    return flat if len(flat) <= SHORT else f"{flat[: SHORT - 1]}…"


def _clock(ms: int) -> str:
    minutes, seconds = divmod(ms / 1000, 60)
    return f"{int(minutes)}:{seconds:05.2f}"


def lines(parts: Iterable[Iterator[str]]) -> Iterator[str]:
    """Give the lines of several calls, an empty one between two."""
    for number, part in enumerate(parts):
        if number:
            yield ""
        yield from part
