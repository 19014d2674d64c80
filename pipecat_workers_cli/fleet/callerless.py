"""What whoever attaches to a session meets where there are no callers."""

import signal

from pipecat_workers_cli.call.run import Call
from pipecat_workers_cli.errors import ConfigurationError
from pipecat_workers_cli.traffic.lag import LoopLag


class Callerless:
    """A host of workers: their callers are with the sessions that have the calls.

    Attributes:
        loop_lag: How late the event loop is, while it is measured.
        address: Where those who have the calls reach it; None: on a shared bus.
    """

    address: str | None = None

    def __init__(self) -> None:
        """Measure nothing yet."""
        self.loop_lag = LoopLag()

    @property
    def lag(self) -> float:
        """Seconds by which the event loop was late when it was last measured."""
        return self.loop_lag.seconds

    def stop(self) -> None:
        """End as SIGTERM does."""
        signal.raise_signal(signal.SIGTERM)

    async def call_for(self, call: str | None) -> Call:
        """Refuse: the caller isn't here.

        Raises:
            ConfigurationError: Always.
        """
        raise ConfigurationError(
            "a worker host has no callers of its own",
            mend="say it to the session that has the call",
        )
