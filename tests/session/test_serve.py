"""What a session does between its calls, apart from the server it runs in."""

from collections.abc import Iterable

import pytest

from pipecat_workers_cli.call.plan import Plan
from pipecat_workers_cli.call.ready import ready_plan
from pipecat_workers_cli.options import Profile, ServeOptions, ServiceOptions
from pipecat_workers_cli.services.providers import Choice
from pipecat_workers_cli.session import serve as module
from pipecat_workers_cli.session.current import CurrentPlan
from pipecat_workers_cli.session.serve import Serving
from pipecat_workers_cli.traffic.tap import Tap


def plan_with(stt: str | None = None) -> Plan:
    services = ServiceOptions(profile=Profile.OFFLINE, stt=stt)
    return ready_plan("handoff", services, speech=True)


@pytest.fixture
def loaded(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The ears whose model was loaded, each time."""
    ears: list[str] = []

    async def load_models(choices: Iterable[Choice]) -> None:
        ears.extend(choice.provider for choice in choices if choice.role == "stt")

    monkeypatch.setattr(module, "load_models", load_models)
    monkeypatch.setattr(module, "keep_loaded_models", lambda: None)  # for this process's life
    return ears


async def test_models_are_loaded_once_until_an_edit_chooses_others(
    loaded: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DEEPGRAM_API_KEY", "x" * 20)
    offline, cloud = plan_with(), plan_with("deepgram")
    serving = Serving(
        CurrentPlan(offline),
        ServeOptions(),
        tap=Tap(),
        max_calls=1,
        idle_timeout=1,
        set_up_logs=lambda: None,
    )
    for plan in (offline, offline, plan_with(), cloud, cloud, offline):
        await serving._load_models(plan)
    assert loaded == ["moonshine", "deepgram", "moonshine"]
