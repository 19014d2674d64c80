"""From what was typed to a plan that calls can be held by: read, planned and checked."""

from collections.abc import Callable, Sequence

from pipecat_workers_cli.call.plan import GRANTS_NOTHING, Plan, plan_call, require_ready
from pipecat_workers_cli.call.resolve import find_faults
from pipecat_workers_cli.options import ServiceOptions, Trust
from pipecat_workers_cli.recipe.load import load_recipe


def ready_plan(
    recipe: str,
    services: ServiceOptions,
    *,
    sets: Sequence[str] = (),
    speech: bool,
    trust: Trust = GRANTS_NOTHING,
    part: Callable[[Plan], Plan] | None = None,
) -> Plan:
    """Read a recipe and make sure that calls can be held by it; nothing is started.

    Args:
        recipe: A name or a path, as it was typed.
        services: What the command line says of providers.
        sets: `--set` as typed.
        speech: False leaves hearing and speaking out, for calls in words.
        trust: What the command line grants.
        part: Returns what of the plan runs in this process: what the rest needs isn't asked
            for. None runs all of it.

    Raises:
        ConfigurationError: The recipe, a `--set` or a provider's name is wrong.
        PmwError: A key or a package is missing.
    """
    loaded = load_recipe(recipe, sets=sets, resolve=find_faults)
    plan = plan_call(loaded, services, speech=speech, trust=trust)
    if part is not None:
        plan = part(plan)
    require_ready(plan)
    return plan
