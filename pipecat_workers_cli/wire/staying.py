"""What was to cross and stays: counted by type, and told once each."""

from collections import Counter

from loguru import logger

STAYING_TYPES = 200  # counted by name; all that come after them are counted together
OTHERS = "(others)"


class Staying(Counter[str]):
    """By type, messages, frames and parts of them that stayed in this process."""

    def note(self, type_: type) -> None:
        """Count one."""
        name = type_.__name__
        if name not in self and len(self) >= STAYING_TYPES:
            name = OTHERS
        self[name] += 1
        if self[name] == 1:
            # Pipecat's own stay by design; who wrote another type may miss it elsewhere.
            level = "DEBUG" if type_.__module__.startswith("pipecat.") else "WARNING"
            logger.log(level, f"{name} stays in this process: it is not among what may cross")
