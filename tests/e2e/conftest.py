"""Real `pmw` processes, started, watched and ended."""

import os
import queue
import signal
import subprocess
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest
from websockets.sync.client import ClientConnection, connect

from tests.buses.servers import SERVERS
from tests.buses.servers import Server as Engine
from tests.program import PMW, run_here

ROOT = Path(__file__).parents[2]

EITHER = pytest.mark.parametrize(
    "engine", ["redis", pytest.param("pgmq", marks=pytest.mark.long)], indirect=True
)
"""For what holds over Redis and over Postgres."""


GREETING = "Welcome to Acme Corporation!"


def write_brief(folder: Path) -> str:
    """Write the shipped handoff with a short greeting, for calls that aren't about that.

    Returns:
        What `pmw run` takes for it in that folder.
    """
    text = (ROOT / "recipes" / "handoff.toml").read_text(encoding="utf-8")
    whole = f"{GREETING} I'm the greeter. What can I do for you?"
    assert text.count(whole) == 1
    (folder / "brief.toml").write_text(text.replace(whole, GREETING), encoding="utf-8")
    return "./brief.toml"


class Process:
    """A running `pmw`: its lines as they come, its exit code once it is out."""

    def __init__(
        self,
        words: list[str],
        *,
        env: dict[str, str],
        cwd: Path,
        inside: Sequence[str] = (),
        stdin: int = subprocess.DEVNULL,
    ) -> None:
        self.popen = subprocess.Popen(
            [*inside, *PMW, *words],
            stdin=stdin,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=env,
            cwd=cwd,
        )
        self.follow()

    def follow(self) -> None:
        """Read what it prints."""
        self.out: list[str] = []
        self.err: list[str] = []
        self._news: queue.SimpleQueue[None] = queue.SimpleQueue()
        self._readers = [
            threading.Thread(target=self._read, args=(stream, lines), daemon=True)
            for stream, lines in ((self.popen.stdout, self.out), (self.popen.stderr, self.err))
        ]
        for reader in self._readers:
            reader.start()

    def _read(self, stream, lines: list[str]) -> None:
        for line in stream:
            lines.append(line.rstrip("\n"))
            self._news.put(None)

    def wait_for(self, seen: Callable[[], bool], *, timeout: float = 60) -> None:
        """Wait until something that is printed makes `seen` true."""
        deadline = time.monotonic() + timeout
        while not seen():
            left = deadline - time.monotonic()
            if left <= 0 or (self.popen.poll() is not None and self._news.empty() and not seen()):
                raise AssertionError(f"not seen:\n{self.out}\n{self.err}")
            try:
                self._news.get(timeout=min(left, 0.5))
            except queue.Empty:
                continue

    def wait_for_line(self, text: str, *, timeout: float = 60) -> None:
        """Wait for a line on stdout or stderr that holds `text`."""
        self.wait_for(lambda: any(text in line for line in [*self.out, *self.err]), timeout=timeout)

    def stop(self, number: int = signal.SIGTERM, *, timeout: float = 10) -> tuple[int, float]:
        """Send a signal; return the exit code and the seconds until the process was out."""
        began = time.monotonic()
        self.popen.send_signal(number)
        code = self.popen.wait(timeout)
        for reader in self._readers:
            reader.join(2)
        return code, time.monotonic() - began


def connected(port: int) -> ClientConnection:
    """Call a `pmw` as Pipecat's eval client does; leaving hangs up.

    What nobody reads must not fill a queue: the hang-up would wait behind it for ten seconds.
    """
    return connect(f"ws://localhost:{port}/ws", max_queue=None)


class Server(Process):
    """A `pmw` that serves callers."""

    def __init__(self, words: list[str], *, port: int, env: dict[str, str], cwd: Path) -> None:
        super().__init__([*words, "--port", str(port)], env=env, cwd=cwd)
        self.port = port
        self.url = f"http://localhost:{port}"
        try:
            self.wait_for_line(f"{self.url}/", timeout=60)
            self.get("/")  # which asks for no page token
        except BaseException:
            self.popen.kill()
            raise

    def get(self, path: str) -> str:
        with urllib.request.urlopen(self.url + path, timeout=10) as answer:
            return answer.read().decode()


def own_folders(folder: str) -> dict[str, str]:
    """Return what keeps a server that outlives a test away from the user's sessions and logs."""
    return {"XDG_STATE_HOME": folder, "XDG_RUNTIME_DIR": folder, "PYTHONUNBUFFERED": "1"}


@pytest.fixture
def pmw_env(tmp_path: Path) -> dict[str, str]:
    """The environment of a person without keys."""
    kept = {name: value for name, value in os.environ.items() if not name.endswith("_API_KEY")}
    return {**kept, "XDG_STATE_HOME": str(tmp_path / "state"), "PYTHONUNBUFFERED": "1"}


@pytest.fixture
def pmw(pmw_env, tmp_path) -> Iterator[Callable[..., Process]]:
    """Start `pmw` with the given words; what still runs at the end is killed."""
    running: list[Process] = []

    def start(
        *words: str, env: dict[str, str] | None = None, inside: Sequence[str] = ()
    ) -> Process:
        process = Process(list(words), env={**pmw_env, **(env or {})}, cwd=tmp_path, inside=inside)
        running.append(process)
        return process

    yield start
    for process in running:
        process.popen.kill()
        process.popen.wait(5)


@pytest.fixture
def pmw_run(pmw_env, tmp_path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Run `pmw` to its end."""

    def run(*words: str, timeout: float = 60) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*PMW, *words], env=pmw_env, cwd=tmp_path, capture_output=True, text=True,
            timeout=timeout, stdin=subprocess.DEVNULL,
        )  # fmt: skip

    return run


@pytest.fixture
def pmw_here(
    pmw_env, tmp_path, monkeypatch, capfd
) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Run `pmw` to its end in this process, for what is done sooner than a Python starts."""
    monkeypatch.chdir(tmp_path)
    for name, value in pmw_env.items():
        monkeypatch.setenv(name, value)

    def run(*words: str) -> subprocess.CompletedProcess[str]:
        capfd.readouterr()
        code = run_here(*words)
        said = capfd.readouterr()
        return subprocess.CompletedProcess(words, code, said.out, said.err)

    return run


@pytest.fixture
def serve(pmw_env, tmp_path, free_port) -> Iterator[Callable[..., Server]]:
    """Start a `pmw` that serves callers, and wait until it does."""
    running: list[Server] = []

    def start(*words: str, env: dict[str, str] | None = None) -> Server:
        server = Server(list(words), port=free_port, env={**pmw_env, **(env or {})}, cwd=tmp_path)
        running.append(server)
        return server

    yield start
    for server in running:
        server.popen.kill()
        server.popen.wait(5)


@pytest.fixture
def engine(request, tmp_path: Path) -> Iterator[Engine]:
    """An engine of this test alone, which may do with it what it likes: Redis, or what it names."""
    server = SERVERS[getattr(request, "param", "redis")](tmp_path / "engine")
    server.start()
    yield server
    server.thaw()
    server.stop()


@pytest.fixture
def fleet(engine, pmw_env, tmp_path):
    """The processes of calls on that engine."""
    from tests.e2e.fleet import Fleet  # which imports from here

    fleet = Fleet(engine, env=pmw_env, cwd=tmp_path)
    yield fleet
    fleet.kill_all()


@pytest.fixture
def shop(engine, pmw_env, tmp_path):
    """A shop on that engine."""
    from tests.e2e.shops import Shop  # which imports from here

    shop = Shop(engine, env=pmw_env, cwd=tmp_path)
    yield shop
    shop.kill_all()
