"""Which providers serve which worker of a recipe, chosen and checked before a call."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

from pipecat_workers_cli.addresses import shown_url
from pipecat_workers_cli.call.resolve import find_kind
from pipecat_workers_cli.checks import State
from pipecat_workers_cli.errors import PmwError
from pipecat_workers_cli.options import Profile, ServiceOptions, Trust
from pipecat_workers_cli.recipe.load import LoadedRecipe
from pipecat_workers_cli.recipe.model import Service, WorkerRecipe
from pipecat_workers_cli.services.provider_checks import check
from pipecat_workers_cli.services.providers import Choice, Persona, Role, choose
from pipecat_workers_cli.workers.kinds import Kind, Outlook

GRANTS_NOTHING = Trust()

Spoken = tuple[Choice, str | None]
"""Who speaks, with which voice; None takes the provider's default."""


@dataclass(frozen=True, slots=True)
class WorkerPlan:
    """One worker: its table, its kind, what it thinks with and, if it speaks itself, its voice.

    Attributes:
        recipe: Its `[[workers]]` table.
        kind: What it is.
        llm: What it thinks with; None if its kind doesn't.
        tts: What it speaks with; None if it doesn't speak itself.
        voice: Its voice; None takes the provider's default.
    """

    recipe: WorkerRecipe
    kind: Kind
    llm: Choice | None
    tts: Choice | None = None
    voice: str | None = None

    @property
    def persona(self) -> Persona:
        """Who its LLM speaks as."""
        worker = self.recipe
        return Persona(worker.name, worker.summary, worker.prompt or "", worker.script)


@dataclass(frozen=True, slots=True)
class Plan:
    """A recipe with its providers chosen; nothing is built or opened yet.

    Attributes:
        loaded: The recipe and where it came from.
        stt: How the caller is heard; None for calls in words alone.
        llm: What the main worker thinks with; None if it bridges to agents.
        tts: The shared voice's provider; None if agents speak themselves or nobody does.
        voice: The shared voice; None takes the provider's default.
        workers: The other workers, in the recipe's order.
        trust: What the command line alone can grant a worker.
        profile: What was typed as `--services`; some kinds choose by it too.
        elsewhere: Where the workers that run in other processes are met; empty if none do.
        linked: The workers that are reached by a link each, as their tables say.
        spare: What the main worker can say a few words with where agents speak themselves.
    """

    loaded: LoadedRecipe
    stt: Choice | None
    llm: Choice | None
    tts: Choice | None
    voice: str | None
    workers: tuple[WorkerPlan, ...]
    trust: Trust = GRANTS_NOTHING
    profile: Profile | None = None
    elsewhere: str = ""
    linked: tuple[WorkerRecipe, ...] = ()
    spare: Spoken | None = None

    @property
    def standby(self) -> Spoken | None:
        """What asks the caller for patience while an agent that speaks itself is out of reach.

        Only those that run elsewhere ever are.
        """
        return self.spare if self.elsewhere or self.linked else None

    def choices(self) -> Iterator[Choice]:
        """Give every choice once, hearing first."""
        llms = (self.llm, *(worker.llm for worker in self.workers))
        found = (self.stt, *llms, *(tts for tts, _ in self.voices()))
        return each_once(choice for choice in found if choice is not None)

    def voices(self) -> Iterator[Spoken]:
        """Give who speaks, with which voice."""
        spoken = ((self.tts, self.voice), *((w.tts, w.voice) for w in self.workers))
        yield from ((tts, voice) for tts, voice in spoken if tts is not None)
        if self.standby is not None:
            yield self.standby

    def outlooks(self) -> Iterator[tuple[str, Outlook]]:
        """Give what can be said of workers before they are built, by their names."""
        for worker in self.workers:
            if worker.kind.foresee is not None:
                options = worker.recipe.options
                yield worker.recipe.name, worker.kind.foresee(options, self.profile, self.trust)

    def told(self) -> str:
        """Say in a line who serves the call, and why these."""
        serving = [f"{c.role}: {c.provider} ({c.why})" for c in self.choices()]
        outlooks = [f"{name}: {look.told}" for name, look in self.outlooks()]
        bus = [f"bus: {self.elsewhere}"] if self.elsewhere else []
        links = [f"{worker.name}: {shown_url(worker.at or '')}" for worker in self.linked]
        return " · ".join([*bus, *links, *serving, *outlooks])

    def main_alone(self, *, at: str) -> "Plan":
        """Return the same plan for a process in which only the main worker runs.

        Args:
            at: Where it meets the others, to be shown.
        """
        return replace(self.linking(), workers=(), elsewhere=at)

    def linking(self) -> "Plan":
        """Return the same plan for a call's process: who has an `at` is reached by a link."""
        linked = tuple(worker for worker in self.loaded.recipe.workers if worker.at is not None)
        here = tuple(worker for worker in self.workers if worker.recipe.at is None)
        return replace(self, workers=here, linked=linked)

    def hosting(self, names: Sequence[str]) -> "Plan":
        """Return the same plan for a process in which only some of the other workers run."""
        workers = tuple(worker for worker in self.workers if worker.recipe.name in names)
        return replace(self, stt=None, llm=None, tts=None, voice=None, workers=workers, spare=None)

    def without_voices(self) -> "Plan":
        """Return the same plan with nobody speaking, for a caller who wants text alone."""
        workers = tuple(replace(worker, tts=None, voice=None) for worker in self.workers)
        return replace(self, tts=None, voice=None, workers=workers, spare=None)

    def in_words(self) -> "Plan":
        """Return the same plan with nobody heard or speaking, for a call in words."""
        return replace(self.without_voices(), stt=None)


def plan_call(
    loaded: LoadedRecipe,
    services: ServiceOptions,
    *,
    speech: bool,
    trust: Trust = GRANTS_NOTHING,
) -> Plan:
    """Choose a provider for each role of each worker.

    Args:
        loaded: The recipe.
        services: What the command line says of providers.
        speech: False leaves hearing and speaking out, for calls in words.
        trust: What the command line grants.

    Raises:
        ConfigurationError: A provider, one of its settings or a kind doesn't exist.
    """
    recipe = loaded.recipe
    main = recipe.main

    def speaking(worker: WorkerRecipe | None) -> Spoken:
        own = worker.tts if worker else None
        tts = choose(Role.TTS, options=services, worker=own, main=main.tts)
        voices = (worker, main) if worker else (main, recipe.opener)
        named = (speaker.voice_for(tts.provider) for speaker in voices)
        return tts, tts.model or next((voice for voice in named if voice), None)

    def thinking(own: Service | None) -> Choice:
        return choose(Role.LLM, options=services, worker=own, main=main.llm)

    # All roles are chosen, spoken or not: what doesn't exist is refused in words too.
    workers: list[WorkerPlan] = []
    for worker in recipe.workers:
        kind = find_kind(worker.kind, loaded.folder)
        tts, voice = speaking(worker) if kind.speaks else (None, None)
        workers.append(
            WorkerPlan(worker, kind, thinking(worker.llm) if kind.thinks else None, tts, voice)
        )
    stt = choose(Role.STT, options=services, main=main.stt)
    llm = thinking(None) if main.prompt is not None else None
    plan = Plan(
        loaded, stt, llm, *speaking(None), tuple(workers), trust=trust, profile=services.profile
    )
    if not speech:
        return plan.in_words()
    if main.tts_per_worker and llm is None:  # one that talks itself has the voice anyway
        return replace(plan, tts=None, voice=None, spare=speaking(None))
    return replace(plan, workers=plan.without_voices().workers)


def introduce(plan: Plan) -> dict[str, Any]:
    """Return what a call's first entry says of it: which recipe, who is there, who serves it."""
    recipe = plan.loaded.recipe
    main = recipe.main
    workers: list[dict[str, str | None]] = [
        {"name": main.name, "kind": "main", "prompt": main.prompt}
    ]
    workers += [
        {"name": w.name, "kind": w.kind, "summary": w.summary, "prompt": w.prompt}
        for w in recipe.workers
    ]
    return {
        "hash": plan.loaded.hash,
        "began": datetime.now(UTC).isoformat(timespec="milliseconds"),
        "providers": [f"{choice.role}: {choice.provider}" for choice in plan.choices()],
        "workers": [{k: v for k, v in worker.items() if v} for worker in workers],
    }


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
    for name, outlook in plan.outlooks():
        for finding in outlook.checks:
            if finding.state is State.WRONG:
                raise PmwError(f"{name}: {finding.found}", mend=finding.mend)


def each_once(choices: Iterable[Choice]) -> Iterator[Choice]:
    """Leave out what has the role, the provider and the model of one before it."""
    seen: set[tuple[Role, str, str | None]] = set()
    for choice in choices:
        key = (choice.role, choice.provider, choice.model)
        if key not in seen:
            seen.add(key)
            yield choice
