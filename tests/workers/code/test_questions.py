"""How spoken questions are understood."""

import time

import pytest

from pipecat_workers_cli.workers.code.questions import Topic, parse_question

AGAIN = object()


@pytest.mark.parametrize(
    ("text", "topic", "subject"),
    [
        ("Where is the Fence class defined?", Topic.DEFINED, "Fence"),
        ("where's worker runner", Topic.DEFINED, "worker runner"),
        ("which file defines open_call", Topic.DEFINED, "open_call"),
        ("Could you tell me where tally() is defined, please?", Topic.DEFINED, "tally"),
        ("Who calls tally?", Topic.USES, "tally"),
        ("and who calls it?", Topic.USES, AGAIN),
        ("Okay, and where is that used?", Topic.USES, AGAIN),
        ("where is parse_question used in the code?", Topic.USES, "parse_question"),
        ("Show me the callers of judge", Topic.USES, "judge"),
        ("who calls the function tally", Topic.USES, "tally"),
        ("Find the TODOs", Topic.TODO, ""),
        ("are there any to do's left", Topic.TODO, ""),
        ("what are its dependencies", Topic.DEPENDENCIES, ""),
        ("what packages does it need", Topic.DEPENDENCIES, ""),
        ("does it depend on redis?", Topic.DEPENDENCIES, "redis"),
        ("what files are there", Topic.STRUCTURE, ""),
        ("What is the structure of this project?", Topic.STRUCTURE, ""),
        ("what does the project do?", Topic.STRUCTURE, ""),
        ("how many lines does fence.py have", Topic.LINES, "fence.py"),
        ("how many lines of code are there?", Topic.LINES, ""),
        ("how are errors handled", Topic.ERRORS, ""),
        ("How does it deal with exceptions?", Topic.ERRORS, ""),
        ("explain the tests' structure", Topic.TESTS, ""),
        ("Which tests cover the fence?", Topic.TESTS, "fence"),
        ("and its tests?", Topic.TESTS, AGAIN),
        ("what does fence dot py do", Topic.EXPLAIN, "fence.py"),
        ("what is in recipe slash model dot py", Topic.EXPLAIN, "recipe/model.py"),
        ("explain open underscore bus", Topic.EXPLAIN, "open_bus"),
        ("What does it do?", Topic.EXPLAIN, AGAIN),
        ("MainWorker", Topic.EXPLAIN, "MainWorker"),
        ("What methods does Fence have?", Topic.MEMBERS, "Fence"),
        ('find "no such thing"', Topic.GREP, "no such thing"),
        ("where does it say nobody is there", Topic.GREP, "nobody is there"),
        ("grep for asyncio.timeout", Topic.GREP, "asyncio.timeout"),
        ("how do I run it?", Topic.ENTRY, ""),
        ("what can I ask?", Topic.HELP, ""),
    ],
)
def test_a_question_gives_its_topic_and_subject(text, topic, subject):
    question = parse_question(text)
    assert question.topic is topic
    if subject is AGAIN:
        assert question.again
    elif topic is not Topic.HELP:
        assert (question.subject, question.again) == (subject, False)


def test_what_a_subject_was_called_is_kept():
    assert parse_question("where is the class Fence").noun == "class"
    assert parse_question("what does the module errors do").noun == "module"


@pytest.mark.parametrize("text", ["", "   ", "?", "\0", "good grief", "é" * 50])
def test_what_is_no_question_about_code_asks_for_help(text):
    assert parse_question(text).topic is Topic.HELP


@pytest.mark.parametrize("words", ["what ", "where is ", "does ", 'find "', "the ", "a", "is it "])
def test_no_question_takes_long_to_understand(words):
    began = time.process_time()
    parse_question(words * 1_000)
    assert time.process_time() - began < 0.5
