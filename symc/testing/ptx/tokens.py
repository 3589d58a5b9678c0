"""PTX text as a stream of tokens that know their line."""

from __future__ import annotations

import re
import struct
from bisect import bisect_right

from .faults import PtxError

_TOKEN = re.compile(
    r"""
    (?: [ \t\r\n]+ | //[^\n]* | /\*.*?\*/ )*
    (?: (?P<word> [.%$A-Za-z_](?:[\w.$%]|::)* )
      | (?P<mark> [{}()\[\],;:+\-!|<>=@*] )
      | (?P<number> 0[fF][0-9A-Fa-f]{8}\b | 0[dD][0-9A-Fa-f]{16}\b | 0[xX][0-9A-Fa-f]+U?
                  | \d+\.\d*(?:[eE][+-]?\d+)? | \d+U? )
      | (?P<text> "[^"]*" )
      | (?P<end> \Z ) )
    """,
    re.VERBOSE | re.DOTALL,
)
# Directives that end with their line, and say nothing about what a program does.
_NOTES = frozenset({".loc", ".file", ".version", ".address_size"})


class Tokens:
    """A position in a token list: `texts` and `kinds` ("word", "number", "text", "mark") of each, `at` the next one."""

    def __init__(self, source: str) -> None:
        self.source = source
        self.texts: list[str] = []
        self.kinds: list[str] = []
        self._places: list[int] = []
        self._lines = [0, *(m.end() for m in re.finditer("\n", source))]
        self.at = 0
        self._read()

    def _read(self) -> None:
        source, texts, kinds, places = self.source, self.texts, self.kinds, self._places
        match, place = _TOKEN.match, 0
        while True:
            m = match(source, place)
            if m is None:
                rest = source[place:].lstrip()
                raise PtxError(f"PTX line {self._line(len(source) - len(rest))}: cannot read {rest[:20]!r}")
            kind = str(m.lastgroup)
            if kind == "end":
                return
            text, place = m[kind], m.end()
            if text in _NOTES:
                place = source.find("\n", place)
                place = len(source) if place < 0 else place
                continue
            texts.append(text)
            kinds.append(kind)
            places.append(m.start(kind))

    def _line(self, place: int) -> int:
        return bisect_right(self._lines, place)

    @property
    def peek(self) -> str:
        """The next token's text; empty at the end."""
        return self.texts[self.at] if self.at < len(self.texts) else ""

    @property
    def line(self) -> int:
        """The line of the next token."""
        return self._line(self._places[min(self.at, len(self.texts) - 1)])

    def between(self, start: int, end: int) -> str:
        """The source from one token to before another."""
        return " ".join(self.source[self._places[start] : self._places[end]].split())

    def take(self) -> str:
        """The next token's text."""
        if self.at == len(self.texts):
            raise PtxError("the PTX text ends in the middle of a statement: is it whole?")
        self.at += 1
        return self.texts[self.at - 1]

    def takes(self, text: str) -> bool:
        """Takes the next token if it is this one."""
        if self.peek != text:
            return False
        self.at += 1
        return True

    def expect(self, text: str) -> None:
        """Takes the next token, which has to be this one."""
        if not self.takes(text):
            raise self.error(f"expected {text!r}")

    def error(self, what: str) -> PtxError:
        """What to raise about the next token."""
        line = self.line
        shown = self.source.splitlines()[line - 1].strip() if self.source else ""
        return PtxError(f"PTX line {line}: {what} before {self.peek!r} in `{shown}`")

    def integer(self) -> int:
        """Takes an integer."""
        sign = -1 if self.takes("-") else 1
        value = number(self.take())
        if isinstance(value, float):
            raise self.error("expected an integer")
        return sign * value

    def until(self, mark: str) -> tuple[int, int]:
        """Takes all up to a mark and the mark itself: where the first was, and the mark."""
        start = self.at
        try:
            end = self.texts.index(mark, start)
        except ValueError:
            raise self.error(f"there is no {mark!r}") from None
        self.at = end + 1
        return start, end

    def skip_braces(self) -> None:
        """Takes `{ ... }`."""
        depth = 0
        while True:
            text = self.take()
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
    try:
        return int(digits, 16 if head == "0x" else 8 if len(digits) > 1 and digits[0] == "0" else 10)
    except ValueError:
        raise PtxError(f"{text!r} is no number of PTX") from None
