"""Which providers serve which worker of a recipe, chosen and checked before a call."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

from pipecat_workers_cli.checks import State
from pipecat_workers_cli.errors import ConfigurationError, PmwError
from pipecat_workers_cli.options import ServiceOptions
from pipecat_workers_cli.recipe.findings import Finding, Place
from pipecat_workers_cli.recipe.load import LoadedRecipe
from pipecat_workers_cli.recipe.model import Recipe, Service, WorkerRecipe
from pipecat_workers_cli.services.providers import Choice, Persona, Role, check, choose


@dataclass(frozen=True, slots=True)
class AgentPlan:
    """One agent: its table, what it thinks with and, if it speaks itself, its voice."""

    recipe: WorkerRecipe
    llm: Choice
    tts: Choice | None
    voice: str | None


@dataclass(frozen=True, slots=True)
class Plan:
    """A recipe with its providers chosen; nothing is built or opened yet.

    Attributes:
        loaded: The recipe and where it came from.
        stt: How the caller is heard; None for calls in words alone.
        tts: The shared voice's provider; None if agents speak themselves or nobody does.
        voice: The shared voice; None takes the provider's default.
        agents: The agents, in the recipe's order.
    """

    loaded: LoadedRecipe
    stt: Choice | None
    tts: Choice | None
    voice: str | None
    agents: tuple[AgentPlan, ...]

    def choices(self) -> Iterator[Choice]:
        """Give every choice once, hearing first."""
        found = (self.stt, *(a.llm for a in self.agents), self.tts, *(a.tts for a in self.agents))
        return each_once(choice for choice in found if choice is not None)

    def voices(self) -> Iterator[tuple[Choice, str | None]]:
        """Give who speaks, with which voice."""
        spoken = ((self.tts, self.voice), *((a.tts, a.voice) for a in self.agents))
        return ((tts, voice) for tts, voice in spoken if tts is not None)

    def without_voices(self) -> "Plan":
        """Return the same plan with nobody speaking, for a caller who wants text alone."""
        agents = tuple(replace(agent, tts=None, voice=None) for agent in self.agents)
        return replace(self, tts=None, voice=None, agents=agents)

    def persona(self, agent: AgentPlan) -> Persona:
        """Return who an agent's LLM speaks as."""
        worker = agent.recipe
        return Persona(worker.name, worker.summary, worker.prompt or "", worker.script)


def plan_call(loaded: LoadedRecipe, services: ServiceOptions, *, speech: bool) -> Plan:
    """Choose a provider for each role of each worker.

    Args:
        loaded: The recipe.
        services: What the command line says of providers.
        speech: False leaves hearing and speaking out, for calls in words.

    Raises:
        ConfigurationError: A provider or one of its settings doesn't exist.
    """
    recipe = loaded.recipe
    main = recipe.main

    def speaking(worker: WorkerRecipe | None) -> tuple[Choice, str | None]:
        own = worker.tts if worker else None
        tts = choose(Role.TTS, options=services, worker=own, main=main.tts)
        voices = (worker, main) if worker else (main, recipe.opener)
        named = (speaker.voice_for(tts.provider) for speaker in voices)
        return tts, tts.model or next((voice for voice in named if voice), None)

    # All roles are chosen, spoken or not: what doesn't exist is refused in words too.
    agents: list[AgentPlan] = []
    for worker in recipe.workers:
        llm = choose(Role.LLM, options=services, worker=worker.llm, main=main.llm)
        agents.append(AgentPlan(worker, llm, *speaking(worker)))
    stt = choose(Role.STT, options=services, main=main.stt)
    plan = Plan(loaded, stt, *speaking(None), tuple(agents))
    if not speech:
        return replace(plan.without_voices(), stt=None)
    if main.tts_per_worker:
        return replace(plan, tts=None, voice=None)
    return replace(plan, agents=plan.without_voices().agents)


def find_unknown_services(recipe: Recipe) -> Iterator[Finding]:
    """Find the services a recipe names that don't exist, or have no such setting.

    For `load_recipe`, which says where they stand.
    """
    main = recipe.main
    named: list[tuple[Role, Place, Service | None]] = [
        (Role.STT, ("main", "stt"), main.stt),
        (Role.LLM, ("main", "llm"), main.llm),
        (Role.TTS, ("main", "tts"), main.tts),
    ]
    for i, worker in enumerate(recipe.workers):
        named.append((Role.LLM, ("workers", i, "llm"), worker.llm))
        named.append((Role.TTS, ("workers", i, "tts"), worker.tts))
    for role, place, service in named:
        try:
            choose(role, options=ServiceOptions(), worker=service)
        except ConfigurationError as error:
            yield Finding(place, error.what, error.mend)


def require_ready(plan: Plan) -> None:
    """Refuse a plan whose providers lack a key or a package, before anything starts.

    Raises:
        PmwError: What is missing, and how to get it.
    """
    silent = ((choice, None) for choice in plan.choices() if choice.role is not Role.TTS)
    for choice, voice in (*silent, *plan.voices()):
        for finding in check(choice, voice):
            if finding.state is State.WRONG:
                what = f"{choice.role} by {choice.provider}: {finding.found}"
                raise PmwError(what, mend=finding.mend)


def each_once(choices: Iterable[Choice]) -> Iterator[Choice]:
    """Leave out what has the role, the provider and the model of one before it."""
    seen: set[tuple[Role, str, str | None]] = set()
    for choice in choices:
        key = (choice.role, choice.provider, choice.model)
        if key not in seen:
            seen.add(key)
            yield choice
