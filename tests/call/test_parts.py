"""The arithmetic of a turn's latency: whatever the moments, the parts sum to the whole."""

import random

import pytest

from pipecat_workers_cli.call.parts import Moment, Step, reckon


def moments(*steps: tuple[float, Step] | tuple[float, Step, str]) -> list[Moment]:
    """Moments from times in milliseconds; they begin somewhere, as clocks do."""
    return [Moment(round((7_000 + at) * 1e6), *rest) for at, *rest in steps]


def parted(until: float, *steps, over_bus: bool = True) -> dict[str, int]:
    latency = reckon(moments(*steps), round((7_000 + until) * 1e6), over_bus=over_bus)
    assert sum(latency.parts.values()) == latency.ms == round(until)
    return dict(latency.parts)


ASKED = ((0, Step.COME), (10, Step.ASKED), (15, Step.BEGUN))


def test_an_answer_in_words_is_the_turn_the_bus_and_the_llm():
    assert parted(400, *ASKED) == {"turn": 10, "bus": 5, "llm": 385}


def test_without_a_bus_the_way_to_the_llm_is_nothing_of_its_own():
    assert parted(400, *ASKED, over_bus=False) == {"turn": 10, "other": 5, "llm": 385}


def test_a_spoken_answer_has_ears_and_voice_too():
    spoken = parted(
        1_300,
        (0, Step.COME),
        (200, Step.STOPPED),
        (350, Step.HEARD),
        (400, Step.ASKED),
        (403, Step.BEGUN),
        (1_000, Step.SPEAKING),
        (1_250, Step.SOUND),
    )
    assert spoken == {"turn": 250, "stt": 150, "bus": 3, "llm": 597, "tts": 250, "out": 50}


def test_a_tool_is_a_part_and_a_job_that_it_waits_for_another():
    asked_somebody = parted(
        1_000,
        *ASKED,
        (100, Step.TOOL, "t"),
        (110, Step.JOB, "j"),
        (700, Step.JOB_DONE, "j"),
        (720, Step.TOOL_DONE, "t"),
        (725, Step.ASKED),
        (730, Step.BEGUN),
    )
    assert asked_somebody == {
        "turn": 10,
        "bus": 10,
        "llm": 85 + 270,
        "tool": 30,
        "job": 590,
        "other": 5,
    }


def test_of_tools_and_jobs_side_by_side_the_last_one_counts():
    both = parted(
        500,
        *ASKED,
        (20, Step.TOOL, "a"),
        (20, Step.TOOL, "b"),
        (30, Step.JOB, "1"),
        (30, Step.JOB, "2"),
        (100, Step.JOB_DONE, "1"),
        (150, Step.TOOL_DONE, "a"),
        (200, Step.JOB_DONE, "2"),
        (210, Step.TOOL_DONE, "b"),
        (210, Step.ASKED),
        (210, Step.BEGUN),
    )
    assert both == {"turn": 10, "bus": 5, "llm": 5 + 290, "tool": 20, "job": 170}


def test_a_job_that_no_tool_waits_for_is_not_waited_for():
    assert parted(400, *ASKED, (20, Step.JOB, "j")) == {"turn": 10, "bus": 5, "llm": 385}


def test_a_transfer_lasts_from_the_tool_until_the_next_agent_is_asked():
    handed_over = parted(
        900,
        *ASKED,
        (300, Step.TOOL, "t"),
        (300, Step.LEAVING),
        (301, Step.TOOL_DONE, "t"),
        (320, Step.LEAVING),
        (330, Step.ASKED),
        (332, Step.BEGUN),
    )
    assert handed_over == {"turn": 10, "bus": 7, "llm": 285 + 568, "transfer": 30}


def test_what_was_said_before_a_tool_is_voice_until_it_is_heard():
    beside = (
        *ASKED,
        (50, Step.SPEAKING),
        (60, Step.TOOL, "t"),
        (150, Step.SOUND),
    )
    assert parted(200, *beside) == {"turn": 10, "bus": 5, "llm": 35, "tts": 100, "out": 50}
    later = (*beside, (200, Step.GIVEN), (500, Step.TOOL_DONE, "t"), (500, Step.ASKED))
    assert parted(600, *later) == {
        "turn": 10,
        "llm": 35,
        "tts": 100,
        "out": 50,
        "tool": 300,
        "bus": 105,
    }


def test_a_result_that_waits_for_a_fillers_end_waits_for_what_is_being_said():
    filled = parted(
        700,
        *ASKED,
        (20, Step.TOOL, "t"),
        (100, Step.SAYING),
        (300, Step.TOOL_DONE, "t"),
        (400, Step.SAID),
        (405, Step.ASKED),
        (410, Step.BEGUN),
    )
    assert filled == {"turn": 10, "bus": 10, "llm": 295, "tool": 280, "out": 100, "other": 5}


def test_what_comes_after_the_answer_does_not_count():
    assert parted(20, *ASKED, (30, Step.TOOL, "t")) == {"turn": 10, "bus": 5, "llm": 5}


def test_a_part_that_took_no_time_is_left_out():
    assert parted(10, (0, Step.COME), (10, Step.ASKED)) == {"turn": 10}
    assert parted(0, (0, Step.COME)) == {}


@pytest.mark.parametrize("seed", range(20))
def test_parts_sum_to_the_whole_in_any_order_and_with_any_fractions(seed):
    chance = random.Random(seed)
    steps = [
        (chance.uniform(0, 900), step, chance.choice("ab"))
        for step in chance.choices(list(Step), k=40)
    ]
    parts = parted(1_000.4, (0, Step.COME), *steps)
    assert all(taken > 0 for taken in parts.values())
