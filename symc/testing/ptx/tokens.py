"""PTX text as a stream of tokens that know their line."""

from __future__ import annotations

import re
import struct
from typing import NamedTuple

from .faults import PtxError

_TOKEN = re.compile(
    r"""
    (?P<skip> [ \t\r]+ | //[^\n]* | /\*.*?\*/ )
  | (?P<line> \n )
  | (?P<text> "[^"]*" )
  | (?P<number> 0[fF][0-9A-Fa-f]{8}\b | 0[dD][0-9A-Fa-f]{16}\b | 0[xX][0-9A-Fa-f]+U?
              | \d+\.\d*(?:[eE][+-]?\d+)? | \d+U? )
  | (?P<word> [.%$A-Za-z_](?:[\w.$%]|::)* )
  | (?P<mark> [{}()\[\],;:+\-!|<>=@*] )
    """,
    re.VERBOSE | re.DOTALL,
)
# Directives that end with their line, and say nothing about what a program does.
_NOTES = (".loc", ".file", ".version", ".address_size")


class Token(NamedTuple):
    """A word, number, string or mark."""

    text: str
    kind: str
    line: int


class Tokens:
    """A position in a token list."""

    def __init__(self, text: str) -> None:
        self._all = _tokens(text)
        self._next = 0
        self._lines = text.splitlines()

    @property
    def peek(self) -> str:
        """The next token's text; empty at the end."""
        return self._all[self._next].text if self._next < len(self._all) else ""

    @property
    def line(self) -> int:
        """The line of the next token."""
        return self._all[min(self._next, len(self._all) - 1)].line

    def ahead(self, n: int) -> str:
        """The text of the token n places after the next."""
        return self._all[self._next + n].text if self._next + n < len(self._all) else ""

    def take(self) -> Token:
        """The next token."""
        if self._next == len(self._all):
            raise PtxError("the PTX text ends in the middle of a statement: is it whole?")
        token = self._all[self._next]
        self._next += 1
        return token

    def takes(self, text: str) -> bool:
        """Takes the next token if it is this one."""
        if self.peek != text:
            return False
        self._next += 1
        return True

    def expect(self, text: str) -> None:
        """Takes the next token, which has to be this one."""
        if not self.takes(text):
            raise self.error(f"expected {text!r}")

    def error(self, what: str) -> PtxError:
        """What to raise about the next token."""
        line = self.line
        return PtxError(f"PTX line {line}: {what} before {self.peek!r} in `{self._lines[line - 1].strip()}`")

    def integer(self) -> int:
        """Takes an integer."""
        sign = -1 if self.takes("-") else 1
        value = number(self.take().text)
        if isinstance(value, float):
            raise self.error("expected an integer")
        return sign * value

    def skip_braces(self) -> None:
        """Takes `{ ... }`."""
        depth = 0
        while True:
            text = self.take().text
            depth += (text == "{") - (text == "}")
            if depth == 0:
                return


def number(text: str) -> int | float:
    """The value of a number token."""
    head = text[:2].lower()
    if head == "0f":
        return float(struct.unpack(">f", bytes.fromhex(text[2:]))[0])
    if head == "0d":
        return float(struct.unpack(">d", bytes.fromhex(text[2:]))[0])
    if "." in text:
        return float(text)
    digits = text.rstrip("U")
    return int(digits, 16 if head == "0x" else 8 if len(digits) > 1 and digits[0] == "0" else 10)


def _tokens(text: str) -> list[Token]:
    found: list[Token] = []
    line, at, skipped = 1, 0, None
    while at < len(text):
        m = _TOKEN.match(text, at)
        if m is None:
            raise PtxError(f"PTX line {line}: cannot read {text[at : at + 20]!r}")
        at = m.end()
        if m["line"] is None and m["skip"] is None and m[0] in _NOTES:
            skipped = line
        if m["skip"] is None and m["line"] is None and skipped != line:
            found.append(Token(m[0], str(m.lastgroup), line))
        line += m[0].count("\n")
    return found
