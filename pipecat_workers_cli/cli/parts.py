"""The parts of the live table: what each says of a snapshot, line by line."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from pipecat_workers_cli.cli.cells import Line, Span, fit, fit_line, sparkline, wrap
from pipecat_workers_cli.cli.turns import SLOW_MS, render_entry

if TYPE_CHECKING:
    from pipecat_workers_cli.traffic.snapshot import (
        CallView,
        Edge,
        JobView,
        SeriesView,
        Snapshot,
        WorkerView,
    )

WIDE = 130  # columns from which what was said stands beside the counts, not below them
MOST_LINES = 4  # of one message
MOST_JOBS = 5  # that have their line before any other part gets more
QUIET_AFTER = 5.0  # seconds without a message, after which an edge is drawn faintly

TITLE = "bold"
FAINT = "dim"
ACTIVE = "bold cyan"
TROUBLE = "bold magenta"  # with a sign and a word of its own: colour alone says nothing
STATES = {
    "started": "▸",
    "update": "▸",
    "completed": "✓",
    "failed": "✗",
    "cancelled": "✗",
    "timeout": "✗",
}


@dataclass(frozen=True, slots=True)
class Part:
    """A titled part of the table.

    Attributes:
        title: What it is called.
        columns: The spans of the title line after the title.
        rows: All there is to show.
        least: Rows it should have before any other part gets more.
        latest: Whether the last rows are the ones to keep; what came before isn't counted.
        title_width: Cells for the title.
    """

    title: str
    columns: tuple[Span, ...]
    rows: tuple[Line, ...]
    least: int
    title_width: int
    latest: bool = False

    def lines(self, count: int, width: int) -> list[Line]:
        """Return the title line, which says how many rows are left out, and `count` rows."""
        more = len(self.rows) - count
        title = f"{self.title} +{more} more" if more and not self.latest else self.title
        shown = self.rows[more:] if self.latest else self.rows[:count]
        head = ((fit(title, self.title_width - 1) + " ", TITLE), *self.columns)
        return [fit_line(line, width) for line in (head, *shown)]


def clock(seconds: float) -> str:
    """Say a length of time as `1:23` or `1:02:03`."""
    minutes, rest = divmod(int(max(0.0, seconds)), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def workers_part(snapshot: "Snapshot", width: int) -> Part:
    """Say who there is, who is active, and what each said last."""
    name = min(22, max(12, width // 5))
    took = 9
    words = width - name - 13 - 2 * took

    def row(worker: "WorkerView") -> Line:
        many = worker.active_in if len(snapshot.calls) > 1 else ""
        mark = f"●{many}" if worker.active_in else ""
        said = "(has the caller)" if worker.main and not worker.words else worker.words
        style = ACTIVE if worker.active_in else ""
        return (
            (fit(mark, 4), style),
            (fit(worker.name, name), style),
            (fit(str(worker.turns or ""), 6, right=True), ""),
            cell(worker.latency_ms),
            cell(worker.median_ms),
            ("   " + fit(said, words), FAINT if worker.main else ""),
        )

    def cell(ms: float | None) -> Span:
        slow = ms is not None and ms >= SLOW_MS
        text = "" if ms is None else f"{'! ' if slow else ''}{ms:.0f}"
        return (fit(text, took, right=True), TROUBLE if slow else "")

    heads = (("turns", 6), ("last ms", took), ("median", took))
    titles = "".join(fit(head, size, right=True) for head, size in heads)
    columns = ((f"{titles}   {fit('last words', words)}", FAINT),)
    return Part("workers", columns, tuple(map(row, snapshot.workers)), 3, name + 4)


def readings_part(snapshot: "Snapshot", width: int) -> Part:
    """Say what workers measure: the latest figures as a line, the least, the most, the last."""
    figure = 9
    name = min(22, max(12, width // 5))
    what = min(13, max(4, width // 6))
    room = max(0, width - name - what - 3 * figure - 1)
    many = len(snapshot.calls) > 1

    def row(series: "SeriesView") -> Line:
        values = series.values[-room:] if room else series.values
        figures = "".join(
            fit(f"{value:.1f}{unit}", figure, right=True)
            for value, unit in (
                (min(values), ""),
                (max(values), ""),
                (values[-1], f" {series.unit}" if series.unit else ""),
            )
        )
        worker = f"{series.worker} {series.call}" if many else series.worker
        return (
            (fit(worker, name - 1) + " ", ""),
            (fit(series.reading, what - 1) + " ", ""),
            (fit(sparkline(values), room, right=True), ACTIVE),
            (figures, ""),
        )

    heads = "".join(fit(head, figure, right=True) for head in ("least", "most", "latest"))
    columns = ((" " * (what + room), ""), (heads, FAINT))
    return Part("readings", columns, tuple(map(row, snapshot.series)), 1, name)


def edges_part(snapshot: "Snapshot", width: int) -> Part:
    """Say who sends what to whom, how much and how often."""
    kind, count, rate, last = 17, 8, 8, 7
    sound = 10 if width >= 90 else 0
    end = max(4, (width - kind - count - rate - last - sound - 4) // 2)

    def cells(*texts: str) -> tuple[str, ...]:
        source, arrow, target, number, speed, audio, ago = texts
        return (
            f"{fit(source, end)} {arrow} {fit(target, end)} ",
            fit(number, count, right=True),
            fit(speed, rate, right=True),
            fit(audio, sound, right=True),
            fit(ago, last, right=True),
        )

    def row(edge: "Edge") -> Line:
        bad = edge.kind == "error"
        audio = f"{edge.seconds:.1f} s" if edge.seconds else ""
        speed = f"{edge.rate:.1f}"
        counted = (str(edge.count), speed, audio, _ago(edge.last_seen))
        texts = cells(edge.source, "→", edge.target, *counted)
        style = TROUBLE if bad else FAINT if edge.last_seen > QUIET_AFTER else ""
        name = f"! {edge.kind}" if bad else edge.kind
        return ((fit(name, kind), style), *((text, style) for text in texts))

    heads = cells("from", " ", "to", "count", "rate/s", "audio", "last")
    columns = tuple((text, FAINT) for text in heads)
    return Part("traffic", columns, tuple(map(row, snapshot.edges)), 5, kind)


def jobs_part(snapshot: "Snapshot", width: int) -> Part:
    """Say which jobs run and how the latest ended."""
    name, state, age = 15, 12, 8
    end = max(4, (width - name - state - age - 4) // 2)

    def row(job: "JobView") -> Line:
        style = ACTIVE if job.running else TROUBLE if STATES[job.state] == "✗" else ""
        return (
            (fit(job.id[:8], name), FAINT),
            (f"{fit(job.requester, end)} → {fit(job.worker, end)} ", ""),
            (fit(f"{STATES[job.state]} {job.state}", state), style),
            (fit(f"{job.age:.1f} s", age, right=True), ""),
        )

    heads = f"{fit('from', end)}   {fit('to', end)} {fit('state', state)}"
    columns = ((heads, FAINT), (fit("age", age, right=True), FAINT))
    return Part("jobs", columns, tuple(map(row, snapshot.jobs)), _jobs_at_least(snapshot), name)


def _jobs_at_least(snapshot: "Snapshot") -> int:
    """Return how many jobs are to be seen: the first one's whole group, which is the latest."""
    latest = {job.id for job in snapshot.jobs[:1]}
    return min(MOST_JOBS, max(2, sum(job.id in latest for job in snapshot.jobs)))


def calls_part(snapshot: "Snapshot", width: int) -> Part:
    """Say which calls there are."""
    name, recipe, version = 16, min(20, max(8, width // 5)), 13
    who = max(4, width - name - recipe - version - 6 - 9)

    def row(call: "CallView") -> Line:
        active = f"● {', '.join(call.active)}" if call.active else ""
        return (
            (fit(call.call, name - 1) + " ", ""),
            (fit(call.recipe, recipe), ""),
            (fit(call.hash, version), FAINT),
            (fit(active, who), ACTIVE),
            (fit(str(call.turns or ""), 6, right=True), ""),
            (fit(clock(call.age), 9, right=True), ""),
        )

    columns = (
        (fit("recipe", recipe) + fit("version", version) + fit("active", who), FAINT),
        (fit("turns", 6, right=True) + fit("age", 9, right=True), FAINT),
    )
    # A lone call is told by the lines above.
    rows = tuple(map(row, snapshot.calls)) if len(snapshot.calls) > 1 or width > WIDE else ()
    return Part("calls", columns, rows, 2, name)


def messages_part(snapshot: "Snapshot", width: int, most_lines: int) -> Part:
    """Say what was said and done, the latest last, each in at most `most_lines`."""
    many = len(snapshot.calls) + snapshot.ended > 1
    rows: list[Line] = []
    for entry in snapshot.recent:
        when = f"{clock(entry.at_ms / 1000):>7} "
        if many:
            when += f"{fit(entry.call, 6)} "
        style = {"error": TROUBLE, "user": "bold", "bot": ""}.get(entry.event, FAINT)
        text = render_entry(entry)
        room = width - len(when)
        for number, part in enumerate(wrap(text, room, most_lines)):
            lead = (when if not number else " " * len(when), FAINT)
            rows.append(fit_line((lead, (part, style)), width))
    return Part("messages", (("", ""),), tuple(rows), 4, 24, latest=True)


def _ago(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 100 else clock(seconds)
