"""Words of callers and models, made fit to stand in a line of a terminal."""

import unicodedata

HIDDEN = {"Cf", "Cs"}  # joiners, direction marks, halves of surrogates: they move what follows
WIDENS = "\ufe0f"  # makes some terminals draw the sign before it two cells wide


def plain(text: str) -> str:
    """Return `text` as one line that moves no cursor: words come from callers and models."""
    if text.isascii() and text.isprintable():
        return text
    kept: list[str] = []
    for sign in text:
        category = unicodedata.category(sign)
        if category == "Cc" or category in {"Zl", "Zp"}:
            kept.append(" ")
        elif category not in HIDDEN and sign != WIDENS:
            kept.append(sign)
    return "".join(kept)
