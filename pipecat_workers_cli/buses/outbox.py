"""What waits for one inbox: a bounded queue of letters, and the parcel that is under way."""

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

from pipecat_workers_cli.wire.letter import Letter, Parcel
from pipecat_workers_cli.wire.letter import encode as encode_parcel
from pipecat_workers_cli.wire.limits import MESSAGE_BYTES, PARCEL_BYTES, PARCEL_LETTERS

WAITING_LETTERS = 4_000  # over a minute of one call's audio
WAITING_BYTES = 16 * 1024 * 1024
ASK_AGAIN = 0.25  # seconds between looks for an inbox that isn't there
AROUND = 24  # bytes of a letter beside its body and its names
GONE_AFTER = 6.0  # seconds without an inbox; its owner may need 4.8 to see that all data is lost


@dataclass(frozen=True, slots=True)
class Bounds:
    """How much may wait for one inbox, and be sent there at once.

    Attributes:
        letters: That wait.
        bytes: That wait.
        letter_bytes: Of one letter's body.
        parcel_bytes: Of one parcel, what is round its letters included.
    """

    letters: int = WAITING_LETTERS
    bytes: int = WAITING_BYTES
    letter_bytes: int = MESSAGE_BYTES
    parcel_bytes: int = PARCEL_BYTES


BOUNDS = Bounds()


class Dropped(NamedTuple):
    """How many letters were dropped, so that another could wait.

    Attributes:
        audio: With sound, which is worthless when late.
        others: Without.
    """

    audio: int
    others: int


class _Waiting(NamedTuple):
    number: int
    letter: Letter
    audio: bool


class Outbox:
    """Letters for one inbox, sent in parcels, each of them until it has arrived.

    Attributes:
        due_at: Not to be sent sooner, in the event loop's seconds; 0 is at once.
        letters: How many are in the parcel that is under way.
        added: How many were ever queued.
        arrived_to: The number of the last that arrived, counted as it was queued; from 1.
        gone: Whether all that waited was dropped, because there is no such inbox.
    """

    def __init__(self, sender: str, numbers: Iterator[int], bounds: Bounds = BOUNDS) -> None:
        """Begin empty.

        Args:
            sender: The address of whoever sends.
            numbers: Gives each parcel its number, larger than all that this process used
                before: whoever receives knows by it what is new, also in an inbox to which
                nothing had gone for so long that its outbox was forgotten.
            bounds: How much may wait, and be in one parcel.
        """
        self.due_at = 0.0
        self.letters = 0
        self.added = 0
        self.arrived_to = 0
        self.gone = False
        self._sender = sender
        self._bounds = bounds
        self._numbers = numbers
        self._waiting: deque[_Waiting] = deque()
        self._bytes = 0
        self._sounds = 0
        self._last = 0
        self._parcel: bytes | None = None
        self._gone_since: float | None = None

    def __len__(self) -> int:
        """Return how many letters have not arrived."""
        return len(self._waiting) + (self.letters if self._parcel is not None else 0)

    @property
    def waiting_bytes(self) -> int:
        """What waits, without the parcel that is under way."""
        return self._bytes

    def add(self, letter: Letter, *, audio: bool) -> Dropped:
        """Queue a letter; beyond the bound the oldest audio is dropped, else this letter."""
        sound = others = 0
        self.added += 1
        self._waiting.append(_Waiting(self.added, letter, audio))
        self._bytes += len(letter.body)
        self._sounds += audio
        while len(self._waiting) > self._bounds.letters or self._bytes > self._bounds.bytes:
            if self._sounds:
                self._drop_audio()
                sound += 1
            else:
                self.added -= 1
                self._bytes -= len(self._waiting.pop().letter.body)
                others += 1
        return Dropped(sound, others)

    def _drop_audio(self) -> None:
        place = next(place for place, waiting in enumerate(self._waiting) if waiting.audio)
        self._bytes -= len(self._waiting[place].letter.body)
        self._sounds -= 1
        del self._waiting[place]

    def parcel(self) -> bytes:
        """Return the parcel that is under way, else one made of what waits."""
        if self._parcel is None:
            letters: list[Letter] = []
            size = 0
            while self._waiting and len(letters) < PARCEL_LETTERS:
                first = self._waiting[0].letter
                size += len(first.body) + 4 * (len(first.call) + len(first.worker)) + AROUND
                # What is counted is the most that a letter takes; half leaves room for the head.
                if letters and size > self._bounds.parcel_bytes // 2:
                    break
                self._last, letter, audio = self._waiting.popleft()
                letters.append(letter)
                self._bytes -= len(letter.body)
                self._sounds -= audio
            self._parcel = encode_parcel(
                Parcel(sender=self._sender, seq=next(self._numbers), letters=letters)
            )
            self.letters = len(letters)
        return self._parcel

    def arrived(self) -> None:
        """Be done with the parcel that was under way."""
        self._parcel = None
        self.arrived_to = self._last
        self._gone_since = None
        self.due_at = 0.0

    def not_there(self, now: float) -> bool:
        """Note that there is no such inbox; return whether there won't be one any more."""
        if self._gone_since is None:
            self._gone_since = now
        self.due_at = now + ASK_AGAIN
        self.gone = now - self._gone_since > GONE_AFTER
        return self.gone
