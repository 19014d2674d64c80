"""A distributed call on one machine: an engine, a host for each worker, the main worker.

All are processes of their own, as they would be on many machines. They are started in the
order in which they need each other and ended the other way round.
"""

import asyncio
import os
import shutil
import signal
import tempfile
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from pipecat_workers_cli.addresses import free_port
from pipecat_workers_cli.buses.presence import look, name_of
from pipecat_workers_cli.buses.urls import BUS_KINDS, SharedBus, choose_bus, open_network
from pipecat_workers_cli.errors import PmwError
from pipecat_workers_cli.fleet.child import Child, Listener, Program, how_ended
from pipecat_workers_cli.fleet.engine import ENGINES
from pipecat_workers_cli.fleet.lifeline import LIFELINE, open_lifeline
from pipecat_workers_cli.options import BusOptions

ENGINE = "pipecat_workers_cli.fleet.engine"
URLS = tuple(f"{scheme}://" for scheme in BUS_KINDS)
START_WITHIN = 60.0  # seconds until all are ready; a cold start on a slow disk takes ten
LOOK_EVERY = 0.1  # seconds
MAIN_WITHIN = 6.0  # seconds to end; a session takes 4.8 at most
HOSTS_WITHIN = 3.0  # seconds; their calls ended with the main worker, unless that was killed
ENGINE_WITHIN = 7.0  # seconds; its server is given 5


@dataclass(frozen=True, slots=True)
class System:
    """What is to run.

    Attributes:
        engine: `redis` or `pgmq`.
        main: The main worker's name.
        main_words: What its process runs, after `python -m`.
        main_env: What its environment has besides.
        hosts: What the process of each other worker runs, by the worker's name.
        serves: Whether callers come to the main worker's process, which goes on until it is
            stopped; if not, it holds one call.
        foreground: Whether a person talks to it at this terminal.
        ready: The variable that names the pipe by which a serving process tells that it does.
    """

    engine: str
    main: str
    main_words: Sequence[str]
    main_env: Mapping[str, str]
    hosts: Mapping[str, Sequence[str]]
    serves: bool
    foreground: bool
    ready: str


@dataclass(frozen=True, slots=True)
class Progress:
    """Who is told how the start goes on.

    Attributes:
        starting: Given what is started next.
        ready: Given the bus, once all are ready.
    """

    starting: Callable[[str], None]
    ready: Callable[[SharedBus], None]


async def run_up(system: System, listener: Listener, progress: Progress) -> int:
    """Run a system until its main worker's process or a signal ends it.

    Args:
        system: What to run.
        listener: Is told what the processes write, and how they fare.
        progress: Is told how the start goes on.

    Returns:
        The exit code: the main worker's, or by the signal.

    Raises:
        PmwError: A process could not be started, died too often, or was not ready in time.
    """
    folder = tempfile.mkdtemp(prefix="pmw-up-")
    try:
        with open_lifeline() as lifeline, _open_pipe() as (told, tell):
            up = _Up(system, listener, progress, folder=folder, lifeline=lifeline, tell=tell)
            return await up.run(told)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


class _Up:
    """The processes while they run."""

    def __init__(
        self,
        system: System,
        listener: Listener,
        progress: Progress,
        *,
        folder: str,
        lifeline: int,
        tell: int,
    ) -> None:
        self._system = system
        self._engine = ENGINES[system.engine].title
        self._listener = listener
        self._progress = progress
        self._folder = folder
        self._lifeline = lifeline
        self._tell = tell
        self._children: dict[str, Child] = {}
        self._keeping: set[asyncio.Task[int]] = set()
        self._over: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._signal = 0

    async def run(self, told: int) -> int:
        """Start all, wait for the end, end all; by `told` the main worker says that it serves."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            loop.add_signal_handler(number, self._take, number)
        starting = asyncio.create_task(self._start(told), name="start all")
        try:
            await asyncio.wait({starting, self._over}, return_when=asyncio.FIRST_COMPLETED)
            if not self._over.done():
                starting.result()
            return await self._over
        finally:
            starting.cancel()
            await asyncio.wait({starting})
            await self._end()

    def _take(self, number: int) -> None:
        if self._signal:
            for name, child in self._children.items():
                if name != self._engine:  # which follows its lifeline, and cleans up
                    child.kill()
            os._exit(130 if number == signal.SIGINT else 1)
        self._signal = number
        self._finish(130 if number == signal.SIGINT else 0)

    def _finish(self, code: int) -> None:
        if not self._over.done():
            self._over.set_result(code)

    def _fail(self, error: BaseException) -> None:
        if not self._over.done():
            self._over.set_exception(error)

    async def _start(self, told: int) -> None:
        try:
            async with asyncio.timeout(START_WITHIN):
                await self._start_all(told)
        except TimeoutError:
            what = f"not ready within {START_WITHIN:.0f} s"
            raise PmwError(what, mend="see what each process does with -v") from None

    async def _start_all(self, told: int) -> None:
        system = self._system
        bus = await self._start_engine()
        for worker, words in system.hosts.items():
            self._launch(Program(worker, words, self._env(bus), [self._lifeline]))
        if system.serves:  # both import what they need meanwhile
            self._start_main(bus)
            await self._hosts_are_there(bus)
            await _until_told(told)
        else:
            await self._hosts_are_there(bus)
            self._start_main(bus)
        self._children[system.main].settled = True
        self._progress.ready(bus)

    async def _start_engine(self) -> SharedBus:
        said: asyncio.Future[str] = asyncio.get_running_loop().create_future()

        def hear(child: str, line: str) -> None:
            if not line.startswith(URLS):
                self._listener.line(child, line)
            elif not said.done():
                said.set_result(line)

        words = (ENGINE, self._system.engine, self._folder, str(free_port()))
        env = {**self._env(None), "PYTHONWARNINGS": "ignore"}  # its packages have some
        program = Program(self._engine, words, env, [self._lifeline])
        child = self._launch(program, Listener(hear, self._listener.note))
        bus = choose_bus(BusOptions(bus=await said))
        assert bus is not None  # its URL is no word for a local one
        child.settled = True
        return bus

    def _start_main(self, bus: SharedBus) -> None:
        system = self._system
        env, fds = {**self._env(bus), **system.main_env}, [self._lifeline]
        if system.serves:
            env, fds = {**env, system.ready: str(self._tell)}, [*fds, self._tell]
        program = Program(
            system.main,
            system.main_words,
            env,
            fds,
            own_stdout=True,
            foreground=system.foreground,
            # Of a session that serves, whatever isn't a crash is its end: pmw stop, a taken port.
            once=lambda code: code >= 0 or not system.serves,
        )
        self._launch(program)

    def _env(self, bus: SharedBus | None) -> dict[str, str]:
        env = {**os.environ, LIFELINE: str(self._lifeline)}
        return env if bus is None else {**env, "PMW_BUS": bus.url, "PMW_CHANNEL": bus.channel}

    def _launch(self, program: Program, listener: Listener | None = None) -> Child:
        self._progress.starting(program.name)
        child = Child(program, listener or self._listener)
        self._children[program.name] = child
        keeping = asyncio.create_task(child.keep(), name=f"keep {program.name}")
        self._keeping.add(keeping)
        keeping.add_done_callback(lambda task: self._note_end(program.name, task))
        return child

    def _note_end(self, name: str, keeping: "asyncio.Task[int]") -> None:
        if keeping.cancelled():
            return
        if (error := keeping.exception()) is not None:
            self._fail(error)
        elif keeping.result() >= 0:
            if name == self._system.main:
                self._finish(keeping.result())
        else:
            mend = "see above what it said, or see more with -v"
            self._fail(PmwError(f"{name} {how_ended(keeping.result())}", mend=mend))

    async def _hosts_are_there(self, bus: SharedBus) -> None:
        """Wait until each host says on the bus that it takes calls."""
        waiting = {worker: self._children[worker] for worker in self._system.hosts}
        async with open_network(bus) as network:
            while waiting:
                for seen in (await look(network)).hosts:
                    child = waiting.get(seen.row.worker)
                    if child is not None and seen.row.host == name_of(child.pid):
                        waiting.pop(seen.row.worker).settled = True
                await asyncio.sleep(LOOK_EVERY)

    async def _end(self) -> None:
        """End the main worker first, while those that it needs are there, and the engine last."""
        children = dict(self._children)
        for child in children.values():
            child.retire()
        engine, main = children.pop(self._engine, None), children.pop(self._system.main, None)
        if main is not None:
            # A terminal's Ctrl-C has reached it, too; another signal would be its second.
            at_terminal = self._system.foreground and self._signal == signal.SIGINT
            await main.end(within=MAIN_WITHIN, patience=MAIN_WITHIN if at_terminal else 0)
        await asyncio.gather(*(host.end(within=HOSTS_WITHIN) for host in children.values()))
        if engine is not None:
            await engine.end(within=ENGINE_WITHIN, kill=False)
        for keeping in self._keeping:
            keeping.cancel()
        if self._keeping:
            await asyncio.wait(self._keeping)


@contextmanager
def _open_pipe() -> Generator[tuple[int, int]]:
    told, tell = os.pipe()
    try:
        yield told, tell
    finally:
        os.close(told)
        os.close(tell)


async def _until_told(told: int) -> None:
    loop = asyncio.get_running_loop()
    there = asyncio.Event()
    loop.add_reader(told, there.set)
    try:
        await there.wait()
    finally:
        loop.remove_reader(told)
