"""A stock process with a greeter and a support agent: `python -m tests.peers.agents URL CHANNEL`.

It says `ready` once both are, and `over` when its session is.
"""

import asyncio

from loguru import logger
from pipecat.services.llm_service import FunctionCallParams
from pipecat.workers.llm import LLMWorkerActivationArgs, tool
from pipecat.workers.runner import WorkerRunner

from tests.peers.acme import BYE, QUIETLY, Talker, open_bus

GREETER = {
    "Speak first": ("Welcome to the stock Acme Corp! We sell kits and paint.", None),
    "kit": ("", {"function_name": "transfer_to_support", "arguments": {"reason": "asks for kits"}}),
    "bye": BYE,
}
SUPPORT = {
    "asks for kits": ("This is stock support: the kit is $199.", None),
    "boots": ("Boots are $299.", None),
    "bye": BYE,
}


class StockAgent(Talker):
    """Has the call while it is active."""

    @tool
    async def transfer_to_support(self, params: FunctionCallParams, reason: str) -> None:
        """Hand the call to support.

        Args:
            params: The function call.
            reason: Why.
        """
        await params.result_callback({"transferred": True}, properties=QUIETLY)
        cue = {"role": "developer", "content": f"The caller {reason}."}
        args = LLMWorkerActivationArgs(messages=[cue])
        await self.activate_worker("support", args=args, deactivate_self=True)


async def main() -> None:
    runner = WorkerRunner(bus=open_bus(), handle_sigint=False, handle_sigterm=True)
    await runner.add_workers(StockAgent("greeter", GREETER), StockAgent("support", SUPPORT))

    @runner.event_handler("on_ready")
    async def on_ready(_runner: WorkerRunner) -> None:
        print("ready", flush=True)

    await runner.run()
    print("over", flush=True)


if __name__ == "__main__":
    logger.remove()
    asyncio.run(main())
