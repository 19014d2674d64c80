"""An eval's outcomes: lines for a person, and a JUnit report that readers of XML take."""

from pathlib import Path
from xml.etree import ElementTree as Xml

import pytest

from pipecat_workers_cli.cli.outcomes import (
    CAME_LINES,
    outcome_lines,
    render_junit,
    require_writable,
    write_junit,
)
from pipecat_workers_cli.errors import ConfigurationError, PmwError
from pipecat_workers_cli.session.eval import Failure, Outcome
from pipecat_workers_cli.traffic.entry import Entry

PASSED = Outcome(scenario="shop/opens", passed=True, seconds=1.25, turns=2)
SKIPPED = Outcome(scenario="shop/aloud", passed=False, skipped="it wants audio")


def said(text: str) -> Entry:
    return Entry(event="bot", call="7c", at_ms=10, worker="clerk", text=text)


def failed(*came: Entry, reason: str = "does not contain '$50'") -> Outcome:
    failure = Failure(
        turn=2,
        user="How much?",
        event="llm_response",
        kind="text_mismatch",
        expected='llm_response with "$50"',
        reason=reason,
        came=came,
    )
    return Outcome(scenario="shop/price", passed=False, seconds=1.5, turns=2, failures=(failure,))


def test_one_that_passed_is_one_line() -> None:
    assert list(outcome_lines(PASSED)) == ["✓ shop/opens  1.2 s"]


def test_one_that_was_not_run_says_why() -> None:
    assert list(outcome_lines(SKIPPED)) == ["- shop/aloud  skipped: it wants audio"]


def test_one_that_failed_says_in_which_turn_what_was_expected_and_what_came() -> None:
    assert list(outcome_lines(failed(said("It is"), said("$49.")))) == [
        "✗ shop/price  1.5 s",
        "    turn 2: How much?",
        '      expected: llm_response with "$50"',
        "      came:     clerk: It is",
        "                clerk: $49.",
        "      because:  does not contain '$50'",
    ]


def test_silence_is_told_too() -> None:
    assert "      came:     nothing" in list(outcome_lines(failed()))


def test_of_much_that_came_the_latest_is_kept_and_no_cursor_moved() -> None:
    lines = list(outcome_lines(failed(*(said(f"{n}\x1b[2J\n") for n in range(30)))))
    assert len(lines) == 4 + CAME_LINES
    assert "clerk: 29" in lines[-2]
    assert all("\x1b" not in line and "\n" not in line for line in lines)


def test_a_junit_report_counts_and_names_every_scenario() -> None:
    outcomes = (PASSED, failed(said("$49.")), SKIPPED)
    root = Xml.fromstring(render_junit("shop", outcomes))
    suite = root.find("testsuite")
    assert suite is not None
    for element in (root, suite):
        counts = [element.get(name) for name in ("tests", "failures", "errors", "skipped")]
        assert counts == ["3", "1", "0", "1"]
        assert element.get("time") == "2.750"
    cases = {case.get("name"): case for case in suite}
    assert {case.get("classname") for case in suite} == {"shop"}
    assert list(cases) == ["opens", "price", "aloud"]
    assert len(cases["opens"]) == 0
    failure = cases["price"].find("failure")
    assert failure is not None
    assert failure.get("type") == "text_mismatch"
    assert "clerk: $49." in (failure.text or "")
    skipped = cases["aloud"].find("skipped")
    assert skipped is not None
    assert skipped.get("message") == "it wants audio"


def test_what_xml_cannot_say_does_not_break_a_report() -> None:
    report = render_junit("<&>", [failed(said("a\x07b"), reason="\x00\ud800 <b> & 'c'")])
    failure = Xml.fromstring(report).find("testsuite/testcase/failure")
    assert failure is not None
    assert "<b> & 'c'" in (failure.get("message") or "")


def test_a_report_that_cannot_be_written_is_refused_beforehand(tmp_path: Path) -> None:
    require_writable(tmp_path / "junit.xml")
    for path in (tmp_path, tmp_path / "gone" / "junit.xml"):
        with pytest.raises(ConfigurationError, match="cannot write"):
            require_writable(path)
        with pytest.raises(PmwError, match="cannot write"):
            write_junit(path, "shop", [PASSED])
