"""The live table as a picture: a snapshot in, lines of a given width and height out."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING

from rich.cells import cell_len

from pipecat_workers_cli.cli.cells import Line, Sheet, Span, chop, fit, fit_line, wrap
from pipecat_workers_cli.cli.pages import jobs_page, message_page, workers_page
from pipecat_workers_cli.cli.parts import (
    ACTIVE,
    FAINT,
    MOST_LINES,
    TROUBLE,
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
from pipecat_workers_cli.cli.view import FAR, Mode, View, filtered_parts, seen

if TYPE_CHECKING:
    from pipecat_workers_cli.traffic.views import Snapshot

AIRY = 30  # lines from which there is an empty one between the parts
GAP = 2  # columns between the two halves
NOTICE_LINES = 4  # a path in it may be long, and is to be copied
EVERYTHING = View()


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
    view: View = EVERYTHING,
) -> Sheet:
    """Draw a snapshot.

    Args:
        snapshot: What was seen.
        header: What stands above it.
        width: Columns; no line is wider.
        height: Lines; there are no more.
        lag: How late the event loop is, in seconds.
        keys: Whether keys can be read, and are to be named.
        view: What of it is to be seen.

    Returns:
        What Rich prints.
    """
    shown = seen(view, snapshot)
    foot = [fit_line((span,), width) for span in _foot(view, width)][: max(0, height - 1)]
    lines = PAGES.get(view.mode, _table)(shown, header, width, height - len(foot), view)
    if view.mode in (Mode.TABLE, Mode.JOBS, Mode.WORKERS):
        state = [*_still(view, snapshot), (_status(shown, header, lag), "")]
        status = (*state, (" · ? help" if keys else "", FAINT))
        lines = [*_header(header, width, keys), fit_line(status, width), *lines]
    lines = lines[: max(0, height - len(foot))]
    if foot:
        lines += [fit_line((), width)] * (height - len(foot) - len(lines))
    return Sheet((*lines, *foot))


def _room(header: Header, width: int, height: int) -> int:
    """Return the lines that are left below what stands above every list."""
    return height - len(_header(header, width, True)) - 2


def _table(snapshot: "Snapshot", header: Header, width: int, height: int, view: View) -> list[Line]:
    room = _room(header, width, height)
    lines = [fit_line((), width)]
    if not snapshot.calls and not snapshot.ended:
        where = f"open {header.address}" if header.address else "waiting for one"
        return [*lines, fit_line(((f"No call yet: {where}.", ""),), width)]
    if width >= WIDE:
        return lines + _beside(snapshot, width, room, view)
    parts = (
        workers_part(snapshot, width),
        readings_part(snapshot, width),
        edges_part(snapshot, width),
        jobs_part(snapshot, width),
        messages_part(snapshot, width, 1 if room < AIRY else MOST_LINES, view.selected),
        calls_part(snapshot, width),
    )
    return lines + _stack(parts, width, room)


def _list(page: Callable[["Snapshot", int], tuple[Line, list[Line]]]) -> "Draw":
    def draw(
        snapshot: "Snapshot", header: Header, width: int, height: int, view: View
    ) -> list[Line]:
        head, lines = page(snapshot, width)
        return [
            fit_line((), width),
            head,
            *_scrolled(lines, _room(header, width, height) - 1, view),
        ]

    return draw


def _message(
    _snapshot: "Snapshot", _header: Header, width: int, height: int, view: View
) -> list[Line]:
    assert view.selected is not None  # who shows a message has chosen it
    head, lines = message_page(view.selected, width)
    keys = fit_line((("Up and Down scroll; Enter, Esc or q go back", FAINT),), width)
    return [head, keys, fit_line((), width), *_scrolled(lines, height - 3, view)]


def _help(_snapshot: "Snapshot", header: Header, width: int, height: int, view: View) -> list[Line]:
    lines = [*render_help(header, width, FAR).lines]
    top = len(_header(header, width, True)) + 1
    return lines[:top] + _scrolled(lines[top:], height - top, view)


def _scrolled(lines: list[Line], room: int, view: View) -> list[Line]:
    first = max(0, min(view.scroll, len(lines) - room))
    return lines[first : first + max(0, room)]


Draw = Callable[["Snapshot", Header, int, int, View], list[Line]]

PAGES: Mapping[Mode, Draw] = MappingProxyType(
    {
        Mode.JOBS: _list(jobs_page),
        Mode.WORKERS: _list(workers_page),
        Mode.MESSAGE: _message,
        Mode.HELP: _help,
    }
)


def _still(view: View, snapshot: "Snapshot") -> list[Span]:
    """Say that the picture stands still, and how much has crossed the buses meanwhile."""
    if view.still is None:
        return []
    new = sum(edge.count for edge in snapshot.edges) - sum(edge.count for edge in view.still.edges)
    return [(f"PAUSED, {max(0, new)} messages since; space goes on", ACTIVE), (" · ", FAINT)]


def _foot(view: View, width: int) -> list[Span]:
    """Return the lines at the bottom: what is typed, what was wrong with it, what was done."""
    if view.typing is not None:
        # The end of what is typed is seen, unless something before it is wrong.
        wrong = view.fault[2] if len(view.fault) > 3 else ""
        start = max(0, (wrong.find("^") if wrong else len(view.typing)) - width + 4)
        typed = f"/{view.typing[start:]}"
        if not view.fault:
            return [(typed + "█", "bold"), ("Enter filters, Esc leaves", FAINT)]
        caret = [(f"/{wrong[2 + start :]}".replace("/", " ", 1), TROUBLE)] if wrong else []
        fault = wrap(f"{view.fault[0]}: {view.fault[-1]}", width, NOTICE_LINES)
        return [(typed, "bold"), *caret, *((part, TROUBLE) for part in fault)]
    if view.notice:
        return [(part, "bold") for part in chop(view.notice, width)[:NOTICE_LINES]]
    if view.filter is not None and view.mode is not Mode.MESSAGE:
        end = f" ({filtered_parts(view.filter)}; Esc ends it)"
        what = f"filter {view.filter.expression}"
        what = what if cell_len(what + end) <= width else fit(what, width - cell_len(end))
        return [(what + end, ACTIVE)]
    return []


def render_help(header: Header, width: int, height: int) -> Sheet:
    """Draw what the keys do and what the table's signs mean."""
    page = "o       open the page in a browser" if header.address else None
    texts = (
        "q       end",
        page,
        "space   stand still, and go on; counting goes on meanwhile",
        '/       filter: worker:support kind:job took>2s "boots"; with kind: or size> the',
        "        messages on the bus are shown too. Esc ends it",
        "j w     all jobs; all workers; again for the table",
        "↑ ↓     choose a message; Enter shows it in full; f follows the newest again",
        "s       save the last ten minutes into a recording",
        "?       this help, and back",
        "",
        "●       the worker is active: it has the call; ●3 means in three calls",
        "!       trouble: an error; a job past half its time, or twice its usual; a worker",
        "        that has the call, and for 5 s no word for the caller",
        "turn    the conversation on its way to a worker, which then answers",
        "text    words on their way from a worker to the caller",
        "audio   sound; its count is in frames, mostly of 20 ms",
        "flush   a worker makes sure that all before has arrived",
        "frame   all other frames, summed up",
        "reading a figure that a worker measured; its latest ones are drawn as a line",
        "*       as a target: everybody",
        "rate/s  messages a second over the last five seconds",
        "p50/p95 seconds within which half, and 95 of 100, of such jobs are answered",
        "dropped words that came after their worker had lost the call; nobody hears them",
        "last ms how long its latest answer took; median of its latest hundred",
        "link    how long the way to a worker on another machine takes, there and back;",
        "        refused is what came over one and may not",
        "last    how long ago the latest message was",
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
    if dropped := sum(worker.dropped for worker in snapshot.workers):
        facts.append(f"{dropped} late frames dropped")
    links = [worker.link_ms for worker in snapshot.workers if worker.link_ms is not None]
    if down := sum(worker.link_down for worker in snapshot.workers):
        facts.append("a link is down" if down == 1 else f"{down} links are down")
    elif links:
        facts.append(f"link {max(links):.0f} ms")
    if refused := sum(worker.refused for worker in snapshot.workers):
        facts.append(f"{refused} refused at links")
    if snapshot.left_out:
        facts.append(f"{snapshot.left_out} messages came too fast for the jobs below")
    return " · ".join(facts)


def _beside(snapshot: "Snapshot", width: int, room: int, view: View) -> list[Line]:
    """Lay the counts left, and calls and messages right."""
    half = (width - GAP) // 2
    rest = width - GAP - half
    counts = [part(snapshot, half) for part in (workers_part, readings_part, edges_part, jobs_part)]
    said = messages_part(snapshot, rest, MOST_LINES, view.selected)
    words = [said, calls_part(snapshot, rest)]
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
