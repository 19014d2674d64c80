"""Kinds: ours, those that packages add, and what a stranger's class gets to be fit for a call."""

import subprocess
import sys

import pytest
from pipecat.pipeline.pipeline import Pipeline
from pipecat.pipeline.worker import PipelineWorker
from pipecat.processors.filters.identity_filter import IdentityFilter
from pipecat.services.llm_service import LLMService
from pipecat.workers.base_worker import BaseWorker
from pipecat.workers.llm import LLMContextWorker, LLMWorker, tool

from pipecat_workers_cli.recipe.names import SERVING_KINDS
from pipecat_workers_cli.workers.agent import Agent, TakesCall
from pipecat_workers_cli.workers.fitted import fitted
from pipecat_workers_cli.workers.jobs import JobsEnd
from pipecat_workers_cli.workers.kinds import KINDS, own_kind


class Silent(PipelineWorker):
    def __init__(self, name: str, *, copies: int = 1) -> None:
        super().__init__(Pipeline([IdentityFilter()]), name=name)


class Patient(PipelineWorker):
    def __init__(self, name: str) -> None:
        super().__init__(Pipeline([IdentityFilter()]), name=name, idle_timeout_secs=7)


class Voiced(LLMWorker):
    def __init__(self, name: str, *, llm: LLMService, tts: object) -> None:
        super().__init__(name, llm=llm, bridged=())
        self.tts = tts


class Choosy(LLMWorker):
    def __init__(self, name: str, *, llm: LLMService, tools: int = 3) -> None:
        super().__init__(name, llm=llm)
        self.count = tools


class Wordy(LLMWorker):
    @tool
    async def look_up(self, params, word: str) -> None:
        """Look a word up."""


def names(worker):
    return [getattr(known, "name", None) or known.__name__ for known in worker.build_tools()]


def test_every_kind_of_ours_that_serves_is_in_the_table():
    assert set(KINDS) == {"agent", *SERVING_KINDS}


def test_naming_a_kind_imports_no_framework():
    program = """
import sys
from pipecat_workers_cli.workers.kinds import KINDS
print(KINDS["agent"].thinks, "pipecat" in sys.modules)
"""
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=60
    )
    assert done.stdout.split() == ["True", "False"], done.stderr


async def test_a_class_is_called_with_what_it_takes_and_no_more():
    tts, llm = object(), LLMService()
    voiced = own_kind("own:Voiced", Voiced)
    assert set(voiced.takes) == {"llm", "tts", "tools", "transfers"}
    worker = voiced.build("one", {}, llm=llm, tts=tts, tools=(), transfers={}, trust=None)
    assert (worker.name, worker.llm, worker.tts) == ("one", llm, tts)
    silent = own_kind("own:Silent", Silent)
    assert (silent.takes, list(silent.parameters())) == ((), ["copies"])
    assert silent.build("two", {"copies": 2}, llm=llm, tools=()).name == "two"


def test_a_fitted_class_is_made_once_and_keeps_what_it_was():
    assert fitted(Silent) is fitted(Silent)
    assert issubclass(fitted(Silent), (JobsEnd, Silent))
    assert (fitted(Silent).__name__, fitted(Silent).__module__) == ("Silent", __name__)
    assert fitted(Agent).__mro__.count(TakesCall) == 1


@pytest.mark.parametrize(("own", "seconds"), [(Silent, None), (Patient, 7)])
async def test_a_pipeline_worker_ends_no_call_for_its_own_idleness_unless_it_says_so(
    own, seconds, monkeypatch
):
    given = {}
    initialise = PipelineWorker.__init__

    def spy(self, pipeline, **options):
        given.update(options)
        initialise(self, pipeline, **options)

    monkeypatch.setattr(PipelineWorker, "__init__", spy)
    fitted(own)("one")
    assert (given["idle_timeout_secs"], given["enable_rtvi"]) == (seconds, False)


async def test_the_llm_of_a_bridged_worker_gets_our_two_tools_beside_its_own():
    worker = fitted(Wordy)(name="one", llm=LLMService(), bridged=())
    worker.equip(transfers={"two": "the other"}, tools=())
    assert names(worker) == ["end_conversation", "transfer_to_agent", "look_up"]
    alone = fitted(Wordy)(name="one", llm=LLMService(), bridged=())
    assert names(alone) == ["end_conversation", "look_up"]


async def test_the_llm_of_a_worker_that_answers_jobs_has_its_own_tools_alone():
    worker = fitted(Wordy)(name="one", llm=LLMService())
    assert names(worker) == ["look_up"]
    assert names(fitted(LLMContextWorker)(name="two", llm=LLMService())) == []


async def test_a_worker_without_a_pipeline_can_not_talk():
    assert own_kind("own:Silent", Silent).talks()
    assert not own_kind("own:BaseWorker", BaseWorker).talks()


async def test_an_option_of_a_class_may_be_called_like_what_ours_take():
    choosy = own_kind("own:Choosy", Choosy)
    assert list(choosy.parameters()) == ["tools"]
    assert choosy.build("one", {"tools": 4}, llm=LLMService(), tools=(), transfers={}).count == 4
