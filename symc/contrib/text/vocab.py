"""Tokens and their numbers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Sequence
from typing import Any

from symc.core.errors import ArgumentError, ConflictError

__all__ = ["Vocabulary"]

UNKNOWN = 0  # the number of all unknown tokens


class Vocabulary:
    """The unknown token, then the reserved ones, then those of a counter: the most frequent first, equals sorted.

    most_freq_count  at most so many of the counter's
    min_freq         those that occur less often are left out
    Raises ConflictError for arguments that contradict each other.
    """

    def __init__(
        self,
        counter: Counter | None = None,
        most_freq_count: int | None = None,
        min_freq: int = 1,
        unknown_token: Hashable = "<unk>",
        reserved_tokens: Sequence[Hashable] | None = None,
    ) -> None:
        if min_freq <= 0:
            raise ConflictError("`min_freq` must be set to a positive value.")
        reserved = list(reserved_tokens or [])
        if unknown_token in reserved:
            raise ConflictError("`reserved_token` cannot contain `unknown_token`.")
        if len(set(reserved)) != len(reserved):
            raise ConflictError("`reserved_tokens` cannot contain duplicate reserved tokens.")
        if counter is not None and not isinstance(counter, Counter):
            raise ConflictError("`counter` must be an instance of collections.Counter.")
        self._unknown_token = unknown_token
        self._reserved_tokens = None if reserved_tokens is None else reserved
        self._idx_to_token: list[Any] = [unknown_token, *reserved]
        found = [(token, n) for token, n in sorted((counter or {}).items()) if token not in self._idx_to_token]
        found.sort(key=lambda item: -item[1])  # stable
        self._idx_to_token += [token for token, n in found[:most_freq_count] if n >= min_freq]
        self._token_to_idx = {token: k for k, token in enumerate(self._idx_to_token)}

    def __len__(self) -> int:
        return len(self._idx_to_token)

    @property
    def token_to_idx(self) -> dict[Any, int]:
        """The number of each token."""
        return self._token_to_idx

    @property
    def idx_to_token(self) -> list[Any]:
        """The tokens in the order of their numbers."""
        return self._idx_to_token

    @property
    def unknown_token(self) -> Hashable:
        """What stands for all tokens that are not there."""
        return self._unknown_token

    @property
    def reserved_tokens(self) -> list[Hashable] | None:
        """Those that are there whatever was counted."""
        return self._reserved_tokens

    def to_indices(self, tokens: Any) -> Any:
        """The number of a token, or the numbers of a list; 0 for unknown ones."""
        if not isinstance(tokens, list):
            return self._token_to_idx.get(tokens, UNKNOWN)
        return [self._token_to_idx.get(token, UNKNOWN) for token in tokens]

    def to_tokens(self, indices: Any) -> Any:
        """The token of a number, or the tokens of a list; raises ArgumentError for a number that no token has."""
        found = []
        for index in indices if isinstance(indices, list) else [indices]:
            if not isinstance(index, int) or not 0 <= index < len(self):
                raise ArgumentError(f"Token index {index} in the provided `indices` is invalid; there are {len(self)}.")
            found.append(self._idx_to_token[index])
        return found if isinstance(indices, list) else found[0]
