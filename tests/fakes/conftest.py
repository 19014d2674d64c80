"""What the tests of all three fakes share."""

from collections.abc import Callable, Iterator

import pytest
from loguru import logger

from pipecat_workers_cli.options import ServiceOptions
from pipecat_workers_cli.recipe.model import Service
from pipecat_workers_cli.services.providers import Choice, Role, choose
from tests.fakes.provider import FakeProvider

WRONG_KEY = "wrong-key-that-must-not-show"
IN_EACH_KEY = "0123456789"


@pytest.fixture(autouse=True)
def log_lines() -> Iterator[list[str]]:
    """All that is logged, however quietly; no key may be in it."""
    lines: list[str] = []
    sink = logger.add(lines.append, level="TRACE", format="{message}\n{exception}")
    yield lines
    logger.remove(sink)
    assert not [line for line in lines if WRONG_KEY in line or IN_EACH_KEY in line]


@pytest.fixture
def wrong_key() -> str:
    """A key that has no format by which it would be known as one."""
    return WRONG_KEY


@pytest.fixture
def chosen(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Choice]:
    """Give a function that points our own configuration at a fake and makes the choice of it."""

    def choice(role: Role, fake: FakeProvider, key: str | None, **settings: object) -> Choice:
        for name, value in fake.environment.items():
            monkeypatch.setenv(name, key if key and name.endswith("_KEY") else value)
        name = type(fake).__name__.removeprefix("Fake").lower()
        table = Service.model_validate({"use": name, **settings})
        return choose(role, options=ServiceOptions(), worker=table)

    return choice
