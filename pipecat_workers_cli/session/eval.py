"""A recipe under test: Pipecat's eval client calls a session of its own, scenario by scenario.

Client and session share one process and its event loop; between them is the session's real
socket, on a free port of this machine.
"""

import asyncio
import time
from collections import deque
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Protocol

import msgspec
from pipecat.evals.results import (
    EvalAssertionFailure,
    EvalScriptResult,
    EvalScriptTurnProgress,
    EvalSimulationResult,
)
from pipecat.evals.scenario import EvalExpectation, EvalScriptScenario, EvalScriptTurn
from pipecat.evals.session import EvalSession

from pipecat_workers_cli.addresses import LOOPBACK, free_port
from pipecat_workers_cli.buses.urls import SharedBus
from pipecat_workers_cli.call.plan import Plan
from pipecat_workers_cli.errors import PmwError
from pipecat_workers_cli.options import ServeOptions
from pipecat_workers_cli.session.current import CurrentPlan
from pipecat_workers_cli.session.memory import let_go
from pipecat_workers_cli.session.scenarios import Scenario
from pipecat_workers_cli.session.serve import Serving, serve
from pipecat_workers_cli.traffic.entry import Entry
from pipecat_workers_cli.traffic.tap import Tap

IDLE = 300.0  # seconds without a word, after which a call is over in any session
CALLS = 4  # at once; one is made at a time, and the one before may still be ending
ENTRIES = 2_000  # kept of one scenario, to tell what came; a turn has some five
EMPTY_WITHIN = 5.0  # seconds for the call before to be over
LEAVE_WITHIN = 1.5  # seconds for the client to leave when the session stops before it is done


class Failure(msgspec.Struct, frozen=True, kw_only=True):
    """One expectation that was not met.

    Attributes:
        turn: Which turn of the scenario, from 1; None if it failed as a whole.
        user: What the caller said in it; None if nothing.
        event: What was awaited, by Pipecat's name for it.
        kind: How it failed, one of Pipecat's kinds: `timeout`, `text_mismatch`, …
        expected: What was awaited, in words.
        reason: Why it did not count, in Pipecat's words.
        came: What happened in that turn.
    """

    turn: int | None
    user: str | None
    event: str
    kind: str
    expected: str
    reason: str
    came: tuple[Entry, ...] = ()


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """How one scenario went.

    Attributes:
        scenario: Its full name, `FILE/SCENARIO`.
        passed: Whether everything was as expected.
        seconds: How long it took.
        turns: How many it has; None where an LLM decides that.
        failures: What was not as expected.
        skipped: Why it was not run, if it wasn't.
    """

    scenario: str
    passed: bool
    seconds: float = 0.0
    turns: int | None = None
    failures: tuple[Failure, ...] = ()
    skipped: str | None = None


class Watcher(Protocol):
    """Is told how an eval proceeds, in the event loop's thread; it must not block."""

    def turn(self, scenario: str, turn: int, of: int | None) -> None:
        """A turn begins, from 1; 0 says that the call is being made."""
        ...

    def ended(self, outcome: Outcome) -> None:
        """A scenario is over."""
        ...


def run_eval(
    plan: Plan,
    scenarios: Sequence[Scenario],
    *,
    timeout: float,
    watcher: Watcher,
    set_up_logs: Callable[[], None],
    bus: SharedBus | None = None,
) -> tuple[Outcome, ...]:
    """Serve a recipe on a port of its own and let each scenario call it in turn; blocks.

    Args:
        plan: The recipe with its providers, checked.
        scenarios: What to hold it to; their own services have been checked.
        timeout: Seconds for all of them. Whatever isn't done by then has failed.
        watcher: Told as it happens.
        set_up_logs: Sends log lines where they belong, once Pipecat's runner has set
            them up its own way.
        bus: Where the workers are that don't run here; None runs all of them.

    Returns:
        One outcome a scenario, in their order.

    Raises:
        PmwError: The session can't serve, can't reach the bus or was stopped from outside, or a
            scenario's own service can't be built.
        KeyboardInterrupt: SIGINT ended it.
    """
    tap = Tap()
    serving = Serving(
        CurrentPlan(plan),  # the same for all, whatever becomes of the file meanwhile
        ServeOptions(host=LOOPBACK, port=free_port()),
        tap=tap,
        max_calls=CALLS if bus is None else bus.room(None, otherwise=CALLS),
        idle_timeout=IDLE,
        set_up_logs=set_up_logs,
        attachable=False,
        bus=bus,
    )
    run = _Run(scenarios, tap, watcher, timeout)
    serve(serving, beside=run.beside)
    let_go()
    if run.error is not None:
        raise run.error
    if len(run.outcomes) < len(scenarios):
        raise PmwError("the eval was stopped before it was done", mend="run it again")
    return tuple(run.outcomes)


class _Run:
    """All scenarios of one eval, one after another."""

    def __init__(
        self, scenarios: Sequence[Scenario], tap: Tap, watcher: Watcher, timeout: float
    ) -> None:
        self.outcomes: list[Outcome] = []
        self.error: Exception | None = None
        self._scenarios = scenarios
        self._watcher = watcher
        self._timeout = timeout
        self._entries: deque[Entry] = deque(maxlen=ENTRIES)
        tap.subscribe(self._entries.append)

    @asynccontextmanager
    async def beside(self, serving: Serving) -> AsyncGenerator[None]:
        """Run while the server does, and stop it when done."""
        task = asyncio.create_task(self._run(serving), name="eval")
        task.add_done_callback(lambda _: serving.stop())
        try:
            yield
        finally:
            task.cancel()
            await asyncio.wait({task}, timeout=LEAVE_WITHIN)

    async def _run(self, serving: Serving) -> None:
        deadline = time.monotonic() + self._timeout
        try:
            for scenario in self._scenarios:
                self._entries.clear()
                left = deadline - time.monotonic()
                outcome = (
                    await self._call(serving, scenario, within=left)
                    if left > 0
                    else self._late(scenario, 0.0)
                )
                if serving.signals.first is not None:  # what ended here ended by that
                    return
                self.outcomes.append(outcome)
                self._watcher.ended(outcome)
                await serving.emptied(within=EMPTY_WITHIN)
        except Exception as error:  # raised anew once the session has stopped
            self.error = error

    async def _call(self, serving: Serving, scenario: Scenario, *, within: float) -> Outcome:
        of = len(scenario.turns) if isinstance(scenario, EvalScriptScenario) else None
        self._watcher.turn(scenario.name, 0, of)
        session = _build(scenario, f"ws://{LOOPBACK}:{serving.options.port}/ws")

        @session.event_handler("on_progress")
        async def on_progress(_session: EvalSession, record: object) -> None:
            if isinstance(record, EvalScriptTurnProgress) and record.status == "turn":
                self._watcher.turn(scenario.name, record.turn_index + 1, of)

        began = time.monotonic()
        calling = asyncio.create_task(session.run(), name=f"eval {scenario.name}")
        # Pipecat's runner in the client takes the signal once, and ends the client alone by it.
        keeping = asyncio.create_task(serving.signals.keep_sigint(), name="keep SIGINT")
        try:
            await asyncio.wait({calling}, timeout=within)
            if not calling.done():
                return self._late(scenario, time.monotonic() - began)
            return self._outcome(scenario, calling.result())
        finally:
            keeping.cancel()
            calling.cancel()
            await asyncio.wait({calling, keeping}, timeout=LEAVE_WITHIN)

    def _late(self, scenario: Scenario, seconds: float) -> Outcome:
        began = seconds > 0
        reason = "it was not done" if began else "it did not begin"
        failure = Failure(
            turn=None,
            user=None,
            event="",
            kind="timeout",
            expected=f"to be done within the {self._timeout:g} s of the whole run",
            reason=f"{reason} by then",
            came=tuple(self._entries),
        )
        return Outcome(
            scenario=scenario.name, passed=False, seconds=round(seconds, 3), failures=(failure,)
        )

    def _outcome(
        self, scenario: Scenario, result: EvalScriptResult | EvalSimulationResult
    ) -> Outcome:
        seconds = result.duration_ms / 1000
        if isinstance(result, EvalSimulationResult):
            failures = () if result.passed else (self._goal_missed(result),)
            return Outcome(
                scenario=scenario.name, passed=result.passed, seconds=seconds, failures=failures
            )
        turns = scenario.turns if isinstance(scenario, EvalScriptScenario) else []
        return Outcome(
            scenario=scenario.name,
            passed=result.passed,
            seconds=seconds,
            turns=len(turns),
            failures=tuple(self._failure(turns, failure) for failure in result.failures),
            skipped=result.skipped,
        )

    def _goal_missed(self, result: EvalSimulationResult) -> Failure:
        return Failure(
            turn=None,
            user=None,
            event="",
            kind="error" if result.error else "judge_no",
            expected=result.success,
            reason=result.failure or "",
            came=tuple(self._entries),
        )

    def _failure(self, turns: Sequence[EvalScriptTurn], failure: EvalAssertionFailure) -> Failure:
        index, number = failure.turn_index, failure.expectation_index
        turn = turns[index] if index >= 0 else None  # else before the first began
        wanted = turn.expect[number] if turn and number >= 0 else None  # else the turn as a whole
        return Failure(
            turn=index + 1 if turn else None,
            user=turn.user if turn else None,
            event=failure.event_name,
            kind=failure.kind,
            expected=describe(wanted) if wanted else failure.event_name,
            reason=failure.reason,
            came=self._came(turns[: index + 1]),
        )

    def _came(self, until: Sequence[EvalScriptTurn]) -> tuple[Entry, ...]:
        """Return what happened from what the caller said last in these turns to what came next."""
        spoken = sum(turn.user is not None for turn in until)
        turns: list[list[Entry]] = [[]]
        for entry in self._entries:
            if entry.event == "user":
                turns.append([])
            else:
                turns[-1].append(entry)
        return tuple(turns[spoken]) if spoken < len(turns) else ()


def _build(scenario: Scenario, url: str) -> EvalSession:
    try:
        return EvalSession.from_scenario(scenario, url)
    except Exception as error:  # a factory of the user's, a model that can't be had
        what = " ".join(str(error).split())[:200] or type(error).__name__
        raise PmwError(
            f"{scenario.name}: a service of the scenario can't be built: {what}",
            mend="see its user, judge and simulator blocks",
        ) from error


def describe(expectation: EvalExpectation) -> str:
    """Say in words what a scenario expects."""
    if expectation.absent:
        return f"no {expectation.event}"
    calls = ", ".join(call.signature for call in expectation.calls or ())
    details = (
        (calls, "{}"),
        (expectation.text_contains, 'with "{}"'),
        (expectation.text_excludes, 'without "{}"'),
        (expectation.eval, "that {}"),
        (expectation.marker, "{}"),
    )
    parts = [form.format(detail) for detail, form in details if detail]
    within = [f"within {expectation.within_ms} ms"] if expectation.within_ms else []
    return " ".join([expectation.event, *parts, *within])
