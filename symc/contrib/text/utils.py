"""Counts tokens."""

from __future__ import annotations

import re
from collections import Counter

__all__ = ["count_tokens_from_str"]


def count_tokens_from_str(
    source_str: str,
    token_delim: str = " ",
    seq_delim: str = "\n",
    to_lower: bool = False,
    counter_to_update: Counter | None = None,
) -> Counter:
    """How often each token stands in a text, added to a counter where one is given.

    Delimiters of tokens and of sequences are regular expressions.
    """
    tokens = (t for t in re.split(f"{token_delim}|{seq_delim}", source_str) if t)
    counter = Counter() if counter_to_update is None else counter_to_update
    counter.update(t.lower() if to_lower else t for t in tokens)
    return counter
