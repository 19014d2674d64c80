"""The ids of frames that arrive.

Each process counts its frames from nothing, so a frame that kept its id would be taken for a
local one: what was seen of that one counts as seen of both, and words vanish from what the
caller's client is told.
"""

from secrets import randbits

from pipecat.utils.utils import obj_id

IDS = 1_000  # remembered; the frames of a pair are milliseconds apart, a sentence's words seconds


class Ids:
    """Gives each id of another process one of this process, the same as long as it remembers.

    Attributes:
        home: What this process's ids are told apart by; two calls or lives of it have two.
    """

    def __init__(self) -> None:
        """Know none."""
        self.home = randbits(32)
        self._here: dict[tuple[int, int], int] = {}

    def here(self, home: int, id: int) -> int:
        """Return what goes here for an id of another process."""
        found = self._here.get((home, id))
        if found is None:
            if len(self._here) >= IDS:
                del self._here[next(iter(self._here))]
            found = self._here[home, id] = obj_id()
        return found
