"""A live figure on the bus, for whoever looks on: the table draws it as a line."""

from dataclasses import dataclass

from pipecat.bus import BusDataMessage


@dataclass(kw_only=True)
class BusReadingMessage(BusDataMessage):
    """What a worker measured last. Any worker may send one, a second apart or more.

    Attributes:
        reading: What it is a figure of, such as `temperature`.
        value: The figure.
        unit: As it is written after the figure, such as `°C`; empty for none.
    """

    reading: str
    value: float
    unit: str = ""
