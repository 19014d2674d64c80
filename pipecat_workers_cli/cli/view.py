"""What a person at the live table chose to see, and how each key changes it.

Nothing here draws or waits: a view and a key in, a view out.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from types import MappingProxyType
from typing import TYPE_CHECKING

from pipecat_workers_cli.errors import ConfigurationError
from pipecat_workers_cli.traffic.entry import Entry
from pipecat_workers_cli.traffic.filter import Filter

if TYPE_CHECKING:
    from pipecat_workers_cli.traffic.views import Edge, JobView, Snapshot

PAGE = 10  # lines that a page key moves by
FAR = 1_000_000  # lines; further than any message is long
OF_JOBS = frozenset({"worker", "from", "to", "call", "kind", "job", "state", "took"})
OF_EDGES = frozenset({"worker", "from", "to", "kind"})
"""The keys of a filter that say something of a job, of an edge."""
BEYOND_TOLD = frozenset({"kind", "size"})
"""The keys that name messages on the bus, not only what people are told."""


class Mode(StrEnum):
    """What fills the screen."""

    TABLE = "table"
    JOBS = "jobs"
    WORKERS = "workers"
    MESSAGE = "message"
    HELP = "help"


@dataclass(frozen=True, slots=True)
class View:
    """What is shown of a snapshot.

    Attributes:
        mode: What fills the screen.
        still: The picture that stands still; None while it moves.
        filter: Chooses messages, jobs and edges; None shows all.
        chosen: What the filter chose of all entries; None where those that people are told
            of are enough.
        typing: The expression being typed; None while none is.
        fault: What is wrong with it: the lines of the error, and how to mend it.
        selected: The message that the arrows chose; None follows the newest.
        scroll: Lines passed over, in a message or a list.
        notice: What a key did, until the next one.
    """

    mode: Mode = Mode.TABLE
    still: "Snapshot | None" = None
    filter: Filter | None = None
    chosen: tuple[Entry, ...] | None = None
    typing: str | None = None
    fault: tuple[str, ...] = field(default=())
    selected: Entry | None = None
    scroll: int = 0
    notice: str = ""

    @property
    def wants_all(self) -> bool:
        """Whether its filter names messages on the bus, too."""
        return self.filter is not None and not BEYOND_TOLD.isdisjoint(self.filter.wanted_keys)


def seen(view: View, snapshot: "Snapshot") -> "Snapshot":
    """Return what of a snapshot a view shows: its still picture, and what its filter chose."""
    shown = view.still or snapshot
    if view.filter is None:
        return shown
    wanted = view.filter
    recent = shown.recent if view.chosen is None else view.chosen
    jobs, edges = shown.jobs, shown.edges
    if wanted.keys <= OF_JOBS:
        jobs = tuple(job for job in jobs if wanted(_job_entry(job)))
    if wanted.keys <= OF_EDGES:
        edges = tuple(edge for edge in edges if wanted(_edge_entry(edge)))
    return replace(shown, recent=tuple(filter(wanted, recent)), jobs=jobs, edges=edges)


def filtered_parts(wanted: Filter) -> str:
    """Say which parts of the table a filter chooses from."""
    parts = ["messages"]
    parts += ["jobs"] if wanted.keys <= OF_JOBS else []
    parts += ["traffic"] if wanted.keys <= OF_EDGES else []
    return ", ".join(parts)


def press(view: View, key: str, snapshot: "Snapshot") -> View:
    """Return the view after a key; one that means nothing changes nothing.

    Args:
        view: The view before it.
        key: As `cli.keys` names it.
        snapshot: What was seen until now.
    """
    view = replace(view, notice="")
    if view.typing is not None:
        return _type(view, key)
    action = ACTIONS[view.mode].get(key) or EVERYWHERE.get(key)
    return view if action is None else action(view, snapshot)


def _type(view: View, key: str) -> View:
    typed = view.typing or ""
    match key:
        case "escape":
            return replace(view, typing=None, fault=())
        case "backspace":
            return replace(view, typing=typed[:-1], fault=())
        case "clear":
            return replace(view, typing="", fault=())
        case "enter":
            return _choose(view, typed.strip())
        case _ if len(key) == 1:
            return replace(view, typing=typed + key, fault=())
        case _:
            return view


def _choose(view: View, expression: str) -> View:
    try:
        wanted = Filter(expression) if expression else None
    except ConfigurationError as error:
        return replace(view, typing=expression, fault=(*error.what.split("\n"), error.mend))
    return replace(view, typing=None, fault=(), filter=wanted, chosen=None, selected=None)


def _shown(mode: Mode) -> "Action":
    """Show something in the table's place, or the table again."""

    def show(view: View, _snapshot: "Snapshot") -> View:
        return replace(view, mode=Mode.TABLE if view.mode is mode else mode, scroll=0)

    return show


def _pause(view: View, snapshot: "Snapshot") -> View:
    return replace(view, still=None if view.still else snapshot)


def _begin_filter(view: View, _snapshot: "Snapshot") -> View:
    return replace(view, mode=_under(view), typing=view.filter.expression if view.filter else "")


def _under(view: View) -> Mode:
    return Mode.TABLE if view.mode in (Mode.HELP, Mode.MESSAGE) else view.mode


def _follow(view: View, _snapshot: "Snapshot") -> View:
    return replace(view, mode=_under(view), selected=None, still=None, scroll=0)


def _leave(view: View, _snapshot: "Snapshot") -> View:
    """Go back a step: to the table, to the newest message, to all messages."""
    if view.mode is not Mode.TABLE:
        return replace(view, mode=Mode.TABLE, scroll=0)
    if view.selected is not None:
        return replace(view, selected=None)
    return replace(view, filter=None, chosen=None)


def _move(step: int) -> "Action":
    def move(view: View, snapshot: "Snapshot") -> View:
        entries = seen(view, snapshot).recent
        if not entries:
            return view
        place = position(view.selected, entries) + (0 if view.selected is None else step)
        if view.selected is None and step > 0:  # already at the newest
            return view
        return replace(view, selected=entries[min(max(0, place), len(entries) - 1)])

    return move


def position(selected: Entry | None, entries: Sequence[Entry]) -> int:
    """Return where a message stands; of one that is gone the oldest, of none the newest."""
    if selected is None:
        return len(entries) - 1
    for place in range(len(entries) - 1, -1, -1):
        if entries[place] == selected:
            return place
    return 0


def _scroll(lines: int) -> "Action":
    def scroll(view: View, _snapshot: "Snapshot") -> View:
        return replace(view, scroll=max(0, view.scroll + lines))

    return scroll


def _open(view: View, snapshot: "Snapshot") -> View:
    entries = seen(view, snapshot).recent
    if not entries:
        return view
    chosen = entries[position(view.selected, entries)]
    return replace(view, mode=Mode.MESSAGE, selected=chosen, scroll=0)


def _job_entry(job: "JobView") -> Entry:
    return Entry(
        event="job",
        call=job.call,
        at_ms=0,
        id=job.id,
        worker=job.requester,
        name=job.worker,
        state=job.state,
        took_ms=job.age * 1000,
    )


def _edge_entry(edge: "Edge") -> Entry:
    return Entry(
        event="message",
        call="",
        at_ms=0,
        kind=edge.kind,
        worker=edge.source,
        target=edge.target,
    )


Action = Callable[[View, "Snapshot"], View]

EVERYWHERE: Mapping[str, Action] = MappingProxyType(
    {
        " ": _pause,
        "/": _begin_filter,
        "j": _shown(Mode.JOBS),
        "w": _shown(Mode.WORKERS),
        "?": _shown(Mode.HELP),
        "f": _follow,
        "escape": _leave,
    }
)
SCROLLING: Mapping[str, Action] = MappingProxyType(
    {
        "up": _scroll(-1),
        "down": _scroll(1),
        "page up": _scroll(-PAGE),
        "page down": _scroll(PAGE),
        "home": _scroll(-FAR),
        "end": _scroll(FAR),
    }
)
ACTIONS: Mapping[Mode, Mapping[str, Action]] = MappingProxyType(
    {
        Mode.TABLE: {
            "up": _move(-1),
            "down": _move(1),
            "page up": _move(-PAGE),
            "page down": _move(PAGE),
            "home": _move(-FAR),
            "end": _move(FAR),
            "enter": _open,
        },
        Mode.JOBS: SCROLLING,
        Mode.WORKERS: SCROLLING,
        Mode.MESSAGE: {**SCROLLING, "enter": _leave, "q": _leave},
        Mode.HELP: SCROLLING,
    }
)
"""What each key does, by what fills the screen; `q`, `o` and `s` do something outside of it."""
