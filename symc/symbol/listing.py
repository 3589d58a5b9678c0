"""The order in which MXNet lists attributes: that of a C++ `unordered_map<string, string>` (GNU libstdc++).

Scripts print attribute dictionaries and compare them with printed ones; hence the same order.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import lru_cache

from .node import HIDDEN_KEYS

_MASK = (1 << 64) - 1
_MUL = (0xC6A4A793 << 32) + 0x5BD1E995
_BUCKETS = (11, 23, 47, 97, 199, 409)  # as libstdc++ of GCC 4 grows; larger maps keep their order


def listed_attrs(attrs: Mapping[str, str]) -> dict[str, str]:
    """Attributes as `list_attr` shows them: `__lr_mult__` appears as `lr_mult` too."""
    shown = {}
    for key in map_order(attrs):
        shown[key] = attrs[key]
        bare = key[2:-2]
        if bare in HIDDEN_KEYS and key == f"__{bare}__":
            shown[bare] = attrs[key]
    return shown


def map_order(keys: Iterable[str]) -> list[str]:
    """Keys in the order an unordered_map iterates after inserting them one by one.

    The map is one linked list cut into buckets: a key goes to the head of its bucket, a new bucket to the head of the
    list.
    """
    keys = list(keys)
    if len(keys) > _BUCKETS[-1]:
        return keys
    order: list[str] = []
    n_buckets = 1
    for key in keys:
        if len(order) + 1 > n_buckets:
            n_buckets = next(b for b in _BUCKETS if b > n_buckets)
            rehashed: list[str] = []
            for old in order:
                _insert(rehashed, old, n_buckets)
            order = rehashed
        _insert(order, key, n_buckets)
    return order


def _insert(order: list[str], key: str, n_buckets: int) -> None:
    bucket = _hash(key) % n_buckets
    for i, other in enumerate(order):
        if _hash(other) % n_buckets == bucket:
            order.insert(i, key)
            return
    order.insert(0, key)


@lru_cache(maxsize=1024)
def _hash(key: str) -> int:
    """std::hash<std::string>: 64-bit murmur with libstdc++'s seed."""
    data = key.encode()
    value = 0xC70F6907 ^ (len(data) * _MUL & _MASK)
    aligned = len(data) & ~7
    for i in range(0, aligned, 8):
        word = int.from_bytes(data[i : i + 8], "little") * _MUL & _MASK
        value = (value ^ ((word ^ word >> 47) * _MUL & _MASK)) * _MUL & _MASK
    if len(data) & 7:
        value = (value ^ int.from_bytes(data[aligned:], "little")) * _MUL & _MASK
    value = (value ^ value >> 47) * _MUL & _MASK
    return value ^ value >> 47
