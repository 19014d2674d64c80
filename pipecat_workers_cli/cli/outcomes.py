"""An eval's outcomes: in lines for people, and as JUnit XML, which CI systems show."""

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING
from xml.etree import ElementTree as Xml

from pipecat_workers_cli.cli.plain_text import plain
from pipecat_workers_cli.cli.turns import render_entry
from pipecat_workers_cli.errors import ConfigurationError, PmwError

if TYPE_CHECKING:
    from pipecat_workers_cli.session.eval import Failure, Outcome

CAME_LINES = 8  # of what happened in a turn that failed; the latest are kept
NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""What XML 1.0 has no way to say, such as a cursor's escape."""


def outcome_lines(outcome: "Outcome") -> Iterator[str]:
    """Give an outcome line by line: one for a scenario that passed."""
    if outcome.skipped is not None:
        yield f"- {outcome.scenario}  skipped: {outcome.skipped}"
        return
    yield f"{'✓' if outcome.passed else '✗'} {outcome.scenario}  {outcome.seconds:.1f} s"
    for failure in outcome.failures:
        yield from (f"    {line}" for line in failure_lines(failure))


def failure_lines(failure: "Failure") -> Iterator[str]:
    """Give a failure line by line: which turn, what was expected, what came and why not."""
    if failure.turn is not None:
        yield plain(f"turn {failure.turn}: {failure.user or '(the caller says nothing)'}")
    yield plain(f"  expected: {failure.expected}")
    came = [render_entry(entry) for entry in failure.came[-CAME_LINES:]] or ["nothing"]
    yield f"  came:     {came[0]}"
    yield from (f"            {line}" for line in came[1:])
    yield plain(f"  because:  {failure.reason}")


def require_writable(path: Path) -> None:
    """Refuse a file that a report can't be written to, before there is anything to report.

    Raises:
        ConfigurationError: It is a folder, or its own folder isn't there or is closed.
    """
    try:
        with path.open("ab"):
            pass
    except OSError as error:
        raise ConfigurationError(
            f"cannot write {path}: {error.strerror}", mend="name another file with --junit"
        ) from None


def write_junit(path: Path, recipe: str, outcomes: Sequence["Outcome"]) -> None:
    """Write a report of one suite, a test case a scenario.

    Raises:
        PmwError: The file can't be written.
    """
    try:
        path.write_bytes(render_junit(recipe, outcomes))
    except OSError as error:
        raise PmwError(
            f"cannot write {path}: {error.strerror}", mend="make room, or write elsewhere"
        ) from None


def render_junit(recipe: str, outcomes: Sequence["Outcome"]) -> bytes:
    """Return the report."""
    counts = {
        "tests": str(len(outcomes)),
        "failures": str(sum(not (one.passed or one.skipped) for one in outcomes)),
        "errors": "0",
        "skipped": str(sum(one.skipped is not None for one in outcomes)),
        "time": f"{sum(one.seconds for one in outcomes):.3f}",
    }
    root = Xml.Element("testsuites", counts)
    suite = Xml.SubElement(root, "testsuite", {"name": f"pmw eval {_xml(recipe)}", **counts})
    for outcome in outcomes:
        file, _, name = outcome.scenario.partition("/")
        case = Xml.SubElement(
            suite,
            "testcase",
            {"classname": _xml(file), "name": _xml(name), "time": f"{outcome.seconds:.3f}"},
        )
        if outcome.skipped is not None:
            Xml.SubElement(case, "skipped", message=_xml(outcome.skipped))
        elif not outcome.passed:  # one element a test case: several are more than most readers take
            _add_failure(case, outcome)
    Xml.indent(root)
    return Xml.tostring(root, encoding="utf-8", xml_declaration=True)


def _add_failure(case: Xml.Element, outcome: "Outcome") -> None:
    first = outcome.failures[0] if outcome.failures else None
    failed = Xml.SubElement(
        case,
        "failure",
        type=first.kind if first else "error",
        message=_xml(first.reason if first else "it failed"),
    )
    failed.text = _xml("\n".join(line for one in outcome.failures for line in failure_lines(one)))


def _xml(text: str) -> str:
    return NOT_XML.sub("�", text)
