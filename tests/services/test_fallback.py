import pytest
from pipecat.turns.empty_user_turn import DEFAULT_EMPTY_USER_TURN_INTERRUPTED_PROMPT

from pipecat_workers_cli.services.fallback import improvise
from pipecat_workers_cli.services.providers import Persona
from pipecat_workers_cli.services.script import Call, Say, Tool
from pipecat_workers_cli.services.trigger import Trigger

WORDS = {"type": "string"}
END = Tool("end_conversation", {"reason": WORDS}, ("reason",))
TRANSFER = Tool(
    "transfer_to_agent",
    {"agent": {**WORDS, "enum": ["support", "night_shift"]}, "reason": WORDS},
    ("agent", "reason"),
)
ASK = Tool("ask_code", {"question": WORDS}, ("question",))
TOOLS = {tool.name: tool for tool in (END, TRANSFER)}
WITH_JOB = {**TOOLS, "ask_code": ASK}

GREETER = Persona("greeter", "welcomes callers; knows no prices")


def answer(trigger, tools=TOOLS, persona=GREETER):
    return improvise(persona, trigger, tools)


def heard(text):
    return Trigger("user", (text,), heard=text)


def told(result, tool="ask_code", **rest):
    said = answer(Trigger("tool", ("…",), tool=tool, result=result, **rest))
    assert isinstance(said, Say)
    return said.text


@pytest.mark.parametrize(
    ("summary", "role"),
    [
        ("welcomes callers; knows no prices", "I'm the one who welcomes callers."),
        ("Knows every product.", "I'm the one who knows every product."),
        ("a guide to the museum", "I'm a guide to the museum."),
        ("Acme's assistant", "I'm Acme's assistant."),
        ("sales and orders", "In short: sales and orders."),
    ],
)
def test_an_opening_says_who_it_is(summary, role):
    said = answer(Trigger("opening", ("Welcome.",)), persona=Persona("night-shift", summary))
    assert said == Say(f"Hello, this is night shift. {role} What can I do for you?")


def test_a_worker_without_a_summary_still_opens_the_call():
    said = answer(Trigger("opening", ("Welcome.",)), persona=Persona("main"))
    assert said == Say("Hello, this is main. What can I do for you?")


@pytest.mark.parametrize(
    ("text", "agent"),
    [
        ("can I talk to support", "support"),
        ("SUPPORT!", "support"),
        ("the night shift please", "night_shift"),
        ("the Night-Shift", "night_shift"),
    ],
)
def test_the_name_of_an_agent_hands_the_call_over(text, agent):
    said = answer(heard(text))
    assert isinstance(said, Call)
    assert (said.tool, said.args["agent"]) == ("transfer_to_agent", agent)
    assert said.args["reason"].startswith("the caller asked for ")


@pytest.mark.parametrize(
    "text",
    ["bye", "Goodbye.", "good bye", "okay, that's all, bye-bye", "hang up please", "see you",
     "okay good buy", "please end the call", "I have to go now"],
)  # fmt: skip
def test_a_goodbye_ends_the_call(text):
    assert answer(heard(text)) == Call("end_conversation", {"reason": "the caller said goodbye"})


@pytest.mark.parametrize(
    "text",
    ["I want to buy boots", "is there a shop nearby", "is it a good buy", "don't hang up",
     "before I say goodbye, one more thing", "the bypass", "passersby"],
)  # fmt: skip
def test_other_words_do_not_end_the_call(text):
    assert isinstance(answer(heard(text)), Say)


def test_a_goodbye_without_a_tool_to_end_the_call_is_answered_in_words():
    assert isinstance(answer(heard("bye"), tools={}), Say)


def test_the_only_job_tool_gets_the_words():
    assert answer(heard("what is in main.py"), WITH_JOB) == Call(
        "ask_code", {"question": "what is in main.py"}
    )
    cue = Trigger("transfer", ("what is in it", "code"), heard="what is in it", source="x")
    assert answer(cue, WITH_JOB) == Call("ask_code", {"question": "what is in it"})


@pytest.mark.parametrize(
    "other",
    [
        Tool("ask_also", {"question": WORDS}),
        Tool("ask_code", {"celsius": {"type": "number"}}, ("celsius",)),
        Tool("ask_code", {"a": WORDS, "n": {"type": "number"}}, ("a", "n")),
        Tool("ask_code", {"which": {**WORDS, "enum": ["a"]}}, ("which",)),
    ],
)
def test_a_tool_that_words_alone_cannot_choose_or_fill_is_not_called(other):
    assert isinstance(answer(heard("hello there friend"), {**WITH_JOB, other.name: other}), Say)


@pytest.mark.parametrize(
    ("result", "spoken"),
    [
        ({"answer": "It is blue."}, "It is blue."),
        ({"celsius": 21.5, "target": 22.0}, "Celsius: 21.5. Target: 22."),
        ({"pro": "Yes.", "con": "No.", "missing": []}, "Pro: Yes. Con: No."),
        ({"pro": "Yes.", "missing": ["con"]}, "Yes. I had no answer from con."),
        (
            {"error": "no such file"},
            "I'm sorry, that didn't work: no such file. Is there anything else?",
        ),
        ("sunny", "sunny."),
        (None, "That's done."),
        ({}, "That's done."),
        ([1, 2], "1, 2."),
    ],
)
def test_a_result_is_spoken(result, spoken):
    assert told(result) == spoken


def test_a_long_result_is_cut():
    assert len(told({"answer": "word " * 10_000})) < 1_600


def test_ending_says_goodbye_and_transferring_leaves_speaking_to_the_next():
    assert told({"ending": True, "now": "say goodbye"}, "end_conversation").endswith("Goodbye!")
    assert answer(Trigger("tool", ("…",), tool="transfer_to_agent", result={"to": "x"})) is None
    assert "no agent" in told({"error": "no agent 'x'"}, "transfer_to_agent")
    assert "too long" in told(None, cancelled=True)


def test_a_transfer_takes_up_what_was_said_and_does_not_ask_what_it_knows():
    cue = Trigger("transfer", ("my boots are wet", "x"), heard="my boots are wet", source="a")
    said = answer(cue)
    assert isinstance(said, Say)
    assert said.text.startswith("Hello, this is greeter.")
    assert "my boots are wet" in said.text
    said = answer(Trigger("transfer", ("the caller asks about paint.",), source="a"))
    assert isinstance(said, Say)
    assert "I hear it's about paint. What would you like to know?" in said.text


def test_who_only_asked_to_be_put_through_is_asked_what_about():
    cue = Trigger("transfer", ("let me talk to greeter",), heard="let me talk to greeter")
    said = answer(cue, WITH_JOB)
    assert isinstance(said, Say)
    assert said.text.endswith("What would you like to know?")


def test_a_turn_without_words_is_asked_for_again():
    said = answer(Trigger("prompt", (DEFAULT_EMPTY_USER_TURN_INTERRUPTED_PROMPT,)))
    assert said == Say("I'm sorry, I didn't catch that. Could you say it again?")
    said = answer(Trigger("prompt", ("The user has been quiet.",)))
    assert said == Say("I'm still here. What can I do for you?")


def test_what_it_does_not_know_it_says_so_and_what_it_does_know():
    said = answer(heard("what is the capital of France"))
    assert said == Say(
        "I'm sorry, I don't have an answer to that. I'm the one who welcomes callers. "
        'Say "support" or "night shift" and I\'ll put you through.'
    )
    said = answer(heard("xyz"), {}, Persona("main"))
    assert said == Say("I'm sorry, I don't have an answer to that. Could you put it another way?")


def test_courtesies_are_returned():
    assert answer(heard("thank you")) == Say("You're welcome. Is there anything else?")
    said = answer(heard("good morning"))
    assert isinstance(said, Say)
    assert said.text.startswith("Hello, this is greeter.")
