"""What tests in more than one room share."""

import os
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from loguru import logger

from tests import ports
from tests.buses.servers import RedisServer
from tests.installing import CHECKOUT, install, run

os.environ["ORT_DISABLE_TELEMETRY"] = "1"  # as settings.load_env does
# Whoever runs the tests in the background may have SIGINT ignored, and children inherit that.
signal.signal(signal.SIGINT, signal.default_int_handler)
logger.remove()  # Pipecat's inner life would bury what a failed test has to say

YIELDING = 5  # of niceness; beside what has none, a process gets a third of its time
BROWSERS = ("chromium", "chromium-browser", "google-chrome")


@pytest.hookimpl(tryfirst=True)  # xdist looks for its groups in the same hook
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Keep what is timed by the ear in one process: two calls at once would disturb each other.

    xdist starts with the biggest groups. What starts programs of its own comes last: it would
    disturb them, too. Of that the slow comes first: no process is to wait for another in the end.
    """
    items.sort(
        key=lambda item: (item.path.parent.name == "e2e", item.get_closest_marker("slow") is None)
    )
    for item in items:
        if item.get_closest_marker("aloud"):
            item.add_marker(pytest.mark.xdist_group("aloud"))


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Let what is timed by the ear go first where tests run side by side."""
    beside = "PYTEST_XDIST_WORKER" in os.environ and not item.get_closest_marker("aloud")
    if beside and not os.nice(0):
        os.nice(YIELDING)


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch, tmp_path_factory) -> None:
    """Keep keys, .env files, state and sessions of whoever runs the tests out of them."""
    for name in list(os.environ):
        if name.endswith(("_API_KEY", "_BASE_URL")) or name.startswith(("PMW_", "PIPECAT_")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path_factory.mktemp("state")))
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path_factory.mktemp("run")))


@pytest.fixture(scope="session")
def chromium() -> str:
    """The path of a browser; without one its tests are skipped, but never in CI."""
    found = next(filter(None, map(shutil.which, BROWSERS)), None)
    if found is None:
        missing = "browser tests need Chromium: apt-get install chromium"
        if os.environ.get("CI"):
            pytest.fail(missing)
        pytest.skip(missing)
    return found


@pytest.fixture(scope="module")
def valkey(tmp_path_factory) -> Iterator[RedisServer]:
    """A Valkey of a file's own."""
    server = RedisServer(tmp_path_factory.mktemp("valkey"))
    server.start()
    yield server
    server.stop()


@pytest.fixture
def free_port() -> int:
    """A port that nobody listens on, at least not now."""
    return ports.free_port()


@pytest.fixture(scope="session")
def uv() -> str:
    """The path of uv; `uv run` names it."""
    found = os.environ.get("UV") or shutil.which("uv")
    if found is None:
        pytest.skip("building a wheel needs uv: pip install uv")
    return found


@pytest.fixture(scope="session")
def wheel(uv: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel of this checkout."""
    folder = tmp_path_factory.mktemp("wheel")
    built = run(uv, "build", "--wheel", "--out-dir", folder, CHECKOUT, cwd=folder, timeout=120)
    assert built.returncode == 0, built.stderr
    (path,) = folder.glob("*.whl")
    return path


@pytest.fixture(scope="session")
def installed(uv: str, wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The programs of an environment that holds the wheel and what it depends on."""
    return install(uv, tmp_path_factory.mktemp("environment"), wheel)
