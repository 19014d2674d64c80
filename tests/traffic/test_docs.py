"""The page about traffic says what the code does."""

import re
from pathlib import Path
from typing import get_args

from pipecat_workers_cli.traffic.compare import ASPECTS
from pipecat_workers_cli.traffic.entry import Entry, Event
from pipecat_workers_cli.traffic.filter import KEYS, MESSAGE_KINDS

PAGE = (Path(__file__).parents[2] / "docs" / "traffic.md").read_text(encoding="utf-8")
ROW = re.compile(r"^\| `(\w+)` \| (.+) \|$", re.MULTILINE)


def test_every_field_of_an_entry_and_every_key_of_a_filter_is_there():
    rows = [match[0] for match in ROW.findall(PAGE)]
    assert rows == [*Entry.__struct_fields__, *KEYS]


def test_keys_mean_there_what_they_mean_here():
    told = dict(ROW.findall(PAGE[PAGE.index("## Filters") :]))
    assert told == {name: key.meaning for name, key in KEYS.items()}


def test_events_kinds_and_aspects_are_all_named():
    for word in (*get_args(Event), *MESSAGE_KINDS):
        assert f"`{word}`" in PAGE
    for aspect in ASPECTS:
        assert re.search(rf"\b{aspect}\b", PAGE)
