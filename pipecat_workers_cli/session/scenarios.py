"""The scenarios a recipe is tested with: read from Pipecat's files, with all they need at hand."""

import socket
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from loguru import logger
from pipecat.evals.scenario import (
    EvalScenarioFile,
    EvalScriptScenario,
    EvalSimulationScenario,
)

from pipecat_workers_cli.errors import ConfigurationError, PmwError, near_miss
from pipecat_workers_cli.recipe.files import read_bounded, scenarios_beside
from pipecat_workers_cli.session.scenario_keys import refuse_unknown_keys
from pipecat_workers_cli.settings import variable

Scenario = EvalScriptScenario | EvalSimulationScenario

ANSWERS_WITHIN = 1.0  # seconds for a language model on this machine to take a connection
OLLAMA = "http://localhost:11434/v1"  # where Pipecat's scenarios look for it
PACKAGES = {"kokoro": "kokoro_onnx", "moonshine": "moonshine_voice", "whisper": "faster_whisper"}
"""What the speech services imports that a scenario can name; each is an extra of Pipecat's."""


def load_scenarios(recipe: str, wanted: Sequence[str] = ()) -> tuple[Scenario, ...]:
    """Read the scenarios that a recipe is to be tested with.

    Args:
        recipe: The recipe, as it was typed: a name or a path.
        wanted: Files (with a `/`, or ending in `.yaml` or `.yml`), or names of scenarios in
            the recipe's own file; nothing means all of that file.

    Raises:
        ConfigurationError: A file is missing or wrong, or no scenario has that name.
    """
    own = scenarios_beside(recipe)
    found: list[Scenario] = []
    for name in wanted or (None,):
        if name is not None and is_file(name):
            found += _read(Path(name))
            continue
        if not own.is_file():
            raise ConfigurationError(
                f"{recipe} has no scenarios of its own: there is no {own}",
                mend=f"name a file that has: pmw eval {recipe} ./my.yaml",
            )
        file = _read(own)
        found += file if name is None else [_named(name, file)]
    return tuple(found)


def is_file(name: str) -> bool:
    """Say whether a word of the command line means a file of scenarios, not one by name."""
    return "/" in name or name.endswith((".yaml", ".yml"))


def _named(name: str, file: EvalScenarioFile) -> Scenario:
    names = {scenario.name.removeprefix(f"{file.name}/"): scenario for scenario in file.scenarios}
    if name not in names:
        raise ConfigurationError(
            f"{file.path}: no scenario is named '{name}'", mend=near_miss(name, names)
        )
    return names[name]


def _read(path: Path) -> EvalScenarioFile:
    read_bounded(path)  # which says in our words what is wrong with a file as such
    try:
        refuse_unknown_keys(path)
        with warnings.catch_warnings(record=True) as caught:
            file = EvalScenarioFile.load(path)
    except ConfigurationError:
        raise
    except Exception as error:  # whatever Pipecat's reader makes of what stands there
        raise ConfigurationError(
            _fault(error, path), mend="see docs.pipecat.ai for what a scenario may say"
        ) from None
    for warning in caught:
        logger.warning(str(warning.message))
    return file


def _fault(error: Exception, path: Path) -> str:
    """Say in one line, beginning with the file, what is wrong with it."""
    mark = getattr(error, "problem_mark", None)  # of an error in the YAML itself
    if mark is not None:
        return f"{path}:{mark.line + 1}: {getattr(error, 'problem', None) or 'not YAML'}"
    told = " ".join(str(error).split())
    if not isinstance(error, ValueError | OSError) or not told:
        told = f"something is not as Pipecat expects it ({type(error).__name__})"
    return f"{path}: {told.removeprefix(f'{path}: ')}"


def wants_speech(scenarios: Iterable[Scenario]) -> bool:
    """Say whether any of them speaks to the recipe, or listens to it."""
    return any(scenario.user_audio or scenario.bot_audio for scenario in scenarios)


def require_means(scenarios: Iterable[Scenario]) -> None:
    """Refuse scenarios whose own services lack a package, a key or a server.

    Raises:
        PmwError: What is missing, and how to get it.
    """
    for scenario in scenarios:
        for what, config in _services_of(scenario):
            if "factory" not in config:
                _require(f"{scenario.name} needs", what, config)


def _services_of(scenario: Scenario) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Give what plays the caller and the judge: what it is for, and the scenario's own words."""
    if scenario.user_speech is not None:
        yield "to speak", {"service": "kokoro", **scenario.user_speech}
    if isinstance(scenario, EvalSimulationScenario):
        yield "as the caller", {"service": "ollama", **scenario.simulator}
        yield "as its judge", {"service": "ollama", **scenario.judge}
        listens = scenario.bot_audio
    else:
        if any(expectation.eval for turn in scenario.turns for expectation in turn.expect):
            yield "as its judge", {"service": "ollama", **scenario.judge}
        listens = scenario.bot_audio and scenario.wants_response()
    if listens:
        yield "to listen", {"service": "moonshine", **(scenario.transcriber or {})}


def _require(needs: str, what: str, config: Mapping[str, Any]) -> None:
    service = str(config["service"]).lower()
    other = "or name another service in the scenario, by its factory"
    if service in PACKAGES and find_spec(PACKAGES[service]) is None:
        raise PmwError(
            f"{needs} {service} {what}, which isn't installed",
            mend=f"uv pip install 'pipecat-ai[{service}]', {other}",
        )
    if service == "openai" and variable("OPENAI_API_KEY") is None:
        raise PmwError(
            f"{needs} openai {what}, and OPENAI_API_KEY is not set", mend=f"set it, {other}"
        )
    if service == "ollama":
        url = urlsplit(str(config.get("endpoint") or OLLAMA))
        host, port = url.hostname or "localhost", url.port or (443 if url.scheme == "https" else 80)
        try:
            socket.create_connection((host, port), timeout=ANSWERS_WITHIN).close()
        except OSError:
            raise PmwError(
                f"{needs} ollama {what}, and nothing answers on port {port} of {host}",
                mend=f"start it (ollama serve), {other}",
            ) from None
