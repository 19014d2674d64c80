"""One grammar chooses entries, and says kindly what it can't read."""

import pytest

from pipecat_workers_cli.errors import ConfigurationError
from pipecat_workers_cli.traffic.entry import Entry
from pipecat_workers_cli.traffic.filter import KEYS, MESSAGE_KINDS, Filter, FilterError
from pipecat_workers_cli.traffic.kinds import Kind

ENTRIES = {
    "words": Entry(event="message", call="7c01", at_ms=1, worker="greeter", kind="frame.text",
                   size=40, payload={"text": "The Tornado Kit"}),
    "asked": Entry(event="job", call="7c01", at_ms=2, worker="acme", name="expert", id="7f3a",
                   state="started", args={"question": "tornado?"}),
    "request": Entry(event="message", call="7c01", at_ms=2, worker="acme", target="expert",
                     kind="job.request", id="7f3a", size=20_000),
    "answered": Entry(event="job", call="9d02", at_ms=900, name="expert", id="7f3a",
                      state="completed", took_ms=900.0),
    "bot": Entry(event="bot", call="9d02", at_ms=950, worker="support", text="$199.",
                 latency_ms=500.0),
    "tool": Entry(event="tool", call="9d02", at_ms=3, worker="support", name="look", id="call_7f3",
                  args={"n": 42}),
    "over": Entry(event="transfer", call="9d02", at_ms=4, worker="greeter", target="support"),
}  # fmt: skip


@pytest.mark.parametrize(
    ("expression", "meant"),
    [
        ("", "words asked request answered bot tool over"),
        ("worker:support", "bot tool over"),
        ("worker:expert", "asked request answered"),
        ("from:acme", "asked request"),
        ("to:support", "over"),
        ("to:expert,support", "asked request answered over"),
        ("call:7c", "words asked request"),
        ("kind:job", "asked request answered"),
        ("kind:job,frame", "words asked request answered"),
        ("kind:frame.text", "words"),
        ("job:7f3", "asked request answered"),
        ("tool:look", "tool"),
        ("state:completed", "answered"),
        ("size>10k", "request"),
        ("size>=40 size<1k", "words"),
        ("took>500ms", "answered"),
        ("took>=0.5s", "answered bot"),
        ("took<=500ms", "bot"),
        ('"tornado"', "words asked"),
        ('"42"', "tool"),
        ("!kind:frame !kind:job", "bot tool over"),
        ('call:9d !"199" from:support', "tool"),
        ('worker:"support"', "bot tool over"),
    ],
)
def test_terms_must_all_hold(expression, meant):
    chosen = Filter(expression)
    assert [name for name, entry in ENTRIES.items() if chosen(entry)] == meant.split()


@pytest.mark.parametrize(
    ("expression", "caret", "what", "mend"),
    [
        ("wroker:support", "^^^^^^", "no key 'wroker'", "did you mean 'worker'?"),
        ("from:a kind:jub", "            ^^^", "no kind 'jub'", "did you mean 'job'?"),
        ("size>lots", "^^^^^^^^^", "'size' is compared with a number", "size>2k"),
        ("took:5s", "^^^^^^^", "'took' is compared with a number", "took>2ms"),
        ("worker>5", "      ^", "'worker' is no number", "worker:VALUE"),
        ("from:", "     ^", "'from' of nothing", "from:VALUE"),
        ("from:a,,b", "     ^^^^", "'from' of nothing", "from:ONE,OTHER"),
        ('from:a "torn', "       ^^^^^", "a quote isn't closed", "close it"),
        ("tornado", "^^^^^^^", "'tornado' has no key", 'quote a text: "tornado"'),
        ("from:a !", "       ^", "can't go on here", "KEY:VALUE"),
    ],
)
def test_what_can_t_be_read_is_pointed_at(expression, caret, what, mend):
    with pytest.raises(FilterError) as raised:
        Filter(expression)
    told, shown, pointed = raised.value.what.split("\n")
    assert what in told
    assert shown == f"  {expression}"
    assert pointed == f"  {caret}"
    assert mend in raised.value.mend
    assert raised.value.exit_code == 2


def test_a_filter_of_a_megabyte_is_refused():
    with pytest.raises(ConfigurationError):
        Filter("!" * 1_000_000)


def test_its_kinds_are_those_of_messages():
    assert tuple(Kind) == MESSAGE_KINDS


def test_each_key_says_what_it_means():
    assert all(key.meaning for key in KEYS.values())
