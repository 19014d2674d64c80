"""Which engine answers questions about code, what it needs, and what any of them promises.

Choosing and checking look at the environment and at what is installed; only opening an
engine imports what it is made of.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from importlib import import_module
from importlib.util import find_spec
from types import TracebackType
from typing import Any, Protocol, Self

from pipecat_workers_cli.checks import Check, State, check_key
from pipecat_workers_cli.errors import PmwError, mend_extra
from pipecat_workers_cli.options import EngineName, Profile
from pipecat_workers_cli.settings import variable
from pipecat_workers_cli.workers.code.fence import Fence

KEY = "ANTHROPIC_API_KEY"
PACKAGE = "claude_agent_sdk"
LONGEST_QUESTION = 4_000  # characters; some five minutes of speech


@dataclass(frozen=True, slots=True)
class Step:
    """Something an engine does on its way to an answer.

    Attributes:
        text: As the caller's screen shows it: `reading src/app.py`.
        tool: The name of what is used for it, such as `Grep`.
        args: What it is given.
    """

    text: str
    tool: str
    args: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Answer:
    """What an engine found; `cost_usd` is this answer's alone, None where nothing is paid."""

    text: str
    cost_usd: float | None = None


Report = Callable[[Step], Awaitable[None]]
"""Told each step while an answer is being found."""


class Engine(Protocol):
    """Answers questions about one folder, one after another, in one conversation.

    Entering starts nothing that costs; leaving ends every process of its own within seconds.
    """

    async def __aenter__(self) -> Self:
        """Make ready for the first question."""
        ...

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """End it, whatever it is doing."""
        ...

    async def ask(self, question: str, report: Report) -> Answer:
        """Answer a question; a question that comes meanwhile waits for its turn.

        Cancelling stops the work within 2 s, and the engine is fit for the next question.

        Raises:
            PmwError: There is no answer; the next question may have one.
        """
        ...


def choose_engine(name: EngineName | None, profile: Profile | None) -> EngineName:
    """Say which engine answers.

    Args:
        name: What `--engine` or the recipe says, if anything.
        profile: What `--services` says; None when it wasn't typed.

    Returns:
        `claude` where its key is set and the profile isn't `offline`, unless one is named.
    """
    if name is not None:
        return name
    if profile is Profile.OFFLINE or variable(KEY) is None:
        return EngineName.SEARCH
    return EngineName.CLAUDE


def check_engine(name: EngineName) -> list[Check]:
    """Look whether this machine has what an engine needs; asks nobody and loads nothing.

    Returns:
        A finding for its key and its package; none for an engine that needs nothing.
    """
    if name is EngineName.SEARCH:
        return []
    return [check_key(KEY, instead="use --engine search"), _check_package()]


def require_engine(name: EngineName) -> None:
    """Refuse an engine that can't work here.

    Raises:
        PmwError: A key or a package is missing.
    """
    for check in check_engine(name):
        if check.state is State.WRONG:
            raise PmwError(f"--engine {name}: {check.found}", mend=check.mend)


def _check_package() -> Check:
    if find_spec(PACKAGE) is not None:
        return Check(PACKAGE, State.OK, "installed")
    missing = f"the package {PACKAGE} is not installed"
    return Check(PACKAGE, State.WRONG, missing, mend_extra("code"))


async def open_engine(
    name: EngineName, fence: Fence, *, model: str, max_turns: int, allow_bash: bool
) -> Engine:
    """Make an engine, to be entered; what it is made of is imported now.

    Args:
        name: Which one.
        fence: The folder.
        model: Of `claude`, a model's name or alias.
        max_turns: Of `claude`, steps that one answer may take.
        allow_bash: Of `claude`, lets it run shell commands, which no fence holds.

    Raises:
        PmwError: It can't work here.
    """
    require_engine(name)
    # In a thread, for Claude's takes a second.
    module = await asyncio.to_thread(import_module, f"{__package__}.{name}")
    if name is EngineName.SEARCH:
        return module.SearchEngine(fence)
    return module.ClaudeEngine(fence, model=model, max_turns=max_turns, allow_bash=allow_bash)
