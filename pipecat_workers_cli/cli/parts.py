"""The parts of the live table: what each says of a snapshot, line by line."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from pipecat_workers_cli.cli.cells import Line, Span, fit, fit_line, sparkline, wrap
from pipecat_workers_cli.cli.turns import SLOW_MS, render_entry
from pipecat_workers_cli.cli.view import position

if TYPE_CHECKING:
    from pipecat_workers_cli.traffic.entry import Entry
    from pipecat_workers_cli.traffic.views import (
        CallView,
        Edge,
        JobView,
        SeriesView,
        Snapshot,
        WorkerView,
    )

WIDE = 130  # columns from which what was said stands beside the counts, not below them
MOST_LINES = 4  # of one message
MOST_SHOWN = 80  # messages that are made into lines; more than a tall terminal has lines
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
        title_width: Cells for the title.
        latest: Whether the last rows are the ones to keep; what came before isn't counted.
        anchor: Of those, one that is to be seen in any case.
    """

    title: str
    columns: tuple[Span, ...]
    rows: tuple[Line, ...]
    least: int
    title_width: int
    latest: bool = False
    anchor: int | None = None

    def lines(self, count: int, width: int) -> list[Line]:
        """Return the title line, which says how many rows are left out, and `count` rows."""
        more = len(self.rows) - count
        title = f"{self.title} +{more} more" if more and not self.latest else self.title
        first = more if self.latest else 0
        if self.anchor is not None:
            first = min(max(0, self.anchor - count // 2), more)
        shown = self.rows[first : first + count]
        head = ((fit(title, self.title_width - 1) + " ", TITLE), *self.columns)
        return [fit_line(line, width) for line in (head, *shown)]


def clock(seconds: float) -> str:
    """Say a length of time as `1:23` or `1:02:03`."""
    minutes, rest = divmod(int(max(0.0, seconds)), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def worker_mark(worker: "WorkerView", snapshot: "Snapshot") -> str:
    """Return the sign of a worker that has the call, with in how many if there are several."""
    many = worker.active_in if len(snapshot.calls) > 1 else ""
    return f"●{many}" if worker.active_in else ""


def worker_state(worker: "WorkerView", snapshot: "Snapshot") -> str:
    """Say how a worker stands in a word or two; trouble first, with a sign."""
    if worker.silent:
        return f"! silent {_ago(worker.silent)}"
    if worker.late:
        return "! late"
    if not snapshot.calls:
        return ""
    if worker.active_in:
        return "active"
    return "at work" if worker.jobs else "ready" if worker.ready_in else "not there"


def worker_style(worker: "WorkerView") -> str:
    """Return how a worker's name and state are drawn."""
    return TROUBLE if worker.silent or worker.late else ACTIVE if worker.active_in else ""


def workers_part(snapshot: "Snapshot", width: int) -> Part:
    """Say who there is, how each stands, what it does, and what it said last."""
    name = min(22, max(12, width // 5))
    took = 8
    words = width - name - 4 - 13 - 5 - 6 - 2 * took - 2

    def row(worker: "WorkerView") -> Line:
        said = "(has the caller)" if worker.main and not worker.words else worker.words
        style = worker_style(worker)
        return (
            (fit(worker_mark(worker, snapshot), 4), style),
            (fit(worker.name, name), style),
            (fit(worker_state(worker, snapshot), 13), style),
            (fit(str(worker.jobs or ""), 5, right=True), ""),
            (fit(str(worker.turns or ""), 6, right=True), ""),
            cell(worker.latency_ms),
            cell(worker.median_ms),
            ("  " + fit(said, words), FAINT if worker.main else ""),
        )

    def cell(ms: float | None) -> Span:
        slow = ms is not None and ms >= SLOW_MS
        text = "" if ms is None else f"{'! ' if slow else ''}{ms:.0f}"
        return (fit(text, took, right=True), TROUBLE if slow else "")

    heads = (("jobs", 5), ("turns", 6), ("last ms", took), ("median", took))
    titles = "".join(fit(head, size, right=True) for head, size in heads)
    columns = ((f"{fit('state', 13)}{titles}  {fit('last words', words)}", FAINT),)
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
    """Say who sends what to whom, how much, how often and how fast it is answered."""
    kind, count, rate, last = 19, 8, 8, 7
    size = 9 if width >= 90 else 0
    time = 13
    end = max(4, (width - kind - count - rate - last - size - time - 4) // 2)

    def cells(*texts: str) -> tuple[str, ...]:
        source, arrow, target, number, speed, bytes_, took, ago = texts
        return (
            f"{fit(source, end)} {arrow} {fit(target, end)} ",
            fit(number, count, right=True),
            fit(speed, rate, right=True),
            fit(bytes_, size, right=True),
            fit(took, time, right=True),
            fit(ago, last, right=True),
        )

    def row(edge: "Edge") -> Line:
        bad = edge.kind == "error"
        took = f"{edge.seconds:.1f} s long" if edge.seconds else ""
        if edge.p50 is not None and edge.p95 is not None:
            took = usual(edge.p50, edge.p95)
        numbers = (str(edge.count), f"{edge.rate:.1f}", _bytes(edge.bytes), took)
        texts = cells(edge.source, "→", edge.target, *numbers, _ago(edge.last_seen))
        style = TROUBLE if bad else FAINT if edge.last_seen > QUIET_AFTER else ""
        name = f"! {edge.kind}" if bad else edge.kind
        return ((fit(name, kind), style), *((text, style) for text in texts))

    heads = cells("from", " ", "to", "count", "rate/s", "bytes", "p50/p95", "last")
    columns = tuple((text, FAINT) for text in heads)
    return Part("traffic", columns, tuple(map(row, snapshot.edges)), 5, kind)


def usual(p50: float, p95: float) -> str:
    """Say how long jobs usually take, in a unit that fits."""
    if p95 < 1.0:
        return f"{p50 * 1000:.0f}/{p95 * 1000:.0f} ms"
    return f"{p50:.1f}/{p95:.1f} s"


def job_state(job: "JobView") -> str:
    """Say how a job stands, with a sign."""
    return "! late" if job.late else f"{STATES[job.state]} {job.state}"


def job_style(job: "JobView") -> str:
    """Return how a job's state is drawn."""
    trouble = job.late or STATES[job.state] == "✗"
    return TROUBLE if trouble else ACTIVE if job.running else ""


def jobs_part(snapshot: "Snapshot", width: int) -> Part:
    """Say which jobs run and how the latest ended."""
    name, state, age = 15, 12, 14
    end = max(4, (width - name - state - age - 4) // 2)

    def row(job: "JobView") -> Line:
        limit = f" of {job.timeout:g}" if job.late and job.timeout is not None else ""
        style = job_style(job)
        return (
            (fit(job.id[:8], name), FAINT),
            (f"{fit(job.requester, end)} → {fit(job.worker, end)} ", ""),
            (fit(job_state(job), state), style),
            (fit(f"{job.age:.1f}{limit} s", age, right=True), style if job.late else ""),
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


def messages_part(
    snapshot: "Snapshot", width: int, most_lines: int, selected: "Entry | None" = None
) -> Part:
    """Say what was said and done, the latest last, each in at most `most_lines`."""
    many = len(snapshot.calls) + snapshot.ended > 1
    place = position(selected, snapshot.recent)
    last = min(len(snapshot.recent), max(place + MOST_SHOWN // 2, MOST_SHOWN))
    if selected is None:
        last = len(snapshot.recent)
    rows: list[Line] = []
    anchor: int | None = None
    for number, entry in enumerate(snapshot.recent[:last][-MOST_SHOWN:], max(0, last - MOST_SHOWN)):
        chosen = selected is not None and number == place
        if chosen:
            anchor = len(rows)
        when = f"{clock(entry.at_ms / 1000):>7}" + ("›" if chosen else " ")
        if many:
            when += f"{fit(entry.call, 6)} "
        style = {"error": TROUBLE, "user": "bold", "bot": ""}.get(entry.event, FAINT)
        style = f"{style} reverse" if chosen else style
        for row, part in enumerate(wrap(render_entry(entry), width - len(when), most_lines)):
            lead = (" " * len(when) if row else when, FAINT)
            rows.append(fit_line((lead, (part, style)), width))
    title = "messages" if selected is None else "messages (f follows the newest)"
    return Part(title, (("", ""),), tuple(rows), 4, len(title) + 1, latest=True, anchor=anchor)


def _ago(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 100 else clock(seconds)


def _bytes(count: int) -> str:
    if count < 1_000:
        return str(count or "")
    return f"{count / 1e3:.0f} kB" if count < 1e6 else f"{count / 1e6:.1f} MB"
