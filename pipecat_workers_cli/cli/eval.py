"""`pmw eval`: hold a recipe to its scenarios, and say how it went."""

import signal
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Optional

import typer

from pipecat_workers_cli.cli.arguments import (
    Bus,
    Channel,
    DatabaseUrl,
    Json,
    Llm,
    OutputOption,
    RedisUrl,
    ServicesOption,
    Sets,
    Stt,
    Tts,
    takes_log_options,
)
from pipecat_workers_cli.cli.complete import complete_recipe
from pipecat_workers_cli.cli.progress import Progress
from pipecat_workers_cli.cli.terminal import Terminal
from pipecat_workers_cli.options import BusOptions, Output, Profile, ServiceOptions

if TYPE_CHECKING:
    from pipecat_workers_cli.call.plan import Plan
    from pipecat_workers_cli.session.eval import Outcome
    from pipecat_workers_cli.session.scenarios import Scenario

TIMEOUT = 300.0  # seconds; a scenario of ten turns offline takes some ten


@takes_log_options
def evaluate(
    context: typer.Context,
    recipe: Annotated[
        str,
        typer.Argument(
            help="A shipped recipe's name, or a path: with a / or ending in .toml.",
            autocompletion=complete_recipe,
        ),
    ],
    scenarios: Annotated[
        Optional[list[str]],  # noqa: UP045  # Typer reads it at run time
        typer.Argument(
            metavar="SCENARIO",
            help="Files, with a / or ending in .yaml, or names of scenarios in the recipe's own.",
            show_default="all of the recipe's own file, evals/NAME.yaml beside it",
        ),
    ] = None,
    services: ServicesOption = None,
    llm: Llm = None,
    stt: Stt = None,
    tts: Tts = None,
    sets: Sets = None,
    bus: Bus = None,
    redis_url: RedisUrl = None,
    database_url: DatabaseUrl = None,
    channel: Channel = None,
    timeout: Annotated[
        float, typer.Option("--timeout", min=1, metavar="S", help="For the whole run.")
    ] = TIMEOUT,
    junit: Annotated[
        Path | None, typer.Option("--junit", metavar="FILE", help="Write a JUnit report too.")
    ] = None,
    output: OutputOption = Output.TEXT,
    json: Json = False,
) -> None:
    """Hold a recipe to scenarios, offline unless told otherwise; exit 1 if one fails."""
    from pipecat_workers_cli.settings import load_env
    from pipecat_workers_cli.tracing.setup import set_up_tracing

    terminal = Terminal.of(context)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # nothing has passed yet
    load_env(terminal.env_file)
    terminal.set_up_logs()
    set_up_tracing()
    if junit is not None:
        from pipecat_workers_cli.cli.outcomes import require_writable

        require_writable(junit)
    from pipecat_workers_cli.buses.urls import choose_bus
    from pipecat_workers_cli.call.plan import Plan
    from pipecat_workers_cli.call.ready import ready_plan
    from pipecat_workers_cli.session.eval import run_eval
    from pipecat_workers_cli.session.scenarios import (
        load_scenarios,
        require_means,
        wants_speech,
    )

    wanted = load_scenarios(recipe, scenarios or ())
    offline = services is None and not (llm or stt or tts)
    profile = Profile.OFFLINE if offline else services
    options = ServiceOptions(profile=profile, llm=llm, stt=stt, tts=tts)
    shared = choose_bus(BusOptions(bus, redis_url, database_url, channel))
    part = Plan.linking if shared is None else partial(Plan.main_alone, at=shared.told)
    plan = ready_plan(recipe, options, sets=sets or (), speech=wants_speech(wanted), part=part)
    require_means(wanted)
    terminal.say(_banner(plan, wanted))
    with _Report(terminal, Output.JSON if json else output) as report:
        outcomes = run_eval(
            plan,
            wanted,
            timeout=timeout,
            watcher=report,
            bus=shared,
            set_up_logs=terminal.set_up_logs,
        )
    if junit is not None:
        from pipecat_workers_cli.cli.outcomes import write_junit

        write_junit(junit, plan.loaded.recipe.name, outcomes)
    terminal.say(_tally(outcomes))
    # As Pipecat's own does: what it could not run is no failure.
    if any(not (outcome.passed or outcome.skipped) for outcome in outcomes):
        raise typer.Exit(1)


def _banner(plan: "Plan", scenarios: Sequence["Scenario"]) -> str:
    bus = [f"bus: {plan.elsewhere}"] if plan.elsewhere else []
    providers = [f"{c.role}: {c.provider} ({c.why})" for c in plan.choices()]
    counted = f"{plan.loaded.recipe.name}: {_count(len(scenarios))}"
    return " · ".join([counted, *bus, *providers])


def _tally(outcomes: Sequence["Outcome"]) -> str:
    passed = sum(outcome.passed for outcome in outcomes)
    skipped = sum(outcome.skipped is not None for outcome in outcomes)
    left_out = f", {skipped} skipped" if skipped else ""
    return f"{passed} of {_count(len(outcomes))} passed{left_out}"


def _count(scenarios: int) -> str:
    return "1 scenario" if scenarios == 1 else f"{scenarios} scenarios"


class _Report(Progress):
    """Writes outcomes to stdout as they come and, on a terminal, what goes on to stderr."""

    def __init__(self, terminal: Terminal, output: Output) -> None:
        super().__init__(terminal, "starting the recipe")
        self._output = output
        self._stdout = sys.stdout  # Pipecat's runner is run with another one in its place

    def turn(self, scenario: str, turn: int, of: int | None) -> None:
        number = f"turn {turn}" + (f" of {of}" if of else "")
        self.tell(f"{scenario}: {number if turn else 'calling'}")

    def ended(self, outcome: "Outcome") -> None:
        self.clear()
        print(self._told(outcome), file=self._stdout, flush=True)

    def _told(self, outcome: "Outcome") -> str:
        if self._output is Output.JSON:
            import msgspec

            return msgspec.json.encode(outcome).decode()
        from pipecat_workers_cli.cli.outcomes import outcome_lines

        return "\n".join(outcome_lines(outcome))
