"""What the keys of the live table do, from the view alone to the picture."""

import asyncio
import re
from dataclasses import replace

import msgspec
import pytest
from pipecat.bus import BusJobRequestMessage, BusJobUpdateMessage
from rich.cells import cell_len

from pipecat_workers_cli.buses.local import LocalBus
from pipecat_workers_cli.cli.chosen import Chosen, Memory, save_remembered
from pipecat_workers_cli.cli.sheet import render_table
from pipecat_workers_cli.cli.view import Mode, View, press, seen
from pipecat_workers_cli.traffic.entry import Entry
from pipecat_workers_cli.traffic.filter import Filter
from pipecat_workers_cli.traffic.record import Recording
from pipecat_workers_cli.traffic.tap import Tap
from pipecat_workers_cli.traffic.views import CallView, Edge, JobView, Snapshot, WorkerView
from tests.cli.test_table import HEADER, LONG, NASTY, WIDE, lines_of, measured, snapshot_of


def type_keys(view, snapshot, *keys):
    for key in keys:
        view = press(view, key, snapshot)
    return view


def drawn(snapshot, view, width=80, height=24):
    return lines_of(render_table(snapshot, HEADER, width, height, view=view), width, height)


SIZES = [(80, 24), (120, 40), (200, 50), (250, 70), (40, 10), (9, 3), (1, 1)]
KEYS = {
    "jobs": "j",
    "workers": "w",
    "help": "?",
    "message": ["up", "enter"],
    "message, scrolled": ["up", "up", "enter", *["down"] * 7],
    "selected": ["up", "page up", "up"],
    "typing": ["/", *"kind:job "],
    "wrong": ["/", *"kind:nonsense", "enter"],
    "wrong and long": ["/", *'"x" ' * 60, *"kind:no", "enter"],
    "filtered": ["/", *'worker:nobody "boots"', "enter"],
    "paused": [" "],
}


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("keys", KEYS.values(), ids=KEYS)
@pytest.mark.parametrize("text", ["Boots cost $299.", LONG, WIDE, NASTY])
def test_every_view_fits_the_terminal(size, keys, text):
    snapshot = snapshot_of(3, text=text, name=text, edges=20, jobs=30)
    lines = drawn(snapshot, type_keys(View(), snapshot, *keys), *size)
    assert len(lines) <= size[1]
    assert {cell_len(line) for line in lines} == {size[0]}
    assert not [sign for line in lines for sign in line if ord(sign) < 32]


def test_space_stands_still_and_says_so_while_counting_goes_on():
    first = snapshot_of(1, edges=2)
    view = type_keys(View(), first, " ")
    (one, other) = first.edges
    more = replace(
        snapshot_of(1, text="new words", edges=2), edges=(replace(one, count=one.count + 41), other)
    )
    text = "\n".join(drawn(more, view))
    assert "PAUSED, 41 messages since; space goes on" in text
    assert "new words" not in text
    text = "\n".join(drawn(more, press(view, " ", more)))
    assert "PAUSED" not in text
    assert "new words" in text


def told(number, event="user", **more):
    return Entry(event=event, call="c0", at_ms=number * 1000, text=f"words {number}", **more)


def talk(count=100):
    return replace(snapshot_of(1), recent=tuple(told(number) for number in range(count)))


def test_arrows_choose_a_message_that_stays_chosen_while_others_come():
    snapshot = talk()
    view = type_keys(View(), snapshot, "up", "up", "up")
    assert view.selected == told(97)
    later = replace(snapshot, recent=(*snapshot.recent, *(told(n) for n in range(100, 130))))
    assert press(view, "down", later).selected == told(98)
    marked = [line for line in drawn(later, view) if "›" in line]
    assert len(marked) == 1
    assert re.match(r" +1:37›c0 +user: words 97 ", marked[0])
    assert "words 129" not in "\n".join(drawn(later, view))
    following = press(view, "f", later)
    assert "words 129" in "\n".join(drawn(later, following))


def test_the_first_and_the_last_message_are_as_far_as_the_arrows_go():
    snapshot = talk(5)
    assert type_keys(View(), snapshot, "up", *["page up"] * 3).selected == told(0)
    assert type_keys(View(), snapshot, "up", "home", "end", "down").selected == told(4)
    assert type_keys(View(), snapshot, "down").selected is None
    assert type_keys(View(), Snapshot(uptime=1.0), "up", "enter") == View()


def test_a_message_is_shown_in_full_and_scrolls_to_its_end_and_not_beyond():
    payload = {"messages": [{"role": "user", "content": f"line {n}"} for n in range(40)]}
    entry = Entry(event="context", call="c0", at_ms=61_000, worker="greeter", payload=payload)
    snapshot = replace(snapshot_of(1), recent=(entry,))
    view = type_keys(View(), snapshot, "enter")
    lines = drawn(snapshot, view)
    assert lines[0].startswith("1:01 c0 context · greeter")
    assert lines[3].startswith("{")
    assert '"content": "line 0"' in "\n".join(lines)
    end = type_keys(view, snapshot, "end")
    assert drawn(snapshot, end)[-1].startswith("}")
    assert "line 39" in "\n".join(drawn(snapshot, end))
    for key in ("q", "enter", "escape"):
        assert press(view, key, snapshot).mode is Mode.TABLE


def test_nothing_of_a_long_word_is_hidden_in_a_message_in_full():
    snapshot = replace(snapshot_of(1), recent=(told(1, args={"key": "0123456789" * 40}),))
    lines = drawn(snapshot, press(View(), "enter", snapshot))
    assert "".join(line.strip() for line in lines).count("0123456789") == 40


def test_a_wrong_filter_shows_where_and_the_mend_until_it_is_mended():
    snapshot = snapshot_of(1)
    view = type_keys(View(), snapshot, "/", *"worker:a kind:jb", "enter")
    lines = drawn(snapshot, view)
    at = lines.index("/worker:a kind:jb".ljust(80))
    assert lines[at + 1].rstrip() == " " * 15 + "^^"
    assert lines[at + 2].startswith("no kind 'jb': did you mean 'job'")
    assert view.filter is None
    mended = type_keys(view, snapshot, "backspace", *"ob", "enter")
    assert (mended.typing, mended.fault) == (None, ())
    assert mended.filter is not None
    assert mended.filter.expression == "worker:a kind:job"
    assert type_keys(view, snapshot, "escape") == View()
    assert type_keys(mended, snapshot, "escape").filter is None
    assert type_keys(mended, snapshot, "/", "clear", "enter").filter is None


def test_while_a_filter_is_typed_no_key_does_anything_else():
    snapshot = snapshot_of(1)
    view = type_keys(View(), snapshot, "/", *"qjw fs?o", "up")
    assert (view.typing, view.mode) == ("qjw fs?o", Mode.TABLE)


def filtered(expression):
    jobs = tuple(
        JobView(id, "c0", "main", worker, "started", 1.5, True)
        for id, worker in (("a1", "coder"), ("b2", "critic"))
    )
    edges = tuple(
        Edge(kind, "main", worker, 1, 0.0, 0, 0.0, 1.0)
        for kind, worker in (("job.request", "coder"), ("frame.text", "*"))
    )
    recent = (told(1), told(2, "job", id="a1", name="coder", state="started"))
    snapshot = Snapshot(1.0, (CallView("c0", "x", (), 0, 1.0),), 0, edges, jobs, recent=recent)
    shown = seen(View(filter=Filter(expression)), snapshot)
    return (
        [entry.at_ms // 1000 for entry in shown.recent],
        [job.id for job in shown.jobs],
        [edge.kind for edge in shown.edges],
    )


@pytest.mark.parametrize(
    ("expression", "recent", "jobs", "edges"),
    [
        ("kind:job", [2], ["a1", "b2"], ["job.request"]),
        ("to:coder", [2], ["a1"], ["job.request"]),
        ("job:b", [], ["b2"], ["job.request", "frame.text"]),
        ('"words 1"', [1], ["a1", "b2"], ["job.request", "frame.text"]),
        ("!kind:job", [1], [], ["frame.text"]),
        ("took>2s", [], [], ["job.request", "frame.text"]),
    ],
)
def test_a_filter_chooses_messages_and_jobs_and_edges_where_it_speaks_of_them(
    expression, recent, jobs, edges
):
    assert filtered(expression) == (recent, jobs, edges)


def test_what_a_filter_does_not_choose_from_is_said():
    snapshot = snapshot_of(1)
    for expression, parts in (("kind:job", "messages, jobs, traffic"), ('"boots"', "messages")):
        view = View(filter=Filter(expression))
        last = drawn(snapshot, view)[-1]
        assert last.rstrip() == f"filter {expression} ({parts}; Esc ends it)"


@pytest.mark.parametrize("size", [(80, 24), (200, 50)])
@pytest.mark.parametrize("mode", [Mode.TABLE, Mode.WORKERS])
def test_a_silent_worker_stands_out_by_a_sign_and_a_word(size, mode):
    worker = WorkerView("greeter", False, 1, 3, "Hello", ready_in=1, silent=7.4)
    snapshot = replace(snapshot_of(1), workers=(worker,))
    text = "\n".join(drawn(snapshot, View(mode=mode), *size))
    assert re.search(r"\n●   greeter +! silent 7 s ", text)


@pytest.mark.parametrize("size", [(80, 24), (200, 50)])
@pytest.mark.parametrize("mode", [Mode.TABLE, Mode.JOBS])
def test_a_late_job_stands_out_by_a_sign_and_a_word(size, mode):
    job = JobView("a1", "c0", "main", "coder", "update", 16.2, True, timeout=30.0, late=True)
    snapshot = replace(snapshot_of(1), jobs=(job,))
    text = "\n".join(drawn(snapshot, View(mode=mode), *size))
    assert re.search(r"\na1 .*main +→ coder +! late +16\.2 of 30 s", text)


def test_what_was_dropped_is_said_above_and_by_worker():
    worker = WorkerView("greeter", False, 0, 3, "Hello", ready_in=1, dropped=12)
    snapshot = replace(snapshot_of(1), workers=(worker,))
    assert "12 late frames dropped" in "\n".join(drawn(snapshot, View(), 120, 30))
    text = "\n".join(drawn(snapshot, View(mode=Mode.WORKERS)))
    assert re.search(r"greeter +ready .* 12 *\n", text)


def test_the_jobs_view_has_each_jobs_last_words_and_how_long_such_jobs_take():
    edge = Edge("job.request", "main", "coder", 1, 0.0, 0, 0.0, 1.0, p50=0.25, p95=0.75)
    job = JobView("a1", "c0", "main", "coder", "update", 2.0, True, timeout=30.0)
    recent = (told(1, "job", id="a1", name="coder"), told(2, "job", id="a1", name="coder"))
    snapshot = replace(snapshot_of(1), jobs=(job,), edges=(edge,), recent=recent)
    text = "\n".join(drawn(snapshot, View(mode=Mode.JOBS), 120, 30))
    assert re.search(r"a1 +c0 +main → coder +▸ update +2\.0 of 30 s +250/750 ms +words 2", text)


def test_a_snapshot_from_another_process_is_drawn_alike():
    snapshot = measured(2)
    other = msgspec.json.decode(msgspec.json.encode(snapshot), type=Snapshot)
    for mode in (Mode.TABLE, Mode.JOBS, Mode.WORKERS):
        for size in ((80, 24), (200, 50)):
            view = View(mode=mode)
            assert drawn(other, view, *size) == drawn(snapshot, view, *size)
    chosen = type_keys(View(), snapshot, "up", "up")
    assert drawn(other, chosen) == drawn(snapshot, chosen)


async def test_a_filter_by_kind_finds_messages_on_the_bus_those_of_the_past_too():
    tap, bus = Tap(), LocalBus()
    tap.open_call("c1", bus, recipe="test", workers=["coder"], main="main")
    assert isinstance(tap, Memory)
    for number in range(300):
        update = {"text": str(number)}
        await bus.send(
            BusJobUpdateMessage(source="coder", target="main", job_id="1", update=update)
        )
    await bus.send(BusJobRequestMessage(source="main", target="coder", job_id="1"))
    news = asyncio.Event()
    chosen = Chosen(tap, Filter("kind:job.update"), news.set)
    async with asyncio.timeout(10):
        await news.wait()
    assert [entry.payload["update"]["text"] for entry in chosen.entries] == [
        str(number) for number in range(100, 300)
    ]
    news.clear()
    await bus.send(BusJobUpdateMessage(source="coder", target="main", job_id="1", update={}))
    tap.collect()
    assert news.is_set()
    assert len(chosen.entries) == 200
    assert chosen.entries[-1].payload["update"] == {}
    chosen.close()
    before = chosen.entries
    await bus.send(BusJobUpdateMessage(source="coder", target="main", job_id="1", update={}))
    tap.collect()
    assert chosen.entries == before


@pytest.fixture
def talked():
    tap = Tap()
    for number in range(120):
        tap.add(told(number))
    return tap


async def test_what_is_remembered_is_saved_where_the_user_is(talked, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    said = await save_remembered(talked, "my/recipe")
    (path,) = tmp_path.iterdir()
    assert said == f"saved the last ten minutes, 120 entries: {path}"
    assert re.fullmatch(r"my-recipe-\d{8}-\d{6}\.jsonl", path.name)
    assert [*Recording(path, Entry)] == [told(number) for number in range(120)]


async def test_where_that_can_not_be_written_it_goes_to_the_logs(talked, tmp_path, monkeypatch):
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    said = await save_remembered(talked, "handoff")
    (path,) = (tmp_path / "state").rglob("*.jsonl")
    assert said.endswith(f": {path}")
    assert len([*Recording(path, Entry)]) == 120


@pytest.mark.parametrize("width", [40, 80])
def test_the_path_of_what_was_saved_is_shown_whole(width):
    path = "/home/somebody/projects/" + "voice-bot/" * 6 + "handoff-20260724-120000.jsonl"
    snapshot = snapshot_of(1)
    view = replace(View(), notice=f"saved: {path}")
    text = "".join(line.strip() for line in drawn(snapshot, view, width))
    assert path in text
    assert press(view, "x", snapshot).notice == ""
