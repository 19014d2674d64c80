"""The kind `warehouse`: knows how many of each thing are left."""

from pipecat.bus import BusJobRequestMessage
from pipecat.pipeline.job_decorator import job
from pipecat.workers.base_worker import BaseWorker
from pydantic import BaseModel, Field


class Warehouse(BaseWorker):
    """Counts what is left.

    Jobs: `count` takes `{"thing": text}` and answers `{"answer": words}`.
    """

    class Options(BaseModel, extra="forbid"):
        """What a recipe may say in `options`."""

        stock: dict[str, int] = Field(description="write { THING = HOW_MANY }")

    def __init__(self, name: str, *, stock: dict[str, int]) -> None:
        """Begin with what is there.

        Args:
            name: The worker's name on the bus.
            stock: How many of each thing.
        """
        super().__init__(name)
        self._stock = stock

    @job(name="count")
    async def on_count(self, message: BusJobRequestMessage) -> None:
        """Answer how many are left."""
        thing = str((message.payload or {}).get("thing", ""))
        left = sum(count for name, count in self._stock.items() if name in thing.lower())
        await self.send_job_response(message.job_id, {"answer": f"{left} left"})
