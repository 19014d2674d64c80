"""How much may cross between two processes at once, and what is said of more."""

MESSAGE_BYTES = 4_194_304  # one message: a conversation with a few photographs in it
AUDIO_BYTES = 2_097_152  # one audio frame; Piper gives a sentence in one: 47 s at 22 kHz
METADATA_BYTES = 4_096  # a frame's metadata; notes of a few words
PARCEL_BYTES = 8_388_608  # what is sent to one process at once
PARCEL_LETTERS = 4_096  # in one parcel; a hundred calls say less in 100 ms
DEPTH = 32  # lists and objects inside each other; a tool's parameters have six
VALUES = 200_000  # in one conversation, payload or answer; 400 messages have some 4,000
CONTAINERS = 65_536  # lists and objects among them; an empty one takes 72 bytes of memory
NAME = 256  # characters of a worker's name or a bridge's
CALL = 64  # characters of a call's id
WORKERS = 1_000  # that one registry lists
FUNCTION_CALLS = 256  # that an LLM makes at once
METRICS = 256  # figures in one frame


class Refused(Exception):
    """A message that may not cross, or is none of ours: nothing of it was taken."""

    def __init__(self, why: str) -> None:
        """Keep the reason.

        Args:
            why: A few words; never a value out of the message, but for the names of types.
        """
        super().__init__(why)
        self.why = why
