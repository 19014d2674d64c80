"""What a caller hears from the recipe that everybody tries first, without a key."""

import tomllib
from pathlib import Path

import pytest

from pipecat_workers_cli.recipe.model import Recipe
from pipecat_workers_cli.services.fallback import improvise
from pipecat_workers_cli.services.providers import Persona
from pipecat_workers_cli.services.script import Answer, Call, Say, Script, Tool
from pipecat_workers_cli.services.trigger import find_trigger
from pipecat_workers_cli.workers.cues import opening_cue, transfer_cue

TEXT = {"type": "string"}
RECIPE = Recipe.model_validate(
    tomllib.loads((Path(__file__).parents[2] / "recipes/handoff.toml").read_text())
)
BOOTS = "Acme Rocket Boots cost $299 and reach up to 60 miles an hour."
PAINT = "Acme Invisible Paint is $49 a can, and it lasts 24 hours."
KIT = "The Acme Tornado Kit is $199, batteries included."
LIST = "Rocket Boots are $299, Invisible Paint is $49 a can, and the Tornado Kit is $199"
RANGE = "We sell Rocket Boots, Invisible Paint and the Tornado Kit. Which one would you like"
BYE = "Thank you for calling. Goodbye!"
SHOP = "You would have to ask in our shop."
MACHINES = "There are only support and me on this line, and we are both machines."
NO_RULE = "I'm sorry, I don't have an answer to that. I'm the one who"
UNKNOWN = "That I don't know, I'm afraid. I know prices, speeds"


def answer(name: str, messages: list[dict]) -> Answer | None:
    worker = RECIPE.worker(name)
    agent = {**TEXT, "enum": list(worker.transfers)}
    tools = {
        "end_conversation": Tool("end_conversation", {"reason": TEXT}, ("reason",)),
        "transfer_to_agent": Tool(
            "transfer_to_agent", {"agent": agent, "reason": TEXT}, ("agent", "reason")
        ),
    }
    trigger = find_trigger(messages)
    assert trigger is not None
    persona = Persona(worker.name, worker.summary, worker.prompt or "", worker.script)
    return Script(worker.script).choose(trigger, tools, {}) or improvise(persona, trigger, tools)


def hear(name: str, words: str) -> tuple[str, str]:
    """Say something to an agent; give who answers in the end, and what."""
    messages: list[dict] = [{"role": "user", "content": words}]
    for _ in range(3):
        said = answer(name, messages)
        if isinstance(said, Say):
            return name, said.text
        assert isinstance(said, Call)
        if said.tool == "transfer_to_agent":
            messages.append(transfer_cue(name, str(said.args["reason"])))
            name = str(said.args["agent"])
        else:
            function = {"name": said.tool, "arguments": "{}"}
            messages.append(
                {"role": "assistant", "tool_calls": [{"id": "1", "function": function}]}
            )
            messages.append({"role": "tool", "tool_call_id": "1", "content": '{"ending": true}'})
    raise AssertionError("the call is passed to and fro")


# The caller's words; who answers and how it begins, when said to the greeter; to support.
# Some are as speech recognition writes them.
TABLE = [
    ("How much are the rocket boots?", ("support", BOOTS), ("support", BOOTS)),
    ("how much are the rocket boots", ("support", BOOTS), ("support", BOOTS)),
    ("rocket boots how much", ("support", BOOTS), ("support", BOOTS)),
    ("How fast do the boots go?", ("support", BOOTS), ("support", BOOTS)),
    ("what's the speed of atmy rocket boots", ("support", BOOTS), ("support", BOOTS)),
    ("can i fly with the boots", ("support", BOOTS), ("support", BOOTS)),
    ("i'd like to hear about the first one", ("support", BOOTS), ("support", BOOTS)),
    ("invisible paint", ("support", PAINT), ("support", PAINT)),
    ("how long does the paint last", ("support", PAINT), ("support", PAINT)),
    ("and what is a can of paint", ("support", PAINT), ("support", PAINT)),
    ("i'd like to order two cans of paint", ("support", PAINT), ("support", PAINT)),
    ("the second one please", ("support", PAINT), ("support", PAINT)),
    ("does the tornado kit come with batteries", ("support", KIT), ("support", KIT)),
    ("what does the tornado kit cost", ("support", KIT), ("support", KIT)),
    ("are batteries included", ("support", "The Tornado Kit comes"), ("support", "The Torn")),
    ("tell me the prices", ("support", LIST), ("support", LIST)),
    ("how much is it", ("support", LIST), ("support", LIST)),
    ("boots and paint please", ("support", LIST), ("support", LIST)),
    ("how much for all three", ("support", LIST), ("support", LIST)),
    ("what's the cheapest thing", ("support", "The cheapest is"), ("support", "The cheapest is")),
    ("two hundred dollars is too much", ("support", "The cheapest"), ("support", "The cheapest")),
    ("what do you sell", ("greeter", RANGE), ("support", LIST)),
    ("What products do you have?", ("greeter", RANGE), ("support", LIST)),
    ("what does atmy sell", ("greeter", RANGE), ("support", LIST)),
    ("can you repeat that", ("greeter", RANGE), ("support", LIST)),
    ("i want to buy something", ("support", "Support here. Which shall it be"), ("support", SHOP)),
    ("where is my order", ("greeter", SHOP), ("support", SHOP)),
    ("is there a store nearby", ("greeter", SHOP), ("support", SHOP)),
    ("do you have a discount", ("greeter", SHOP), ("support", SHOP)),
    ("thanks", ("greeter", "You're very welcome."), ("support", "My pleasure.")),
    ("thank you very much", ("greeter", "You're very welcome."), ("support", "My pleasure.")),
    ("no thank you", ("greeter", "All right, take your time."), ("support", "All right")),
    ("thanks bye", ("greeter", BYE), ("support", BYE)),
    ("That's all, thank you. Goodbye!", ("greeter", BYE), ("support", BYE)),
    ("okay good buy", ("greeter", BYE), ("support", BYE)),
    ("hang up", ("greeter", BYE), ("support", BYE)),
    ("hello", ("greeter", "Hello!"), ("support", "Hello, this is product support.")),
    ("good morning", ("greeter", "Hello!"), ("support", "Hello, this is product support.")),
    ("yes", ("greeter", "Lovely. We sell"), ("support", "Which one: Rocket Boots")),
    ("who are you", ("greeter", "I'm the greeter"), ("support", "I'm product support at Acme")),
    (
        "my name is Sam",
        ("greeter", "Nice to meet you, Sam."),
        ("greeter", "Nice to meet you, Sam."),
    ),
    ("how are you", ("greeter", "I'm very well"), ("greeter", "I'm very well")),
    ("am i talking to a robot", ("greeter", MACHINES), ("greeter", MACHINES)),
    ("what's the weather in paris", ("greeter", "I wish I knew."), ("greeter", "I wish I knew.")),
    ("tell me a joke", ("greeter", "I wish I knew."), ("greeter", "I wish I knew.")),
    ("i have a problem with my boots", ("greeter", "I'm sorry to hear"), ("greeter", "I'm sorry")),
    ("can i talk to support", ("support", "Support here."), ("support", "Hello, this is product")),
    ("let me talk to the greeter", ("greeter", "I'm the greeter"), ("greeter", "Hello again")),
    ("how heavy are they", ("support", "Support here. Which product"), ("support", UNKNOWN)),
    ("is it safe", ("greeter", NO_RULE), ("support", UNKNOWN)),
    ("what is two plus two", ("greeter", NO_RULE), ("support", NO_RULE)),
    ("asdf qwerty", ("greeter", NO_RULE), ("support", NO_RULE)),
    ("atmy", ("greeter", NO_RULE), ("support", NO_RULE)),
]


@pytest.mark.parametrize(("words", "at_greeter", "at_support"), TABLE)
def test_a_caller_gets_a_sensible_answer(words, at_greeter, at_support):
    for name, (who, begins) in (("greeter", at_greeter), ("support", at_support)):
        answerer, said = hear(name, words)
        assert (answerer, said[: len(begins)]) == (who, begins)


def test_the_greeter_opens_the_call():
    assert RECIPE.main.opening is not None
    said = answer(RECIPE.opener.name, [opening_cue(RECIPE.main.opening.message)])
    assert isinstance(said, Say)
    assert said.text.startswith("Welcome to Acme Corporation!")


def test_a_reason_alone_is_enough_to_go_on_from():
    before = [{"role": "user", "content": "x"}, {"role": "assistant", "content": "One moment."}]
    for reason, begins in (("asks about paint", PAINT), ("", "Support here.")):
        said = answer("support", [*before, transfer_cue("greeter", reason)])
        assert isinstance(said, Say)
        assert said.text.startswith(begins)
