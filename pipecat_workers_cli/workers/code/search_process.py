"""The process that searches: one question in as JSON, steps and one answer out as JSON lines.

It runs apart so that no expression, parser or slow disk ever holds up a call's sound, and so
that a question nobody wants any more can be ended by ending it. Run by `search`, as
`python -m pipecat_workers_cli.workers.code.search_process`.
"""

import json
import re
import sys
from collections.abc import Mapping
from dataclasses import asdict, replace

from pipecat_workers_cli.workers.code.about_folder import (
    say_dependencies,
    say_errors,
    say_lines,
    say_start,
    say_structure,
    say_tests,
    say_todos,
)
from pipecat_workers_cli.workers.code.about_names import (
    explain,
    say_members,
    say_tests_of,
    say_text,
    say_uses,
    say_where,
)
from pipecat_workers_cli.workers.code.fence import Fence, Refused
from pipecat_workers_cli.workers.code.lookup import Answerer, Found, Subject, Tell
from pipecat_workers_cli.workers.code.questions import (
    MATCHED,
    Question,
    Topic,
    parse_question,
)
from pipecat_workers_cli.workers.code.sources import Sources

HELP = (
    "I look through the files here. Ask me where something is defined, who calls it or what a "
    "file does, or ask for the structure, the dependencies, the tests, the TODOs, or how errors "
    "are handled."
)
WHOLE = frozenset((Topic.STRUCTURE, Topic.TODO, Topic.ERRORS, Topic.ENTRY))
"""Topics that are about the folder, whatever else a question names."""

PATH = re.compile(
    r"(?:^|[\s@'\"])((?:~|\.\.)/?[^\s'\",;?]*|\.\w[\w.-]*|[\w.-]+\.(?:pem|key|env)\b"
    r"|/(?:etc|home|root|proc|usr|var|tmp|dev|sys|opt|bin|mnt|Users)(?:/[^\s'\",;?]*)?)"
)
"""What is meant as a file that is not for reading; `/api/users` is no file but a route."""

ANSWERERS: Mapping[Topic, Answerer] = {
    Topic.DEFINED: say_where,
    Topic.USES: say_uses,
    Topic.EXPLAIN: explain,
    Topic.MEMBERS: say_members,
    Topic.GREP: say_text,
    Topic.TODO: say_todos,
    Topic.DEPENDENCIES: say_dependencies,
    Topic.STRUCTURE: say_structure,
    Topic.LINES: say_lines,
    Topic.ERRORS: say_errors,
    Topic.TESTS: say_tests,
    Topic.ENTRY: say_start,
}


def answer(fence: Fence, text: str, last: Subject, tell: Tell, *, within: float) -> Found:
    """Answer one question.

    Args:
        fence: The folder.
        text: The question.
        last: What "it" means.
        tell: Told the steps.
        within: Seconds after which no more files are read.
    """
    if refused := _refusal(fence, text):
        return Found(refused)
    question = _with_subject(parse_question(text), last)
    if question.topic is Topic.HELP or (_needs_subject(question) and not question.subject):
        asked = "I don't know what that is about. " if question.again else ""
        return Found(f"{asked}{HELP}")
    sources = Sources(fence, within=within)
    answerer = ANSWERERS[question.topic]
    if question.topic is Topic.TESTS and question.subject:
        answerer = say_tests_of
    found = answerer(sources, question, tell)
    if sources.cut:
        aside = "There is more here than I could look through in time, so that may not be all."
        found = replace(found, text=f"{found.text} {aside}")
    return found


def _refusal(fence: Fence, text: str) -> str:
    """Say so at once when a question is about a file that the fence keeps shut."""
    for named in PATH.findall(text[:MATCHED]):
        path = named.rstrip(".!)")
        try:
            fence.judge(path)
        except Refused as refused:
            return f"I can't look into {path}: {refused}."
    return ""


def _with_subject(question: Question, last: Subject) -> Question:
    """Put in what "it" means; with nothing said before, it is the whole folder."""
    if question.topic in WHOLE:
        return replace(question, subject="")
    if not question.again:
        return question
    if last.name and question.noun != "file" and question.topic is not Topic.LINES:
        return replace(question, subject=last.name)
    if last.path:
        return replace(question, subject=last.path, noun="")
    if question.topic is Topic.EXPLAIN:
        return replace(question, topic=Topic.STRUCTURE)
    return question


def _needs_subject(question: Question) -> bool:
    folder = (Topic.TESTS, Topic.LINES, Topic.DEPENDENCIES)
    return question.topic not in WHOLE and question.topic not in folder


def _tell(text: str, tool: str, **args: str) -> None:
    _write({"step": {"text": text, "tool": tool, "args": args}})


def _write(line: Mapping[str, object]) -> None:
    sys.stdout.write(f"{json.dumps(line)}\n")
    sys.stdout.flush()


def main() -> None:
    """Read the question from stdin, and write what comes of it to stdout."""
    asked = json.load(sys.stdin)
    last = Subject(**asked["subject"])
    found = answer(Fence(asked["root"]), asked["question"], last, _tell, within=asked["within"])
    _write({"answer": found.text, "subject": asdict(found.subject or last)})


if __name__ == "__main__":
    main()
