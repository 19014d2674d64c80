"""How long answers took in real calls, with set delays in the scripted LLM."""

import pytest
from pipecat.frames.frames import LLMMessagesAppendFrame

from pipecat_workers_cli.call.latency import turn_limit
from pipecat_workers_cli.errors import PmwError
from pipecat_workers_cli.traffic.entry import Entry
from pipecat_workers_cli.traffic.tap import Tap
from tests.call.conftest import WordsCall, open_words_call

SLOW_HANDOFF = """
name = "slow"
summary = "two agents that take their time"
[main]
name = "desk"
opening = { worker = "ann", message = "Welcome." }
[[workers]]
name = "ann"
summary = "welcomes"
prompt = "You welcome."
transfers = ["bob"]
script = [
  { on = "opening", say = "Welcome." },
  { match = "price", call = "transfer_to_agent", args = { agent = "bob", reason = "p" }, delay=0.1},
  { say = "Hello.", delay = 0.2 },
]
[[workers]]
name = "bob"
summary = "knows prices"
prompt = "You know prices."
script = [
  { say = "It is ten dollars.", delay = 0.25 },
]
"""

SLOW_JOB = """
name = "asks"
summary = "a clerk who asks an expert"
[main]
name = "clerk"
prompt = "You ask."
script = [
  { on = "user", match = "hello", say = "Hello." },
  { on = "user", call = "ask_expert", args = { question = "{text}" }, delay = 0.1 },
  { on = "tool:ask_expert", say = "The expert says: {result}", delay = 0.15 },
]
[[main.jobs]]
tool = "ask_expert"
workers = ["expert"]
takes = { question = "what to ask" }
%s
[[workers]]
name = "expert"
kind = "specialist"
summary = "knows"
prompt = "You know."
script = [ { say = "Forty-two.", delay = 0.3 } ]
"""
FILLER = 'filler = { say = "One moment.", after = 0.1 }'


def answers(entries: list[Entry]) -> list[Entry]:
    found = [entry for entry in entries if entry.event == "bot" and entry.turn is not None]
    for entry in found:
        assert sum((entry.parts or {}).values()) == (entry.latency_ms or 0)
    return found


async def latency(call: WordsCall, text: str) -> dict[str, int]:
    """Say a turn; return the parts of its only answer's latency."""
    [answer] = answers(await call.say(text))
    assert answer.latency_ms is not None
    return dict(answer.parts or {})


async def test_an_llms_delay_is_its_part_and_the_bus_is_one_of_few_milliseconds(recipe_file):
    async with open_words_call(recipe_file(SLOW_HANDOFF)) as call:
        await call.opened()
        parts = await latency(call, "Hello?")
    assert 195 <= parts.pop("llm") <= 400
    assert parts.keys() <= {"turn", "bus"}
    assert sum(parts.values()) < 190


async def test_the_first_answer_after_a_transfer_counts_from_the_callers_words(recipe_file):
    async with open_words_call(recipe_file(SLOW_HANDOFF)) as call:
        await call.opened()
        parts = await latency(call, "What is the price?")
    assert 345 <= parts.pop("llm") <= 600  # ann's to hand over, and bob's to say it
    assert parts.keys() <= {"turn", "bus", "transfer", "tool"}
    assert parts["transfer"] < 200


async def test_a_jobs_delay_is_a_part_of_its_own(recipe_file):
    async with open_words_call(recipe_file(SLOW_JOB % "")) as call:
        parts = await latency(call, "What is the answer?")
        again = await latency(call, "Hello?")
    assert 295 <= parts["job"] <= 500
    assert 245 <= parts["llm"] <= 450
    assert parts.keys() <= {"turn", "other", "llm", "tool", "job"}
    assert "job" not in again


async def test_a_filler_has_no_latency_and_does_not_shorten_the_answers(recipe_file):
    async with open_words_call(recipe_file(SLOW_JOB % FILLER)) as call:
        entries = await call.say("What is the answer?")
    filler = next(entry for entry in entries if entry.text == "One moment.")
    assert (filler.latency_ms, filler.parts) == (None, None)
    [answer] = answers(entries)
    assert (answer.parts or {})["job"] >= 295


async def test_an_opening_has_no_latency(recipe_file):
    async with open_words_call(recipe_file(SLOW_HANDOFF)) as call:
        await call.opened()
        [opening] = answers(call.entries)
    assert (opening.text, opening.latency_ms, opening.parts) == ("Welcome.", None, None)


async def test_what_the_bot_says_of_its_own_accord_has_no_latency(recipe_file):
    async with open_words_call(recipe_file(SLOW_HANDOFF)) as call:
        await call.opened()
        await call.say("Hello?")
        call.call.log.expect_opening()
        nudge = [{"role": "user", "content": "Are you there?"}]
        await call.call.main.queue_frame(LLMMessagesAppendFrame(nudge, run_llm=True))
        await call.call.settled()
        said = answers(call.entries)
    assert [entry.latency_ms is None for entry in said] == [True, False, True]


def limited(*entries: Entry, most_ms: int = 900, ending: BaseException | None = None) -> None:
    """Hold a session with these answers under a limit."""
    tap = Tap()
    with turn_limit(tap, most_ms):
        for entry in entries:
            tap.add(entry)
        if ending is not None:
            raise ending


def test_a_limit_that_no_answer_passed_says_nothing():
    limited(bot(latency_ms=900, parts={"llm": 900}), bot())


def test_a_limit_names_the_slowest_answer_and_its_largest_part():
    slow = bot(turn=3, latency_ms=1_400, parts={"turn": 100, "job": 900, "llm": 400})
    less_slow = (bot(turn=n, latency_ms=1_100, parts={"llm": 1_100}) for n in (2, 4))
    with pytest.raises(PmwError) as raised:
        limited(next(less_slow), slow, next(less_slow))
    assert raised.value.what == "answer 3, support's, took 1400 ms, 900 ms of it job"
    assert "--max-turn-ms 900" in raised.value.mend
    assert raised.value.exit_code == 1


def test_a_limit_holds_for_a_session_that_is_interrupted_and_leaves_other_failures_alone():
    slow = bot(latency_ms=1_000, parts={"llm": 1_000})
    with pytest.raises(PmwError, match="1000 ms"):
        limited(slow, ending=KeyboardInterrupt())
    with pytest.raises(KeyboardInterrupt):
        limited(ending=KeyboardInterrupt())
    with pytest.raises(PmwError, match="no answer"):
        limited(slow, ending=PmwError("no answer", mend="look"))


def bot(**fields) -> Entry:
    given = {"turn": 1, "worker": "support", "text": "Yes.", **fields}
    return Entry(event="bot", call="c1", at_ms=0, **given)
