"""Numbers as people say them: a speech recogniser writes "30" or "thirty" as it pleases."""

from contextlib import suppress

_UNITS = (
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen "
    "fifteen sixteen seventeen eighteen nineteen"
)
_TENS = "twenty thirty forty fifty sixty seventy eighty ninety"
UNITS = {word: value for value, word in enumerate(_UNITS.split())}
TENS = {word: 10 * value for value, word in enumerate(_TENS.split(), start=2)}
SCALES = {"hundred": 100, "thousand": 1_000}

_WORD = rf"(?:{'|'.join((*UNITS, *TENS, *SCALES))})\b"
_WORDS = rf"(?:an?\s+(?=hundred|thousand))?{_WORD}(?:(?:-|\s+(?:and\s+)?){_WORD})*"

NUMBER = (
    rf"(?:(?:\b(?:minus|negative)\s+|(?<!\w)-)?"  # A-1042 is no negative
    rf"(?:\d+(?:\.\d+)?|\b{_WORDS}(?:\s+point(?:\s+{_WORD})+)?))"
)
"""An expression for a number in digits or in words, without a group of its own."""


def parse_number(text: str) -> float:
    """Read a number in digits or in English words, such as `minus twenty-two point five`.

    Raises:
        ValueError: It is none.
    """
    with suppress(ValueError):
        return float(text)
    words = text.lower().replace("-", " - ").split()
    sign = -1.0 if words and words[0] in ("minus", "negative", "-") else 1.0
    words = [word for word in (words[1:] if sign < 0 else words) if word != "-"]
    if len(words) == 1 and words[0] not in UNITS | TENS | SCALES:
        return sign * float(words[0])
    place = words.index("point") if "point" in words else len(words)
    decimals = "".join(_digit(word) for word in words[place + 1 :])
    return sign * float(f"{_whole(words[:place])}.{decimals or 0}")


def _whole(words: list[str]) -> int:
    if not words:
        raise ValueError("no number")
    total = part = 0
    room = 1_000  # what is still to come is less
    for word in words:
        if word == "thousand":
            total, part, room = max(1, part) * 1_000, 0, 1_000
        elif word == "hundred":
            part, room = max(1, part) * 100, 100
        elif word not in ("and", "a", "an"):
            value = UNITS[word] if word in UNITS else TENS.get(word, room)
            if value >= room:
                raise ValueError("no number")
            part, room = part + value, 10 if word in TENS else 1
    return total + part


def _digit(word: str) -> str:
    if word.isdecimal():
        return word
    digit = UNITS.get(word, 10)
    if digit > 9:
        raise ValueError("no digit")
    return str(digit)
