"""What tests in more than one room share."""

import os
import shutil
import signal
import socket

import pytest
from loguru import logger

os.environ["ORT_DISABLE_TELEMETRY"] = "1"  # as settings.load_env does
# Whoever runs the tests in the background may have SIGINT ignored, and children inherit that.
signal.signal(signal.SIGINT, signal.default_int_handler)
logger.remove()  # Pipecat's inner life would bury what a failed test has to say

BROWSERS = ("chromium", "chromium-browser", "google-chrome")


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch, tmp_path_factory) -> None:
    """Keep keys, .env files and state of whoever runs the tests out of them."""
    for name in list(os.environ):
        if name.endswith(("_API_KEY", "_BASE_URL")) or name.startswith(("PMW_", "PIPECAT_")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path_factory.mktemp("state")))


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


@pytest.fixture
def free_port() -> int:
    """A port that nobody listens on, at least not now."""
    with socket.socket() as probe:
        probe.bind(("localhost", 0))
        return probe.getsockname()[1]
