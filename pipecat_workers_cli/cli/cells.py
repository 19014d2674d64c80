"""Lines of a screen: texts cut to a width in terminal cells, and what prints them."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from rich.cells import cell_len, chop_cells, set_cell_size
from rich.console import Console, ConsoleOptions
from rich.segment import Segment

from pipecat_workers_cli.cli.plain_text import plain

Span = tuple[str, str]
"""A text and its Rich style; the style may be empty."""

Line = tuple[Span, ...]

HEIGHTS = "▁▂▃▄▅▆▇█"
"""The signs of a line of figures, from the lowest to the highest."""

IN_ASCII = str.maketrans(
    {"●": "*", "→": ">", "·": "-", "…": "~", "✓": "+", "✗": "x", "▸": ">", "›": ">", "°": " "}
    | dict(zip(HEIGHTS, "_.-:=+*#", strict=True))
)


def fit(text: str, width: int, *, right: bool = False) -> str:
    """Return `text` in exactly `width` cells: cut with `…`, or filled up with spaces."""
    if width <= 0:
        return ""
    text = plain(text[: 4 * width + 4])
    size = cell_len(text)
    if size > width:
        return set_cell_size(text, width - 1) + "…"
    fill = " " * (width - size)
    return fill + text if right else text + fill


def sparkline(values: Sequence[float]) -> str:
    """Draw figures as a line of as many signs, the highest at the top and the lowest at the foot.

    Figures that are all alike are drawn half high.
    """
    low, high = min(values, default=0.0), max(values, default=0.0)
    if low == high:
        return HEIGHTS[len(HEIGHTS) // 2] * len(values)
    top = len(HEIGHTS) - 1
    return "".join(HEIGHTS[round((value - low) / (high - low) * top)] for value in values)


def wrap(text: str, width: int, most: int) -> list[str]:
    """Break `text` at spaces into at most `most` lines of at most `width` cells."""
    words = plain(text[: 4 * width * most]).split()
    lines: list[str] = []
    while words and len(lines) < most:
        line = words.pop(0)
        size = cell_len(line)
        while words and (longer := size + 1 + cell_len(words[0])) <= width:
            line, size = f"{line} {words.pop(0)}", longer
        lines.append(line)
    if words:
        lines[-1] = f"{lines[-1]} {' '.join(words)}"
    return [fit(line, width).rstrip() for line in lines] or [""]


def chop(text: str, width: int) -> list[str]:
    """Break `text` wherever a line of `width` cells is full: for what is copied, or indented."""
    return chop_cells(plain(text), max(1, width))


def fit_line(spans: Sequence[Span], width: int) -> Line:
    """Cut spans off at `width` cells, or fill them up to it."""
    line: list[Span] = []
    for text, style in spans:
        shown = plain(text)
        size = cell_len(shown)
        if size > width:
            line.append((fit(shown, width), style))
            width = 0
            break
        line.append((shown, style))
        width -= size
    if width:
        line.append((" " * width, ""))
    return tuple(line)


@dataclass(frozen=True, slots=True)
class Sheet:
    """Lines ready to be printed; each is as wide as it was fitted to, and none wraps."""

    lines: tuple[Line, ...]

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[Segment]:
        """Print the lines; signs that the terminal can't show become similar ones."""
        for number, line in enumerate(self.lines):
            if number:
                yield Segment.line()
            for text, style in line:
                shown = in_ascii(text) if options.ascii_only else text
                yield Segment(shown, console.get_style(style) if style else None)


def in_ascii(text: str) -> str:
    """Put similar signs, or question marks, where a terminal without Unicode has none."""
    return text.translate(IN_ASCII).encode("ascii", "replace").decode()
