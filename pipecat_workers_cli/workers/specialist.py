"""A specialist: a worker that answers other workers' questions in a context of its own."""

from collections.abc import Sequence

from pipecat.services.llm_service import LLMService

from pipecat_workers_cli.workers.conversation import Conversing, OwnConversation
from pipecat_workers_cli.workers.tools import Tool


class Specialist(Conversing):
    """Answers each job by its LLM and remembers what it was asked before."""

    def __init__(self, name: str, *, llm: LLMService, tools: Sequence[Tool] = ()) -> None:
        """Assemble the specialist's pipeline.

        Args:
            name: The worker's name on the bus.
            llm: What it thinks with; the system instruction is the service's.
            tools: What the LLM may call.
        """
        super().__init__(name, OwnConversation(llm, tools=tools))
