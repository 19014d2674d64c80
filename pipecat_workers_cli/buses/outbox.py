"""What waits for one inbox: a bounded queue of letters, and the parcel that is under way."""

from collections import deque
from typing import NamedTuple

from pipecat_workers_cli.wire.letter import Letter, Parcel
from pipecat_workers_cli.wire.letter import encode as encode_parcel
from pipecat_workers_cli.wire.limits import PARCEL_BYTES, PARCEL_LETTERS

WAITING_LETTERS = 4_000  # over a minute of one call's audio
WAITING_BYTES = 16 * 1024 * 1024
ASK_AGAIN = 0.25  # seconds between looks for an inbox that isn't there
GONE_AFTER = 3.0  # seconds without an inbox; an engine that lost its data gets it back sooner


class Dropped(NamedTuple):
    """How many letters were dropped, so that another could wait.

    Attributes:
        audio: With sound, which is worthless when late.
        others: Without.
    """

    audio: int
    others: int


class Outbox:
    """Letters for one inbox, sent in parcels, each of them until it has arrived.

    Attributes:
        due_at: Not to be sent sooner, in the event loop's seconds; 0 is at once.
        letters: How many are in the parcel that is under way.
    """

    def __init__(self, sender: str) -> None:
        """Begin empty.

        Args:
            sender: The address of whoever sends.
        """
        self.due_at = 0.0
        self.letters = 0
        self._sender = sender
        self._waiting: deque[tuple[Letter, bool]] = deque()
        self._bytes = 0
        self._seq = 0
        self._parcel: bytes | None = None
        self._gone_since: float | None = None

    def __bool__(self) -> bool:
        """Tell whether there is anything to send."""
        return self._parcel is not None or bool(self._waiting)

    def add(self, letter: Letter, *, audio: bool) -> Dropped:
        """Queue a letter; beyond the bound the oldest audio is dropped, else this letter."""
        sound = others = 0
        self._waiting.append((letter, audio))
        self._bytes += len(letter.body)
        while len(self._waiting) > WAITING_LETTERS or self._bytes > WAITING_BYTES:
            if self._drop_audio():
                sound += 1
            else:
                self._bytes -= len(self._waiting.pop()[0].body)
                others += 1
        return Dropped(sound, others)

    def _drop_audio(self) -> bool:
        for place, (letter, audio) in enumerate(self._waiting):
            if audio:
                del self._waiting[place]
                self._bytes -= len(letter.body)
                return True
        return False

    def parcel(self) -> bytes:
        """Return the parcel that is under way, else one made of what waits."""
        if self._parcel is None:
            letters: list[Letter] = []
            size = 0
            while self._waiting and len(letters) < PARCEL_LETTERS:
                size += len(self._waiting[0][0].body)
                if letters and size > PARCEL_BYTES // 2:  # the rest is for what is round it
                    break
                letters.append(self._waiting.popleft()[0])
                self._bytes -= len(letters[-1].body)
            self._seq += 1
            self._parcel = encode_parcel(
                Parcel(sender=self._sender, seq=self._seq, letters=letters)
            )
            self.letters = len(letters)
        return self._parcel

    def arrived(self) -> None:
        """Be done with the parcel that was under way."""
        self._parcel = None
        self._gone_since = None
        self.due_at = 0.0

    def not_there(self, now: float) -> bool:
        """Note that there is no such inbox; return whether there won't be one any more."""
        if self._gone_since is None:
            self._gone_since = now
        self.due_at = now + ASK_AGAIN
        return now - self._gone_since > GONE_AFTER
