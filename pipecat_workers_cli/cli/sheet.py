"""The live table as a picture: a snapshot in, lines of a given width and height out."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from rich.cells import cell_len

from pipecat_workers_cli.cli.cells import Line, Sheet, Span, fit_line
from pipecat_workers_cli.cli.parts import (
    FAINT,
    MOST_LINES,
    WIDE,
    Part,
    calls_part,
    clock,
    edges_part,
    jobs_part,
    messages_part,
    readings_part,
    workers_part,
)

if TYPE_CHECKING:
    from pipecat_workers_cli.traffic.snapshot import Snapshot

AIRY = 30  # lines from which there is an empty one between the parts
GAP = 2  # columns between the two halves


@dataclass(frozen=True, slots=True)
class Header:
    """What stands above the table.

    Attributes:
        recipe: Its name.
        hash: Which version of it the next call runs, as far as is known.
        address: The page's; None if there is no page.
        link: What `o` opens: the address with the page token, if there is one.
        providers: Who hears, thinks and speaks, and why these.
        ending: How to end.
        max_calls: How many calls this session takes at once; None if it isn't bounded.
    """

    recipe: str
    address: str | None
    providers: str
    ending: str
    max_calls: int | None = None
    link: str | None = field(default=None, repr=False)
    hash: str = ""


def render_table(
    snapshot: "Snapshot",
    header: Header,
    width: int,
    height: int,
    *,
    lag: float = 0.0,
    keys: bool = True,
) -> Sheet:
    """Draw a snapshot.

    Args:
        snapshot: What was seen.
        header: What stands above it.
        width: Columns; no line is wider.
        height: Lines; there are no more.
        lag: How late the event loop is, in seconds.
        keys: Whether keys can be read, and are to be named.

    Returns:
        What Rich prints.
    """
    status = [(_status(snapshot, header, lag), ""), (" · ? help" if keys else "", FAINT)]
    lines = [*_header(header, width, keys), fit_line(status, width), fit_line((), width)]
    room = height - len(lines)
    if not snapshot.calls and not snapshot.ended:
        where = f"open {header.address}" if header.address else "waiting for one"
        lines.append(fit_line(((f"No call yet: {where}.", ""),), width))
    elif width >= WIDE:
        lines += _beside(snapshot, width, room)
    else:
        parts = (
            workers_part(snapshot, width),
            readings_part(snapshot, width),
            edges_part(snapshot, width),
            jobs_part(snapshot, width),
            messages_part(snapshot, width, 1 if room < AIRY else MOST_LINES),
            calls_part(snapshot, width),
        )
        lines += _stack(parts, width, room)
    return Sheet(tuple(lines[: max(0, height)]))


def render_help(header: Header, width: int, height: int) -> Sheet:
    """Draw what the keys do and what the table's signs mean."""
    page = "o       open the page in a browser" if header.address else None
    texts = (
        "q       end the session",
        page,
        "?       this help, and back",
        "",
        "●       the worker is active: it has the call; ●3 means in three calls",
        "turn    the conversation on its way to a worker, which then answers",
        "text    words on their way from a worker to the caller",
        "audio   sound; its count is in frames, mostly of 20 ms",
        "flush   a worker makes sure that all before has arrived",
        "frame   all other frames, summed up",
        "reading a figure that a worker measured; its latest ones are drawn as a line",
        "*       as a target: everybody",
        "rate/s  messages a second over the last five seconds",
        "last    how long ago the latest one was",
        "lag     how late this process comes to its work; at 100 ms callers hear busy",
    )
    lines = [
        *_header(header, width, True),
        fit_line((), width),
        *(fit_line(((text, ""),), width) for text in texts if text is not None),
    ]
    return Sheet(tuple(lines[: max(0, height)]))


def _header(header: Header, width: int, keys: bool) -> list[Line]:
    name: list[Span] = [(header.recipe, "bold")]
    if header.hash:
        name.append((f" {header.hash}", FAINT))
    if header.address:
        name += [(" · ", FAINT), (header.address, "underline")]
        name += [(" (o opens it)", FAINT)] if keys else []
    providers: list[Span] = [(header.providers, "")]
    ending: Span = (header.ending, FAINT)
    one = [*name, (" · ", FAINT), *providers]
    left = width - cell_len(header.ending) - 1
    if sum(cell_len(text) for text, _ in one) <= left:
        return [fit_line((*fit_line(one, left), (" ", ""), ending), width)]
    top = fit_line((*fit_line(name, left), (" ", ""), ending), width)
    return [top, fit_line(providers, width)]


def _status(snapshot: "Snapshot", header: Header, lag: float) -> str:
    calls = f"calls {len(snapshot.calls)}"
    if header.max_calls is not None:
        calls += f" of {header.max_calls}"
    facts = [calls, f"up {clock(snapshot.uptime)}", f"loop lag {lag * 1000:.0f} ms"]
    if snapshot.ended:
        facts.insert(1, f"{snapshot.ended} ended")
    if snapshot.left_out:
        facts.append(f"{snapshot.left_out} messages came too fast for the jobs below")
    return " · ".join(facts)


def _beside(snapshot: "Snapshot", width: int, room: int) -> list[Line]:
    """Lay the counts left, and calls and messages right."""
    half = (width - GAP) // 2
    rest = width - GAP - half
    counts = [part(snapshot, half) for part in (workers_part, readings_part, edges_part, jobs_part)]
    words = [messages_part(snapshot, rest, MOST_LINES), calls_part(snapshot, rest)]
    left, right = _stack(counts, half, room), _stack(words, rest, room)
    empty = {half: fit_line((), half), rest: fit_line((), rest)}
    lines: list[Line] = []
    for number in range(max(len(left), len(right))):
        one = left[number] if number < len(left) else empty[half]
        other = right[number] if number < len(right) else empty[rest]
        lines.append((*one, (" " * GAP, ""), *other))
    return lines


def _stack(parts: Sequence[Part], width: int, room: int) -> list[Line]:
    """Share the lines out: first what each part needs at least, then a row to each in turn."""
    shares: dict[int, int] = {}
    gap = 1 if room >= AIRY else 0
    for number, part in enumerate(parts):
        least = min(part.least, len(part.rows))
        if least and 1 + least + gap <= room:
            shares[number] = least
            room -= 1 + least + gap
    while room > 0:
        wanting = [number for number in shares if shares[number] < len(parts[number].rows)]
        if not wanting:
            break
        for number in wanting[:room]:
            shares[number] += 1
        room -= len(wanting[:room])
    lines: list[Line] = []
    for number, count in shares.items():
        lines += parts[number].lines(count, width)
        lines += [fit_line((), width)] * gap
    return lines
