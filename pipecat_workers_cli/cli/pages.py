"""What can fill the screen in the table's place: all jobs, all workers, one message in full."""

import json
from typing import TYPE_CHECKING

import msgspec

from pipecat_workers_cli.cli.cells import Line, chop, fit, fit_line, wrap
from pipecat_workers_cli.cli.parts import (
    ACTIVE,
    FAINT,
    STATES,
    TITLE,
    TROUBLE,
    clock,
    job_state,
    job_style,
    usual,
    worker_mark,
    worker_state,
    worker_style,
)
from pipecat_workers_cli.cli.turns import render_entry

if TYPE_CHECKING:
    from pipecat_workers_cli.traffic.entry import Entry
    from pipecat_workers_cli.traffic.views import Snapshot, WorkerView

WORDS = 4  # lines of a worker's last words
TEXT = 200  # lines of a message's words
LONGEST = 2_000  # lines of a message's JSON; a conversation of some hundred turns
INDENT = "    "
ASKED = "job.request"


def jobs_page(snapshot: "Snapshot", width: int) -> tuple[Line, list[Line]]:
    """Return the heading of all jobs and a line for each."""
    name = min(40, max(17, width // 4))
    rest = max(0, width - 9 - 9 - name - 14 - 18 - 13)
    times = {
        (edge.source, edge.target): usual(edge.p50, edge.p95)
        for edge in snapshot.edges
        if edge.kind == ASKED and edge.p50 is not None and edge.p95 is not None
    }
    told = {
        (entry.id, entry.name): entry.text
        for entry in snapshot.recent
        if entry.event == "job" and entry.text
    }

    def row(number: int) -> Line:
        job = snapshot.jobs[number]
        limit = f" of {job.timeout:g}" if job.timeout is not None and job.running else ""
        return fit_line(
            (
                (fit(job.id, 8) + " ", FAINT),
                (fit(job.call, 8) + " ", FAINT),
                (fit(f"{job.requester} → {job.worker}", name - 1) + " ", ""),
                (fit(job_state(job), 14), job_style(job)),
                (fit(f"{job.age:.1f}{limit} s", 16, right=True) + "  ", job_style(job)),
                (fit(times.get((job.requester, job.worker), ""), 11) + "  ", FAINT),
                (fit(told.get((job.id, job.worker)) or "", rest), ""),
            ),
            width,
        )

    head = (
        (fit("jobs", 9) + fit("call", 9), TITLE),
        (fit("from → to", name) + fit("state", 14) + fit("since", 16, right=True) + "  ", FAINT),
        (fit("p50/p95", 13) + fit("last told", rest), FAINT),
    )
    running = sum(job.running for job in snapshot.jobs)
    empty = [fit_line((("No job in an open call.", ""),), width)] if not snapshot.jobs else []
    rows = [row(number) for number in range(len(snapshot.jobs))]
    if 0 < running < len(rows):
        rows.insert(running, fit_line((("ended", FAINT),), width))
    return fit_line(head, width), empty + rows


def workers_page(snapshot: "Snapshot", width: int) -> tuple[Line, list[Line]]:
    """Return the heading of all workers, and for each a line of figures and its last words."""
    name = min(30, max(16, width // 5))

    def rows(worker: "WorkerView") -> list[Line]:
        sent = sum(edge.count for edge in snapshot.edges if edge.source == worker.name)
        got = sum(edge.count for edge in snapshot.edges if edge.target == worker.name)
        figures = (worker.jobs, worker.turns, sent, got, worker.dropped)
        line = (
            (fit(worker_mark(worker, snapshot), 4), ACTIVE if worker.active_in else ""),
            (fit(worker.name, name), worker_style(worker)),
            (fit(worker_state(worker, snapshot), 14), worker_style(worker)),
            ("".join(" " + fit(str(figure or ""), 8, right=True) for figure in figures), ""),
        )
        words = wrap(worker.words, width - len(INDENT), WORDS) if worker.words else []
        return [
            fit_line(line, width),
            *(fit_line(((INDENT + text, FAINT),), width) for text in words),
        ]

    heads = ("jobs", "turns", "sent", "received", "dropped")
    head = (
        (fit("workers", name + 4), TITLE),
        (fit("state", 14) + "".join(fit(text, 9, right=True) for text in heads), FAINT),
    )
    return fit_line(head, width), [line for worker in snapshot.workers for line in rows(worker)]


def message_page(entry: "Entry", width: int) -> tuple[Line, list[Line]]:
    """Return the heading of a message and its lines: its words, then all of it as JSON."""
    who = " → ".join(name for name in (entry.worker, entry.target) if name)
    facts = (entry.kind or entry.event, who, STATES.get(entry.state or "") and entry.state)
    head = (
        (f"{clock(entry.at_ms / 1000)} {entry.call} ", TITLE),
        (" · ".join(fact for fact in facts if fact), TROUBLE if entry.event == "error" else ""),
    )
    # Signs that the terminal would obey are escaped by JSON, or made plain.
    pretty = json.dumps(msgspec.to_builtins(entry), indent=2, ensure_ascii=False)
    words = wrap(render_entry(entry), width, TEXT) if entry.text else []
    lines = [fit_line(((text, ""),), width) for text in words]
    lines += [fit_line((), width)] if words else []
    for number, text in enumerate(pretty.split("\n")):
        if number >= LONGEST:
            lines.append(fit_line((("… s saves all of it", FAINT),), width))
            break
        indent = " " * (len(text) - len(text.lstrip(" ")))
        room = max(1, width - len(indent))
        lines += [
            fit_line(((indent + part, FAINT if number else ""),), width)
            for part in chop(text.strip(" "), room)
        ]
    return fit_line(head, width), lines
