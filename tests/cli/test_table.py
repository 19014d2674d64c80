import asyncio
import io
import re
import time
from dataclasses import replace

import pytest
from rich.cells import cell_len
from rich.console import Console

from pipecat_workers_cli.cli.cells import HEIGHTS, fit, in_ascii, sparkline, wrap
from pipecat_workers_cli.cli.plain_text import plain
from pipecat_workers_cli.cli.sheet import Header, render_help, render_table
from pipecat_workers_cli.cli.table import entry_line, open_page, run_lines
from pipecat_workers_cli.traffic.entry import Entry
from pipecat_workers_cli.traffic.kinds import Kind
from pipecat_workers_cli.traffic.tap import Tap
from pipecat_workers_cli.traffic.views import (
    CallView,
    Edge,
    JobView,
    SeriesView,
    Snapshot,
    WorkerView,
)

HEADER = Header(
    recipe="handoff",
    address="http://localhost:7860/",
    providers="offline: moonshine, scripted, piper (no key for deepgram, openai, cartesia)",
    ending="q or Ctrl-C ends",
    max_calls=4,
)
LONG = "x" * 300
WIDE = "速い靴はいくらですか🚀" * 20
NASTY = "red \x1b[31malert\x1b]0;title\x07\r\nnext\tline \u202ereversed\u200d ❤\ufe0f\ud800"


def snapshot_of(calls, *, text="Rocket Boots cost $299.", name="greeter", edges=14, jobs=3):
    """Make a snapshot of `calls` calls in which everything has the same text and name."""
    kinds = list(Kind)
    entries = [
        Entry(event="user", call="c0", at_ms=61_000, text=text),
        Entry(event="bot", call="c0", at_ms=62_000, worker=name, text=text),
        Entry(event="tool", call="c0", at_ms=62_500, worker=name, name=name, args={"why": text}),
        Entry(event="transfer", call="c0", at_ms=63_000, worker=name, target=name, reason=text),
        Entry(event="job", call="c0", at_ms=64_000, name=name, id="1", state="started"),
        Entry(event="error", call="c0", at_ms=65_000, worker=name, text=text),
        Entry(event="end", call="c0", at_ms=66_000, reason=text),
    ] * 10
    return Snapshot(
        uptime=83.0,
        calls=tuple(CallView(f"c{n}", name, (name,), n, 12.0 * n) for n in range(calls)),
        ended=2 if calls else 0,
        edges=tuple(
            Edge(kinds[n % len(kinds)], name, name, 10**n, 1.5 * n, 960 * n, 0.02 * n, 3.0 * n)
            for n in range(edges)
        ),
        jobs=tuple(
            JobView(f"{n:08x}-1111-2222", "c0", name, name, "update", 1.5, True)
            for n in range(jobs)
        ),
        workers=(
            WorkerView("main", True, 0, 0, ""),
            WorkerView(name, False, calls, 3, text, 1_240, 830.5),
            WorkerView("support", False, 0, 1, text, 95, 95),
        ),
        recent=tuple(entries) if calls else (),
    )


def measured(calls, *, name="controller", values=(22.0, 22.5, 30.0, 24.0), **more):
    """Make a snapshot of `calls` calls, in each of which a worker measures something."""
    series = tuple(
        SeriesView(f"c{n}", name, more.get("reading", "temperature"), "°C", tuple(values))
        for n in range(calls)
    )
    return replace(snapshot_of(calls, name=name), series=series)


def printed(sheet, width, height=50, **options):
    out = io.StringIO()
    console = Console(
        file=out, width=width, height=height, force_terminal=True, legacy_windows=False, **options
    )
    console.print(sheet, end="")
    return out.getvalue()


def lines_of(sheet, width, height=50):
    text = re.sub(r"\x1b\[[0-9;]*m", "", printed(sheet, width, height))
    return text.split("\n")


@pytest.mark.parametrize("size", [(80, 24), (200, 50), (80, 50), (131, 24), (40, 10), (9, 3)])
@pytest.mark.parametrize("calls", [0, 1, 20])
@pytest.mark.parametrize("text", ["Boots cost $299.", LONG, WIDE, NASTY, ""])
def test_it_fits_the_terminal_whatever_was_said(size, calls, text):
    width, height = size
    snapshot = snapshot_of(calls, text=text, name=text or "greeter", edges=20, jobs=30)
    lines = lines_of(render_table(snapshot, HEADER, width, height), width, height)
    assert len(lines) <= height
    assert {cell_len(line) for line in lines} == {width}
    assert not [sign for line in lines for sign in line if ord(sign) < 32]


@pytest.mark.parametrize("size", [(80, 24), (200, 50)])
def test_help_fits_and_comes_back(size):
    lines = lines_of(render_help(HEADER, *size), *size)
    assert len(lines) <= size[1]
    assert {cell_len(line) for line in lines} == {size[0]}
    assert "open the page" in "\n".join(lines)
    no_page = Header("handoff", None, "offline", "q or Ctrl-C ends")
    assert "open the page" not in "\n".join(lines_of(render_help(no_page, *size), *size))


def test_at_80_by_24_every_part_is_there_and_says_what_it_leaves_out():
    lines = lines_of(render_table(snapshot_of(1), HEADER, 80, 24, lag=0.0034), 80, 24)
    text = "\n".join(lines)
    assert "handoff · http://localhost:7860/" in lines[0]
    assert lines[0].endswith("q or Ctrl-C ends")
    assert "no key for deepgram" in lines[1]
    assert lines[2].startswith("calls 1 of 4 · 2 ended · up 1:23 · loop lag 3 ms")
    for title in ("workers", "traffic +", "jobs", "messages"):
        assert f"\n{title}" in text
    assert re.search(r"traffic \+\d+ more", text)
    assert len(lines) == 24


def test_at_200_by_50_nothing_is_left_out_and_calls_have_a_part_of_their_own():
    text = "\n".join(lines_of(render_table(snapshot_of(9), HEADER, 200, 50), 200))
    assert " more" not in text
    assert re.search(r"c8 +greeter +● greeter +8 +1:36", text)
    assert HEADER.providers in text.split("\n")[0]


def test_the_first_line_and_each_call_say_which_version_of_the_recipe_runs():
    snapshot = snapshot_of(2)
    old, new = (
        replace(call, hash=version)
        for call, version in zip(snapshot.calls, ("c39ad302a3ce", "b73bd1d69b57"), strict=True)
    )
    header = replace(HEADER, hash="b73bd1d69b57")
    lines = lines_of(render_table(replace(snapshot, calls=(old, new)), header, 80, 40), 80, 40)
    assert lines[0].startswith("handoff b73bd1d69b57 · http://localhost:7860/")
    assert lines[0].endswith("q or Ctrl-C ends")
    for call, version in (("c0", "c39ad302a3ce"), ("c1", "b73bd1d69b57")):
        assert re.search(rf"\n{call} +greeter +{version} +● greeter", "\n".join(lines))


def test_the_active_worker_has_a_sign_and_not_only_a_colour():
    lines = lines_of(render_table(snapshot_of(1), HEADER, 80, 24), 80)
    marked = [line for line in lines if line.startswith("●")]
    assert [line.split()[1] for line in marked] == ["greeter"]
    many = lines_of(render_table(snapshot_of(20), HEADER, 80, 24), 80)
    assert [line.split()[0] for line in many if line.startswith("●")] == ["●20"]


@pytest.mark.parametrize("size", [(80, 24), (200, 50), (131, 24), (40, 10), (9, 3)])
@pytest.mark.parametrize("name", ["controller", LONG, WIDE, NASTY])
@pytest.mark.parametrize("count", [1, 500])
def test_what_workers_measure_fits_the_terminal_too(size, name, count):
    snapshot = measured(3, name=name, reading=name, values=[-1e9, *range(count)])
    lines = lines_of(render_table(snapshot, HEADER, *size), *size)
    assert len(lines) <= size[1]
    assert {cell_len(line) for line in lines} == {size[0]}


@pytest.mark.parametrize("size", [(80, 24), (200, 50)])
def test_what_a_worker_measures_is_a_line_with_its_least_most_and_latest(size):
    lines = lines_of(render_table(measured(1), HEADER, *size), *size)
    head = next(line for line in lines if line.startswith("readings"))
    row = lines[lines.index(head) + 1]
    assert re.search(r"least +most +latest", head)
    assert re.match(r"controller +temperature +▁▁█▃ +22\.0 +30\.0 +24\.0 °C", row)
    for title in ("workers", "traffic", "jobs", "messages"):
        assert f"{title} " in "\n".join(lines)


@pytest.mark.parametrize("size", [(80, 24), (120, 40), (200, 50)])
def test_each_member_of_a_job_group_is_to_be_seen_with_its_state(size):
    states = {"advocate": "started", "critic": "update", "analyst": "completed"}
    jobs = tuple(
        JobView("7f3a90c2-1111", "c0", "moderator", name, state, 1.5, state != "completed")
        for name, state in states.items()
    )
    snapshot = replace(snapshot_of(1, name="moderator"), jobs=jobs)
    lines = lines_of(render_table(snapshot, HEADER, *size), *size)
    for name, state in states.items():
        assert any(re.match(f"7f3a90c2 .*→ {name} .*{state} +1.5 s", line) for line in lines)


def test_the_latest_figures_are_drawn_when_the_line_is_too_short_for_all():
    lines = lines_of(render_table(measured(1, values=range(500)), HEADER, 80, 24), 80)
    (row,) = [line for line in lines if "temperature" in line]
    line = re.search(f"[{HEIGHTS}]+", row)[0]
    assert 10 < len(line) < 80
    assert line[0] == "▁"
    assert line[-1] == "█"
    assert re.search(rf" {500 - len(line)}\.0 +499\.0 +499\.0 °C", row)


def test_where_nobody_measures_there_is_no_such_part():
    assert "readings" not in "\n".join(lines_of(render_table(snapshot_of(1), HEADER, 80, 24), 80))


def test_in_many_calls_each_line_says_whose_it_is():
    text = "\n".join(lines_of(render_table(measured(2), HEADER, 200, 50), 200))
    assert "controller c0" in text
    assert "controller c1" in text


@pytest.mark.parametrize(
    ("values", "line"),
    [
        ((), ""),
        ((5.0,), "▅"),
        ((5, 5, 5), "▅▅▅"),
        ((0, 7), "▁█"),
        (range(8), HEIGHTS),
        ((-0.1, 0.1, -0.1), "▁█▁"),
    ],
)
def test_figures_are_drawn_between_their_least_and_their_most(values, line):
    assert sparkline(tuple(values)) == line


def test_a_line_of_figures_has_a_form_in_ascii():
    assert in_ascii(sparkline(range(8)) + " 22.0 °C") == "_.-:=+*# 22.0  C"


def test_it_says_how_long_a_workers_answers_took_and_marks_the_slow():
    lines = lines_of(render_table(snapshot_of(1), HEADER, 80, 24), 80)
    head = next(line for line in lines if line.startswith("workers"))
    rows = {line[4:20].strip(): line[38:60].split() for line in lines if line[4:20].strip()}
    assert head[38:60].split() == ["turns", "last", "ms", "median"]
    assert rows["greeter"] == ["3", "!", "1240", "830"]
    assert rows["support"] == ["1", "95", "95"]
    assert rows["main"] == []


def test_before_the_first_call_it_says_what_to_do():
    text = "\n".join(lines_of(render_table(snapshot_of(0), HEADER, 80, 24), 80))
    assert "No call yet: open http://localhost:7860/." in text


def test_without_keys_none_is_named():
    text = "\n".join(lines_of(render_table(snapshot_of(1), HEADER, 80, 24, keys=False), 80))
    assert "? help" not in text
    assert "o opens" not in text


def test_no_color_leaves_no_colour(monkeypatch):
    sheet = render_table(snapshot_of(1), HEADER, 80, 24)
    coloured = re.compile(r"\x1b\[[0-9;]*(3[0-7]|4[0-7]|9[0-7])[0-9;]*m")
    options = {"color_system": "256", "_environ": {"TERM": "xterm-256color"}}
    assert coloured.search(printed(sheet, 80, **options))
    options["_environ"] = {"TERM": "xterm-256color", "NO_COLOR": "1"}
    assert not coloured.search(printed(sheet, 80, **options))


def test_a_terminal_without_unicode_gets_similar_signs():
    raw = io.BytesIO()
    out = io.TextIOWrapper(raw, encoding="ascii")
    console = Console(file=out, width=80, height=24)
    console.print(render_table(snapshot_of(1, text=WIDE), HEADER, 80, 24))
    out.flush()
    assert b"*   greeter" in raw.getvalue()


def test_cells_cut_wide_characters_at_their_width():
    assert fit("速い靴", 4) == "速 …"
    assert fit("速い靴", 6) == "速い靴"
    assert fit("ab", 4, right=True) == "  ab"
    assert fit("anything", 0) == ""
    assert wrap("one two three", 7, 4) == ["one two", "three"]
    assert wrap("one two three", 7, 1) == ["one tw…"]
    assert wrap("", 7, 4) == [""]
    assert plain("a\x1b[2Jb\nc\u202ed") == "a [2Jb cd"


async def test_lines_are_written_as_they_come_and_end_with_the_session():
    out = io.StringIO()
    tap, stop = Tap(), asyncio.Event()
    lines = asyncio.create_task(
        run_lines(tap, console=Console(file=out, width=40), stop=stop), name="lines"
    )
    async with asyncio.timeout(5):
        while not out.getvalue():  # until it listens
            tap.add(Entry(event="user", call="c1", at_ms=61_000, text="[b]markup[/b]?"))
            await asyncio.sleep(0)
        tap.add(Entry(event="bot", call="c1", at_ms=62_000, worker="greeter", text=NASTY + LONG))
        tap.add(
            Entry(event="transfer", call="c1", at_ms=63_000, worker="greeter", target="support")
        )
        stop.set()
        await lines
    written = out.getvalue().splitlines()
    assert written[0] == "   1:01 c1 user: [b]markup[/b]?"
    assert written[-1] == "   1:03 c1 * transfer greeter -> support"
    assert written[-2].endswith(LONG)
    assert "\x1b" not in out.getvalue()


def test_a_line_has_time_call_and_event():
    entry = Entry(event="error", call="7c1f", at_ms=3_723_000, worker="greeter", text="no key")
    assert entry_line(entry) == "1:02:03 7c1f * error no key"


def test_the_page_opens_in_a_browser_with_a_window_only(monkeypatch, tmp_path):
    import webbrowser

    opened = tmp_path / "opened"
    browser = tmp_path / "browser"
    browser.write_text(f'#!/bin/sh\necho "$1" > {opened}.new && mv {opened}.new {opened}\n')
    browser.chmod(0o755)
    # What a registered graphical browser is, and what a browser in the terminal is.
    windowed = webbrowser.BackgroundBrowser(str(browser))
    monkeypatch.setattr(webbrowser, "get", lambda: webbrowser.GenericBrowser(str(browser)))
    open_page("http://localhost:1/")
    assert not opened.exists()
    monkeypatch.setattr(webbrowser, "get", lambda: windowed)
    open_page("http://localhost:2/")
    deadline = time.monotonic() + 5
    while not opened.exists():
        assert time.monotonic() < deadline
        time.sleep(0.01)
    assert opened.read_text() == "http://localhost:2/\n"
