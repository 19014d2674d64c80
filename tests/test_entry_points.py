"""What installed packages add: read when it is named, and told of by the package's name."""

import subprocess
import sys

import pytest

from pipecat_workers_cli.call.resolve import find_kind
from pipecat_workers_cli.checks import State
from pipecat_workers_cli.entry_points import SERVICES, WORKERS, added_names, load_added
from pipecat_workers_cli.errors import ConfigurationError, PmwError
from pipecat_workers_cli.options import ServiceOptions
from pipecat_workers_cli.services.provider_checks import check
from pipecat_workers_cli.services.providers import (
    Choice,
    Persona,
    Role,
    build_llm,
    build_tts,
    choose,
)

POINTS = """
[pmw.services]
acme = acme_added:ACME
two = acme_added:TWO
broken = acme_broken:ROW
odd = acme_added:ODD
renamed = acme_added:ACME
[pmw.workers]
shelf = acme_added:Shelf
thing = acme_added:build_llm
gone = acme_added:Gone
"""
CODE = """
from pipecat.workers.base_worker import BaseWorker
from pipecat_workers_cli.services.provider_settings import NUMBER
from pipecat_workers_cli.services.providers import Provider, Role

ACME = Provider(Role.LLM, "acme", "acme_added", "build_llm", default="one", models=("one", "two"),
                packages=("acme_needs",), key="ACME_API_KEY", url="ACME_BASE_URL",
                settings={"heat": NUMBER})
TWO = (Provider(Role.STT, "two", "acme_added", "build"),
       Provider(Role.TTS, "two", "acme_added", "build_tts", local=True, default="ann"))
ODD = "no row"

class Shelf(BaseWorker):
    pass

def build_llm(**given):
    if given["model"] == "two":
        raise RuntimeError("no such model for sk-live-0123456789")
    return given

def build_tts(**given):
    return given
"""


@pytest.fixture(autouse=True)
def acme(tmp_path, monkeypatch):
    """A package `acme-added` that is installed as far as Python can tell."""
    metadata = tmp_path / "acme_added-1.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: acme-added\nVersion: 1.0\n")
    (metadata / "entry_points.txt").write_text(POINTS)
    (tmp_path / "acme_added.py").write_text(CODE)
    (tmp_path / "acme_broken.py").write_text("raise OSError('not with sk-live-0123456789')")
    monkeypatch.syspath_prepend(tmp_path)
    forget()
    yield
    forget()


def forget() -> None:
    for cached in (added_names, load_added):
        cached.cache_clear()
    sys.modules.pop("acme_added", None)


def llm(use):
    return choose(Role.LLM, options=ServiceOptions(llm=use))


def test_the_names_are_known_without_an_import():
    assert {"acme", "two", "broken"} <= added_names(SERVICES)
    assert {"shelf", "gone"} <= added_names(WORKERS)
    assert "acme_added" not in sys.modules


def test_a_provider_of_ours_pays_for_no_package(tmp_path):
    program = """
import sys
from pipecat_workers_cli.options import Profile, ServiceOptions
from pipecat_workers_cli.services.provider_checks import check
from pipecat_workers_cli.services.providers import Role, choose
for role in Role:
    check(choose(role, options=ServiceOptions(profile=Profile.OFFLINE)))
print("acme_added" in sys.modules)
"""
    done = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        timeout=60,
        env={"PYTHONPATH": str(tmp_path)},
    )
    assert done.stdout.strip() == "False", done.stderr


def test_a_provider_is_chosen_checked_and_built_like_one_of_ours(monkeypatch):
    chosen = llm("acme")
    assert (chosen.provider, chosen.model, chosen.why) == ("acme", None, "--llm")
    found = {finding.name: finding for finding in check(chosen)}
    assert found["ACME_API_KEY"].found == "ACME_API_KEY is not set"
    assert found["acme_needs"].mend == (
        "install what acme-added needs: uv pip install --upgrade acme-added"
    )
    monkeypatch.setenv("ACME_API_KEY", " key ")
    monkeypatch.setenv("ACME_BASE_URL", "nowhere")
    found = {finding.name: finding for finding in check(chosen)}
    assert (found["ACME_API_KEY"].state, found["ACME_BASE_URL"].state) == (State.OK, State.WRONG)
    persona = Persona("ann")
    built = build_llm(Choice(Role.LLM, "acme", settings={"heat": 1}), persona)
    assert built == {
        "model": "one",
        "key": "key",
        "base_url": "nowhere",
        "settings": {"heat": 1},
        "persona": persona,
    }


def test_a_package_may_add_a_provider_for_several_roles():
    stt = choose(Role.STT, options=ServiceOptions(stt="two"))
    tts = choose(Role.TTS, options=ServiceOptions(tts="two:bea"))
    assert (stt.provider, tts.model) == ("two", "bea")
    assert check(tts) == []  # its voices are its own, not Piper's files
    assert build_tts(tts, None) == {"voice": "bea"}
    with pytest.raises(ConfigurationError) as caught:
        llm("two")
    assert caught.value.mend.startswith("'two' is for --stt; ")


def test_a_near_miss_may_be_a_name_that_a_package_adds():
    with pytest.raises(ConfigurationError) as caught:
        llm("acmee")
    assert caught.value.mend.startswith("did you mean 'acme'?")
    with pytest.raises(ConfigurationError) as caught:
        find_kind("shelff", None)
    assert caught.value.mend.startswith("did you mean 'shelf'?")


@pytest.mark.parametrize(
    ("use", "what"),
    [
        ("broken", "'broken' of the package acme-added can't be imported: OSError: not with ***"),
        ("odd", "'odd' of the package acme-added is no Provider of that name"),
        ("renamed", "'renamed' of the package acme-added is no Provider of that name"),
    ],
)
def test_a_provider_that_is_broken_is_told_in_two_lines_that_name_its_package(use, what):
    with pytest.raises(ConfigurationError) as caught:
        llm(use)
    assert caught.value.what == what
    assert caught.value.mend == "mend or uninstall it: uv pip uninstall acme-added"


def test_a_provider_that_can_not_be_built_is_told_in_its_packages_name():
    with pytest.raises(PmwError) as caught:
        build_llm(llm("acme:two"), Persona("ann"))
    assert caught.value.what == (
        "llm by acme of the package acme-added can't be built: RuntimeError: no such model for ***"
    )


def test_a_kind_is_found_by_its_name():
    kind = find_kind("shelf", None)
    assert (kind.name, kind.own, kind.load().__name__) == ("shelf", True, "Shelf")


@pytest.mark.parametrize(
    ("name", "what"),
    [
        ("thing", "'thing' of the package acme-added: this is no class of Pipecat workers"),
        ("gone", "'gone' of the package acme-added can't be imported: AttributeError: module"),
    ],
)
def test_a_kind_that_is_broken_is_told_in_two_lines_that_name_its_package(name, what):
    with pytest.raises(ConfigurationError) as caught:
        find_kind(name, None)
    assert caught.value.what.startswith(what)
    assert caught.value.mend == "mend or uninstall it: uv pip uninstall acme-added"
