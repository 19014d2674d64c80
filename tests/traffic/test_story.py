"""Recorded calls, put together, shown, compared and summed up."""

import json
import re
from pathlib import Path

import msgspec
import pytest
import yaml
from msgspec.structs import replace
from pipecat.evals.scenario import EvalScenarioFile

from pipecat_workers_cli.errors import ConfigurationError
from pipecat_workers_cli.options import Words
from pipecat_workers_cli.traffic.compare import find_divergence
from pipecat_workers_cli.traffic.entry import Entry
from pipecat_workers_cli.traffic.record import Recording
from pipecat_workers_cli.traffic.show import as_mermaid, as_scenario, as_text, turn_as_text
from pipecat_workers_cli.traffic.stats import Line, Times, sum_up
from pipecat_workers_cli.traffic.story import read_stories
from tests.traffic.conftest import HANDOFF, hold_call, write


def story_of(entries):
    [story] = read_stories(entries)
    return story


def without(entries, **fields):
    return [e for e in entries if any(getattr(e, name) != v for name, v in fields.items())]


def test_each_turn_has_what_the_caller_said_and_what_came_of_it(handoff_entries):
    story = story_of(handoff_entries)
    assert (story.recipe, story.reason) == ("handoff", "the caller said goodbye")
    assert [turn.number for turn in story.turns] == [0, 1, 2, 3, 4]
    assert [turn.active for turn in story.turns] == [
        "greeter", "greeter", "support", "support", "greeter",
    ]  # fmt: skip
    first = story.turns[1]
    assert [step.what for step in first.steps] == ["user", "tool", "transfer", "bot"]
    assert first.steps[1].state == "completed"
    assert first.steps[1].took_ms > 0
    assert "$299" in first.steps[3].text
    assert "greeter handed the call over" in story.turns[2].why


def test_what_a_worker_was_given_is_there_whole(handoff_entries):
    story = story_of(handoff_entries)
    told = "\n".join(turn_as_text(story, story.turns[2]))
    assert "active: support (greeter handed the call over: the caller says: How much" in told
    assert "prompt: You are product support at Acme Corporation" in told
    assert "tools: end_conversation, transfer_to_agent" in told
    given = story.turns[2].given[-1]
    words = [str(message.get("content")) for message in given.messages]
    assert any("Welcome to Acme" in word for word in words)
    assert words[-1] == HANDOFF[1]


def test_jobs_stand_under_the_tool_that_asked_for_them(debate_entries):
    story = story_of(debate_entries)
    tool = next(step for step in story.turns[1].steps if step.what == "tool")
    assert [job.name for job in tool.steps] == ["advocate", "critic", "analyst"]
    assert {job.state for job in tool.steps} == {"completed"}
    assert all(job.took_ms <= tool.took_ms for job in tool.steps)
    text = "\n".join(as_text(story))
    assert "moderator calls debate(topic=" in text
    assert "job for critic completed: Those who are new learn" in text


def test_a_call_that_is_cut_off_is_told_as_far_as_it_goes(debate_entries):
    for count in range(1, len(debate_entries)):
        stories = read_stories(debate_entries[:count])
        assert "".join(as_text(stories[0]))
        assert "".join(as_mermaid(stories[0]))
        assert "".join(as_scenario(stories[0]))


def test_two_calls_in_one_file_are_told_apart(handoff_entries, debate_entries):
    mixed = [e for pair in zip(handoff_entries, debate_entries, strict=False) for e in pair]
    assert [story.recipe for story in read_stories(mixed)] == ["handoff", "debate"]
    wanted = debate_entries[0].call
    assert [story.recipe for story in read_stories(mixed, call=wanted[:6])] == ["debate"]


NASTY = 'end; "x" %% note\n-->> <b>#35;</b> : loop'
ARROW = re.compile(
    r"    (\w+(->>\+?|--(>>|x)-|-\))\+?\w+: .+|Note over \w+: .+|(actor|participant) \w+ as .+)"
)


def test_each_line_of_a_diagram_is_one_of_mermaids(handoff_entries, debate_entries):
    nasty = [
        replace(e, text=NASTY, name="end" if e.event == "job" else e.name)
        for e in debate_entries
        if e.event != "call"
    ]
    for entries in (handoff_entries, debate_entries, nasty):
        head, *lines = as_mermaid(story_of(entries))
        assert head == "sequenceDiagram"
        assert all(ARROW.fullmatch(line) for line in lines), lines
        assert not any(";" in re.sub(r"#\w+;", "", line) or "%%" in line for line in lines)


@pytest.mark.parametrize("recipe", ["handoff", "debate"])
def test_a_scenario_of_a_call_is_one_of_pipecats(recipe, tmp_path, request):
    story = story_of(request.getfixturevalue(f"{recipe}_entries"))
    path = tmp_path / "scenario.yaml"
    path.write_text("\n".join(as_scenario(story)))
    [scenario] = EvalScenarioFile.load(str(path))
    said = [turn.user for turn in scenario.turns if turn.user]
    assert said[-1] == "goodbye"
    assert yaml.safe_load(path.read_text())["scenarios"][0]["turns"][0]["expect"]


async def test_two_calls_by_the_same_script_are_alike_ten_times(handoff_entries, debate_entries):
    for _ in range(10):
        again = await hold_call("handoff", *HANDOFF)
        assert find_divergence(story_of(handoff_entries), story_of(again)) is None
    for _ in range(3):
        again = await hold_call("debate", "Should we work from home?", "goodbye")
        assert find_divergence(story_of(debate_entries), story_of(again)) is None


def changed(entries, event, **fields):
    """Change the last entry of an event."""
    place = max(i for i, entry in enumerate(entries) if entry.event == event)
    return [*entries[:place], replace(entries[place], **fields), *entries[place + 1 :]]


def test_a_changed_price_is_found_even_by_fuzzy_words(handoff_entries):
    dearer = [
        replace(e, text=e.text.replace("299", "289")) if e.event == "bot" else e
        for e in handoff_entries
    ]
    for words in (Words.EXACT, Words.FUZZY):
        found = find_divergence(story_of(handoff_entries), story_of(dearer), words=words)
        assert found.turn == 1
        assert "$299" in found.one
        assert "$289" in found.other
        assert "greeter → support" in found.before[-1]
    assert find_divergence(story_of(handoff_entries), story_of(dearer), words=Words.OFF) is None


def test_other_words_of_the_caller_are_in_the_turn_that_they_begin(handoff_entries):
    place = next(i for i, entry in enumerate(handoff_entries) if entry.event == "user")
    entries = [*handoff_entries]
    entries[place] = replace(entries[place], text="Something else")
    found = find_divergence(story_of(handoff_entries), story_of(entries))
    assert (found.turn, found.other) == (1, "user: Something else")


def test_a_scenario_holds_nothing_that_a_terminal_obeys(handoff_entries):
    entries = [
        replace(entry, text="evil \x9b31m \x1b[2J words") if entry.event == "user" else entry
        for entry in handoff_entries
    ]
    text = "\n".join(as_scenario(story_of(entries)))
    assert "evil \\u009b31m" in text
    assert yaml.safe_load(text)["scenarios"][0]["turns"][1]["user"] == "evil \x9b31m \x1b[2J words"


def test_other_words_for_the_same_pass_as_fuzzy(handoff_entries):
    kinder = [
        replace(e, text=e.text.replace("cost $299", "are just $299")) if e.event == "bot" else e
        for e in handoff_entries
    ]
    one, other = story_of(handoff_entries), story_of(kinder)
    assert find_divergence(one, other) is not None
    assert find_divergence(one, other, words=Words.FUZZY) is None


def test_a_swapped_handoff_and_a_lost_tool_call_are_found(handoff_entries):
    swapped = changed(handoff_entries, "transfer", target="support", worker="greeter")
    found = find_divergence(story_of(handoff_entries), story_of(swapped))
    assert found.one.startswith("support → greeter")
    assert found.other.startswith("greeter → support")
    ended = next(e.id for e in handoff_entries if e.name == "end_conversation")
    lost = [e for e in handoff_entries if e.id != ended]
    found = find_divergence(story_of(handoff_entries), story_of(lost))
    assert "end_conversation" in found.one
    ignored = ("tool", "user", "bot", "end", "transfer")
    assert find_divergence(story_of(swapped), story_of(lost), ignore=ignored) is None


def test_a_job_that_ends_otherwise_is_found(debate_entries):
    failed = changed(debate_entries, "job", state="failed", text="broken")
    found = find_divergence(story_of(debate_entries), story_of(failed))
    assert "failed: broken" in found.other


def test_nothing_else_can_be_left_out_of_a_comparison(handoff_entries):
    story = story_of(handoff_entries)
    with pytest.raises(ConfigurationError) as raised:
        find_divergence(story, story, ignore=["tols"])
    assert "did you mean 'tool'?" in raised.value.mend


def test_sums_count_what_is_there(debate_entries, tmp_path):
    path = write(tmp_path / "call.jsonl.gz", debate_entries)
    summed = sum_up(Recording(path, Line))
    assert summed.calls == 1
    assert summed.kinds["job.request"].count == 3
    assert summed.jobs["critic"].count == 1
    assert summed.jobs["critic"].failed == 0
    assert summed.tools["debate"].times.count == 1
    assert summed.workers["moderator"].count == 3
    assert sum_up(Recording(path, Line), call="nothing").calls == 0


def test_percentiles_are_within_a_few_per_cent_in_little_room():
    times = Times()
    for ms in range(1, 100_001):
        times.add(ms / 10)
    for share in (0.5, 0.95, 0.99):
        assert times.percentile(share) == pytest.approx(share * 10_000, rel=0.03)
    assert times.percentile(1.0) == times.most == 10_000
    assert len(times.buckets) < 1_000
    assert Times().percentile(0.5) == 0


def test_a_story_is_json(debate_entries):
    told = json.loads(msgspec.json.encode(story_of(debate_entries)))
    assert told["turns"][1]["steps"][1]["steps"][0]["what"] == "job"


def test_entries_without_a_call_are_no_call():
    assert read_stories([Entry(event="error", call="", at_ms=0, text="disk")]) == []


def test_recordings_survive_the_way_through_a_file(handoff_entries, tmp_path: Path):
    path = write(tmp_path / "call.jsonl.zst", handoff_entries)
    assert [*Recording(path, Entry)] == handoff_entries
