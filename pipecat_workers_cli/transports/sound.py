"""What a transport by sound is, wherever the sound comes from: two ends, a start and a hang-up."""

import asyncio
from abc import abstractmethod
from collections.abc import Awaitable, Callable

from pipecat.frames.frames import CancelFrame, EndFrame, StartFrame
from pipecat.processors.frame_processor import FrameProcessor
from pipecat.transports.base_input import BaseInputTransport
from pipecat.transports.base_output import BaseOutputTransport
from pipecat.transports.base_transport import BaseTransport, TransportParams


class SoundInput(BaseInputTransport):
    """Sends what is heard for as long as the pipeline runs."""

    def __init__(self, params: TransportParams, ready: Callable[[], Awaitable[None]]) -> None:
        """Prepare.

        Args:
            params: The transport's.
            ready: Awaited once what is heard goes into the pipeline.
        """
        super().__init__(params)
        self._ready = ready
        self._listening: asyncio.Task[None] | None = None

    async def start(self, frame: StartFrame) -> None:
        """Begin to listen."""
        await super().start(frame)
        await self.set_transport_ready(frame)
        self._listening = self.create_task(self._listen(), "microphone")
        await self._ready()

    async def stop(self, frame: EndFrame) -> None:
        """Listen no more."""
        await self._switch_off()
        await super().stop(frame)

    async def cancel(self, frame: CancelFrame) -> None:
        """Listen no more."""
        await self._switch_off()
        await super().cancel(frame)

    @abstractmethod
    async def _listen(self) -> None:
        """Push what is heard until cancelled."""

    async def _switch_off(self) -> None:
        if self._listening is not None:
            await self.cancel_task(self._listening)
            self._listening = None


class SoundOutput(BaseOutputTransport):
    """Plays what the bot says, from the pipeline's start on."""

    async def start(self, frame: StartFrame) -> None:
        """Begin to play."""
        await super().start(frame)
        await self.set_transport_ready(frame)


class SoundTransport(BaseTransport):
    """Carries speech between a caller and the pipeline; whoever derives it makes the two ends."""

    _input: SoundInput
    _output: SoundOutput

    def __init__(self) -> None:
        """Prepare; sound flows once the pipeline starts."""
        super().__init__()
        self._register_event_handler("on_client_connected")
        self._register_event_handler("on_client_disconnected", sync=True)

    def input(self) -> FrameProcessor:
        """Return the processor that the caller's speech enters by."""
        return self._input

    def output(self) -> FrameProcessor:
        """Return the processor that plays what the bot says."""
        return self._output

    async def hang_up(self) -> None:
        """Leave the call as a client that goes away does."""
        await self._call_event_handler("on_client_disconnected", None)

    async def _client_connected(self) -> None:
        await self._call_event_handler("on_client_connected", None)
