"""A specialist: a worker that answers other workers' questions in a context of its own."""

from collections.abc import Sequence
from functools import partial
from typing import Any

from pipecat.bus import BusJobRequestMessage
from pipecat.pipeline.pipeline import Pipeline
from pipecat.pipeline.worker import PipelineWorker
from pipecat.services.llm_service import LLMService

from pipecat_workers_cli.workers.conversation import OwnConversation
from pipecat_workers_cli.workers.jobs import ANSWER, Answering, question_of
from pipecat_workers_cli.workers.tools import Tool


class Specialist(Answering, PipelineWorker):
    """Answers each job by its LLM and remembers what it was asked before.

    Jobs: any name; the payload's words are the question. Answers `{"answer": words}`.
    """

    def __init__(self, name: str, *, llm: LLMService, tools: Sequence[Tool] = ()) -> None:
        """Assemble the specialist's pipeline.

        Args:
            name: The worker's name on the bus.
            llm: What it thinks with; the system instruction is the service's.
            tools: What the LLM may call.
        """
        self._conversation = OwnConversation(llm, tools=tools)
        super().__init__(
            Pipeline([*self._conversation.processors]),
            name=name,
            enable_rtvi=False,
            enable_turn_tracking=False,
            idle_timeout_secs=None,
        )

    async def answer(self, job: BusJobRequestMessage) -> dict[str, Any]:
        """Ask the LLM."""
        words = await self._conversation.ask(question_of(job), tell=partial(self.tell, job))
        return {ANSWER: words}
