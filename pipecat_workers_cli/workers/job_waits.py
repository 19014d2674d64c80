"""Waits for jobs that end: Pipecat's own go on where an answer was quick or nobody wants it."""

import asyncio
from typing import Any

from pipecat.pipeline.job_context import JobContext, JobGroupContext
from pipecat.workers.base_worker import BaseWorker


class _Ends:
    """Ends an iteration that begins when the answer is there already, and a wait that is left."""

    def __init__(self, asker: BaseWorker, worker: str | tuple[str, ...], *, params: Any) -> None:
        self._context: Any = super()  # Pipecat's class, which stands behind this one
        self._context.__init__(asker, worker, params=params)
        self._asker = asker
        self._over = False

    async def __aenter__(self) -> Any:
        await self._context.__aenter__()
        self._over = self._context.job_id not in self._asker.job_groups
        return self

    async def __anext__(self) -> Any:
        if not self._over:
            try:
                return await self._context.__anext__()
            except StopAsyncIteration:  # a second iteration would wait for ever
                self._over = True
        raise StopAsyncIteration

    async def __aexit__(self, *raised: Any) -> bool:
        try:
            return await self._context.__aexit__(*raised)
        except asyncio.CancelledError:  # while it waited for the answer; Pipecat lets it run on
            cancelling = self._asker.cancel_job_group(self._context.job_id, reason="not wanted")
            await asyncio.shield(cancelling)
            raise


class EndingJob(_Ends, JobContext):
    """One worker is asked, as by Pipecat's own."""


class EndingJobGroup(_Ends, JobGroupContext):
    """Several workers are asked at once, as by Pipecat's own."""
