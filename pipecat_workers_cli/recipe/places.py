"""On which line of a TOML text each key and each element of a list stands.

`tomllib` keeps no lines. This walk over the tokens of a text that `tomllib` has accepted
does, in one pass, and down to a key of an inline table or one rule of a list, where the
shortest prefix that parses would only name the list's last line.
"""

import re
import tomllib
from collections.abc import Iterator
from typing import NamedTuple

from pipecat_workers_cli.recipe.findings import Place

MAX_KEY_PARTS = 8  # recipes need four; tomllib's time is squared: 40 minutes for a key of 1 MB

# Possessive, so that a text of 1 MB is read in one go whatever it holds.
_TOKEN = re.compile(
    r'''
      (?P<text> """(?>[^"\\]++|\\.|"{1,2}(?!"))*+"{3,5}
              | \'\'\'(?>[^']++|'{1,2}(?!'))*+'{3,5}
              | "(?>[^"\\\n]++|\\.)*+"
              | '[^'\n]*+' )
    | (?P<skip> [ \t\r]++ | \#[^\n]*+ )
    | (?P<line> \n++ )
    | (?P<bare> [^\s\[\]{}=,."'\#]++ )
    | (?P<mark> . )
    ''',
    re.VERBOSE | re.DOTALL,
)
_PART_AND_DOT = r"""(?:(?<![\w-])[\w-]++|"[^"\n]*+"|'[^'\n]*+')[ \t]*+\.[ \t]*+"""
_MANY_PARTS = re.compile(f"(?:{_PART_AND_DOT}){{{MAX_KEY_PARTS}}}")


class _Token(NamedTuple):
    kind: str
    text: str
    line: int


_END = _Token("end", "", 0)


def _tokens(text: str) -> Iterator[_Token]:
    line = 1
    for match in _TOKEN.finditer(text):
        kind = match.lastgroup or "mark"
        if kind != "skip":
            yield _Token(kind, match[0], line)
        if kind in {"line", "text"}:
            line += match[0].count("\n")


def find_long_key(text: str) -> int | None:
    """Return the line of a key with more than `MAX_KEY_PARTS` parts, if there is one.

    The text need not be TOML; to be asked before `tomllib` is.
    """
    if not _MANY_PARTS.search(text):
        return None
    dots, expected = 0, False
    for token in _tokens(text):
        if token.kind in {"bare", "text"}:
            dots, expected = (dots, False) if expected else (0, False)
        elif token.text == ".":
            dots, expected = dots + 1, True
            if dots >= MAX_KEY_PARTS:
                return token.line
        else:
            dots, expected = 0, False
    return None


def find_lines(text: str) -> dict[Place, int]:
    """Return the line, from 1, on which every key and every element of a list begins.

    Args:
        text: What `tomllib` accepts; anything else gives lines that mean nothing.
    """
    return _Walk(text).lines


class _Walk:
    """One pass over a text. Each method begins at the token it is named for."""

    def __init__(self, text: str) -> None:
        self.lines: dict[Place, int] = {(): 1}
        self._tables: dict[Place, int] = {}  # how many [[…]] there are so far
        self._tokens = _tokens(text)
        self._token = next(self._tokens, _END)
        table: Place = ()
        while self._token is not _END:
            if self._token.kind == "line":
                self._step()
            elif self._token.text == "[":
                table = self._header()
            else:
                self._pair(table)

    def _step(self) -> _Token:
        token, self._token = self._token, next(self._tokens, _END)
        return token

    def _key(self) -> tuple[list[str], int]:
        line = self._token.line
        parts = [_unquote(self._step())]
        while self._token.text == ".":
            self._step()
            parts.append(_unquote(self._step()))
        return parts, line

    def _header(self) -> Place:
        self._step()
        many = self._token.text == "["
        if many:
            self._step()
        parts, line = self._key()
        for _ in range(2 if many else 1):
            self._step()
        place: Place = ()
        for part in parts[:-1]:
            place = self._latest(self._note((*place, part), line))
        place = self._note((*place, parts[-1]), line)
        if many:
            self._tables[place] = self._tables.get(place, 0) + 1
        return self._note(self._latest(place), line)

    def _latest(self, place: Place) -> Place:
        return (*place, self._tables[place] - 1) if place in self._tables else place

    def _note(self, place: Place, line: int) -> Place:
        self.lines.setdefault(place, line)
        return place

    def _pair(self, table: Place) -> None:
        parts, line = self._key()
        place = table
        for part in parts:
            place = self._note((*place, part), line)
        self._step()  # the equals sign
        self._value(place)

    def _value(self, place: Place) -> None:
        if self._token.text == "[":
            self._list(place)
        elif self._token.text == "{":
            self._inline_table(place)
        else:  # a date and time is two bare words, a number may hold a dot
            self._step()
            while self._token.kind in {"bare", "text"} or self._token.text == ".":
                self._step()

    def _list(self, place: Place) -> None:
        self._step()
        index = 0
        while self._token.text != "]" and self._token is not _END:
            if self._token.kind == "line" or self._token.text == ",":
                self._step()
                continue
            self._value(self._note((*place, index), self._token.line))
            index += 1
        self._step()

    def _inline_table(self, place: Place) -> None:
        self._step()
        while self._token.text != "}" and self._token is not _END:
            if self._token.kind == "line" or self._token.text == ",":
                self._step()
            else:
                self._pair(place)
        self._step()


def _unquote(token: _Token) -> str:
    return tomllib.loads(f"key = {token.text}")["key"] if token.kind == "text" else token.text
