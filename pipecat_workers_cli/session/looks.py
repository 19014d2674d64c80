"""What takes time to look at: all of it at once, each within a bound, and none fails another."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from urllib.parse import urlsplit

from loguru import logger

from pipecat_workers_cli.addresses import is_loopback
from pipecat_workers_cli.buses.way import Way, require_reachable
from pipecat_workers_cli.checks import Check, State
from pipecat_workers_cli.errors import ConfigurationError, PmwError
from pipecat_workers_cli.services.speech_loop import check_speech

LOOK_WITHIN = 20.0  # seconds for a bus or a provider; each of their requests has its own bound


@dataclass(frozen=True, slots=True)
class Look:
    """Something that takes time to look at.

    Attributes:
        name: What it is, for whoever waits.
        run: Looks; returns findings.
        within: Seconds it may take.
    """

    name: str
    run: Callable[[], Awaitable[Sequence[Check]]]
    within: float = LOOK_WITHIN


async def look_at_all(
    looks: Sequence[Look], progress: Callable[[Sequence[str]], None]
) -> list[Check]:
    """Look at several things at once; return their findings in the order of the looks."""
    left = [look.name for look in looks]
    progress(left)

    async def run(look: Look) -> Sequence[Check]:
        try:
            async with asyncio.timeout(look.within):
                return await look.run()
        except TimeoutError:
            found = f"no answer within {look.within:.0f} s"
            return [Check(look.name, State.WRONG, found, "see whether it runs, and the network")]
        except ConfigurationError:
            raise
        except PmwError as error:
            return [Check(look.name, State.WRONG, error.what, error.mend)]
        except Exception as error:  # one look that fails must not take the others along
            logger.opt(exception=error).debug(f"{look.name} can't be looked at")
            found = f"can't be looked at ({type(error).__name__})"
            return [Check(look.name, State.WRONG, found, "see it all with -v")]
        finally:
            left.remove(look.name)
            progress(left)

    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(run(look), name=look.name) for look in looks]
    return [finding for task in tasks for finding in task.result()]


async def look_at_proxy(way: Way) -> Sequence[Check]:
    """Open a link as a call does, and close it again."""
    began = time.monotonic()
    try:
        await require_reachable(way)
    except PmwError as error:
        return [Check("proxy", State.WRONG, error.what, error.mend)]
    tls = "by TLS" if way.url.startswith("wss:") else "without TLS"
    token = "takes the token" if way.token else "asks for no token"
    took = time.monotonic() - began
    found = f"{way.shown} serves '{way.worker}' {tls}, {token}; opened in {took:.2f} s"
    host = urlsplit(way.url).hostname or ""
    if way.url.startswith("ws:") and not is_loopback(host):
        mend = "wss://, with --tls-cert at the other end or TLS before it"
        return [Check("proxy", State.WARNING, f"{found}: others may listen", mend)]
    return [Check("proxy", State.OK, found)]


async def look_at_speech() -> Sequence[Check]:
    """Have the offline voice say a sentence and the offline ears hear it."""
    return [await check_speech()]
