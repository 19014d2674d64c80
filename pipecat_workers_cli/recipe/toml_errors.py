"""What `tomllib` refuses, said with its line and its mend."""

import re

_AT = re.compile(r" \(at (?:line (\d+), column (\d+)|end of document)\)$")
_KEY = re.compile(r"""(?<![\w-])([A-Za-z0-9_-]++)[ \t]*+=[ \t]*+["'\[{]""")

# The beginning of tomllib's message, and what to do. Its wording changes little; what
# isn't found here keeps its line and its message.
_MENDS = (
    (
        "Unescaped '\\'",
        r"a backslash in double quotes begins an escape; use single quotes: match = '\d+'",
    ),
    ("Cannot overwrite", "this key is there already: keep one of the two"),
    ("Cannot declare ('workers',)", "double its brackets: [[workers]] begins each of them"),
    ("Cannot declare", "this table is there already: keep one of the two"),
    ("Cannot mutate", "this key is there already: keep one of the two"),
    ("Duplicate inline", "this key is there already: keep one of the two"),
    ("Unterminated string", "close the quotes"),
    ("Illegal character '\\n'", 'close the quotes; a text of several lines stands in """'),
    ("Expected \"'", "close the quotes"),
    ("Unclosed array", "put a comma between two entries and a ] at the end"),
    ("Unclosed inline", "an inline table { … } stands on one line; give a longer one a [header]"),
    ("Invalid value", "put a text in quotes; true and false are written small"),
    (
        "Invalid initial character",
        "write KEY = VALUE, one a line; an inline table { … } stands on one line",
    ),
    ("Expected '='", "write KEY = VALUE, one a line"),
    ("Invalid statement", "write KEY = VALUE, one a line"),
    ("Expected newline", "write KEY = VALUE, one a line, with its text in quotes"),
)


def explain_toml(error: ValueError, text: str) -> tuple[int | None, str, str, str]:
    """Return the line, the key if it can be told, what is wrong, and its mend.

    Args:
        error: What `tomllib.loads` raised for `text`.
        text: The whole text.
    """
    message = str(error)
    found = _AT.search(message)
    if found is None:
        return None, "", "not TOML: a number of thousands of digits", "write a shorter one"
    reason = message[: found.start()]
    line = int(found[1]) if found[1] else _last_line(reason, text)
    key = _last_key(text.split("\n")[line - 1], found[2])
    mends = (mend for begin, mend in _MENDS if reason.startswith(begin))
    mend = next(mends, "compare it with pmw recipe show handoff")
    if key:
        mend = mend.replace("match =", f"{key} =")
    return line, key, f"not TOML: {reason}", mend


def _last_line(reason: str, text: str) -> int:
    """Return the line to look at when `tomllib` only noticed at the end of the text."""
    end = len(text.rstrip())
    if reason.startswith(("Unterminated", "Expected \"'")):
        # A text that is never closed swallows the rest: it began at the last quotes.
        quotes = max(text.rfind('"""'), text.rfind("'''"))
        end = quotes if quotes >= 0 else end
    return text.count("\n", 0, end) + 1


def _last_key(line: str, column: str | None) -> str:
    """Return the key whose value holds the column: the last one before it."""
    keys = _KEY.findall(line[: int(column)] if column else line)
    return keys[-1] if keys else ""
