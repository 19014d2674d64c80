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


class BorrowedIds:
    """Ids among processes that send them as they count them, and know nothing of `home`.

    What leaves is counted from so high that no other process has got there. What comes back
    from a process that only handed it on has its own id again, here as there: whoever looks
    on would else take it for another frame, and tell of it twice.
    """

    def __init__(self) -> None:
        """Know none, and choose where to count from."""
        self._base = (1 + randbits(20)) << 32
        self._here: dict[tuple[str, int], int] = {}
        self._there: dict[int, int] = {}

    def leaving(self, id: int) -> int:
        """Return what stands for an id of this process on the wire."""
        return self._there.get(id, self._base + id)

    def arriving(self, source: str, id: int) -> int:
        """Return what stands here for an id that came from a worker's process."""
        if 0 <= id - self._base < 1 << 32:
            return id - self._base
        found = self._here.get((source, id))
        if found is None:
            if len(self._here) >= IDS:
                del self._there[self._here.pop(next(iter(self._here)))]
            found = self._here[source, id] = obj_id()
            self._there[found] = id
        return found
