"""One summary of several sessions."""

from dataclasses import replace

from pipecat_workers_cli.traffic.entry import Entry
from pipecat_workers_cli.traffic.kinds import Kind
from pipecat_workers_cli.traffic.merge import merged
from pipecat_workers_cli.traffic.views import CallView, Edge, JobView, Snapshot, WorkerView

EDGE = Edge(Kind.JOB_REQUEST, "greeter", "sensor", 3, 1.0, 10, 0.5, last_seen=9.0, p50=1.0)
WORKER = WorkerView("greeter", False, 1, 2, "Hello", 20.0, 30.0, ready_in=1, jobs=1, silent=1.5)
JOB = JobView("j", "aaaaaaaa", "greeter", "sensor", "completed", 1.0, running=False)


def one(call: str, age: float, **more) -> Snapshot:
    view = CallView(call, "handoff", ("greeter",), 2, age)
    return Snapshot(10.0, calls=(view,), ended=1, edges=(EDGE,), workers=(WORKER,), **more)


def test_calls_of_all_sessions_stand_by_age_and_counts_are_sums():
    both = merged([one("aaaaaaaa", 1.0), one("bbbbbbbb", 5.0)], recent=())
    assert [call.call for call in both.calls] == ["bbbbbbbb", "aaaaaaaa"]
    assert both.ended == 2
    (edge,) = both.edges
    assert (edge.count, edge.rate, edge.bytes, edge.seconds) == (6, 2.0, 20, 1.0)
    assert (edge.last_seen, edge.p50, edge.p95) == (9.0, 1.0, None)


def test_workers_of_one_name_are_one():
    quiet = replace(WORKER, active_in=0, turns=9, words="Bye", median_ms=None, silent=0.0)
    both = merged([one("aaaaaaaa", 1.0), replace(one("b", 1.0), workers=(quiet,))], recent=())
    (worker,) = both.workers
    assert (worker.active_in, worker.turns, worker.ready_in, worker.jobs) == (1, 11, 2, 2)
    assert (worker.words, worker.median_ms, worker.silent) == ("Hello", 30.0, 1.5)


def test_running_jobs_stand_first_and_entries_are_those_that_came():
    running = replace(JOB, id="r", running=True)
    entry = Entry(event="end", call="b", at_ms=1)
    both = merged([one("a", 1.0, jobs=(JOB,)), one("b", 1.0, jobs=(running,))], recent=[entry])
    assert [job.id for job in both.jobs] == ["r", "j"]
    assert both.recent == (entry,)


def test_of_no_session_there_is_nothing():
    assert merged([], recent=()) == Snapshot(0.0)
