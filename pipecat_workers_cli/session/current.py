"""The plan that the next call runs by: its recipe is read anew once a file of it has changed.

Python code that a recipe names is read once a process, as Python does.
"""

import asyncio
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

from loguru import logger

from pipecat_workers_cli.call.plan import Plan
from pipecat_workers_cli.errors import PmwError

QUIET_FOR = 0.2  # seconds that a file must have been left alone: an editor may still write it
SETTLES_WITHIN = 1.0  # seconds; what is written to without an end is read as it is
READ_WITHIN = 5.0  # seconds; files on a network that is gone must not keep a caller waiting

Stamp = tuple[int, int, int] | None
"""What a file's next version changes: time in ns, size, inode; None if there is no file."""
Stamps = dict[Path, Stamp]

T = TypeVar("T")


class CurrentPlan:
    """A plan that follows the files of its recipe, from call to call.

    Attributes:
        latest: The last that was good; calls in flight keep the one that they began with.
    """

    def __init__(
        self,
        plan: Plan,
        read: Callable[[], Plan] | None = None,
        *,
        refused: Callable[[str], None] = lambda _: None,
        renewed: Callable[[Plan], None] = lambda _: None,
    ) -> None:
        """Begin with a plan.

        Args:
            plan: Has been checked.
            read: Reads, plans and checks anew, in a thread; None never does.
            refused: Told in a line, once an edit, why it is not taken and what runs instead.
            renewed: Told of a plan by another version of the recipe.
        """
        self.latest = plan
        self._read = read
        self._refused = refused
        self._renewed = renewed
        self._good: Stamps = {}  # what `latest` was read from; at first that isn't known
        self._bad: Stamps = {}
        self._told = ""
        self._turn = asyncio.Lock()
        # Of its own: of many calls that begin at once, each has a model loaded by the others.
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="recipe")

    async def renew(self) -> Plan:
        """Return the plan for a call that begins now.

        Looks whether a file of the recipe has changed, and if so reads it. What is wrong is
        told; the last good plan stays.
        """
        if self._read is None:
            return self.latest
        try:
            # Of calls that begin at once, one reads and the others find that it has.
            async with asyncio.timeout(READ_WITHIN), self._turn:
                await self._catch_up(self._read)
        except TimeoutError:
            self._refuse(f"{self.latest.loaded.path}: not read within {READ_WITHIN:.0f} s", {})
        return self.latest

    async def _catch_up(self, read: Callable[[], Plan]) -> None:
        stamps = await self._settled()
        if stamps == self._good:
            return
        try:
            plan = await self._apart(read)
        except PmwError as error:
            self._refuse(f"{error.what} ({error.mend})", stamps)
        except Exception as error:  # its text may hold a key or a password
            self._refuse(
                f"{self.latest.loaded.path}: {type(error).__name__} as it was read", stamps
            )
        else:
            # A prompt file that is new to the recipe is looked at now, the others as before.
            found = await self._apart(stamps_of, set(plan.loaded.files) - set(stamps))
            self._take(plan, {**stamps, **found})

    async def _apart(self, work: Callable[..., T], *args: object) -> T:
        """Do in the thread for files what may wait for a disk."""
        return await asyncio.get_running_loop().run_in_executor(self._thread, work, *args)

    def _take(self, plan: Plan, stamps: Stamps) -> None:
        news = plan.loaded.hash != self.latest.loaded.hash or bool(self._told)
        self.latest = plan
        self._good = {path: stamps[path] for path in plan.loaded.files}
        self._bad, self._told = {}, ""
        if news:
            logger.info(f"the recipe was read anew and is {plan.loaded.hash} now")
            self._renewed(plan)

    def _refuse(self, why: str, stamps: Stamps) -> None:
        if (stamps, why) == (self._bad, self._told):
            return
        self._bad, self._told = stamps, why
        text = f"{why}; calls still begin with {self.latest.loaded.hash}, the last that was good"
        logger.info(text)
        self._refused(text)

    async def _settled(self) -> Stamps:
        """Look at the files, and once more if one may still be about to be written."""
        loop = asyncio.get_running_loop()
        give_up = loop.time() + SETTLES_WITHIN
        files = self.latest.loaded.files
        stamps = await self._apart(stamps_of, files)
        while stamps not in (self._good, self._bad) and _in_the_making(stamps):
            if loop.time() > give_up:
                break
            await asyncio.sleep(QUIET_FOR)
            stamps = await self._apart(stamps_of, files)
        return stamps


def stamps_of(files: Iterable[Path]) -> Stamps:
    """Look at files without reading them."""
    return {path: _stamp(path) for path in files}


def _stamp(path: Path) -> Stamp:
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_mtime_ns, status.st_size, status.st_ino


def _in_the_making(stamps: Stamps) -> bool:
    """Say whether a file is away or was written just now: editors do both, one after another."""
    now = time.time_ns()
    return any(stamp is None or abs(now - stamp[0]) < QUIET_FOR * 1e9 for stamp in stamps.values())
