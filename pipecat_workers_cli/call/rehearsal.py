"""Builds a recipe's workers once, to find what shows only then; nothing is started or asked."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

from pipecat_workers_cli.call.plan import WorkerPlan, plan_call
from pipecat_workers_cli.errors import ConfigurationError, PmwError
from pipecat_workers_cli.options import Profile, ServiceOptions
from pipecat_workers_cli.recipe.findings import Finding
from pipecat_workers_cli.recipe.load import LoadedRecipe
from pipecat_workers_cli.recipe.model import Recipe

WITHIN = 20.0  # seconds for a worker that waits for something while it is built


def find_unbuildable(recipe: Recipe, folder: Path) -> Iterator[Finding]:
    """Find the workers that can't be built here: a folder isn't there, a class raises.

    What this machine alone lacks, a key or a package, is no fault of the recipe's.

    Args:
        recipe: One in which nothing else is wrong.
        folder: Where its own code is looked for first.
    """
    loaded = LoadedRecipe(recipe, folder, folder, "", "", ())
    plan = plan_call(loaded, ServiceOptions(profile=Profile.OFFLINE), speech=True)
    for number, worker in enumerate(plan.workers):
        if not worker.kind.own and worker.kind.foresee is None:
            continue  # of ours only those look at the machine
        from pipecat_workers_cli.call.assembly import Unfit, build_worker  # noqa: PLC0415  # 2 s

        async def build(worker: WorkerPlan = worker) -> None:
            async with asyncio.timeout(WITHIN):
                await build_worker(plan, worker)

        try:
            asyncio.run(build())
        except ConfigurationError as error:
            key = ("path",) if "path" in worker.recipe.options else ()
            yield Finding(("workers", number, "options", *key), error.what, error.mend)
        except Unfit as error:
            yield Finding(("workers", number, "kind"), error.what, error.mend)
        except (PmwError, TimeoutError):
            continue
