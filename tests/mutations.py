"""Damage for tests/fuzz.py: of any bytes, and of JSON and little-endian numbers with knowledge of their structure."""

from __future__ import annotations

import copy
import json
import random
import struct
from typing import Any

DEEP = 100_000
NUMBERS = (-1, 0, 1, 2, 3, 7, 31, 2**16, 2**31 - 1, 2**31, 2**32, 2**62, 2**63 - 1, -(2**63))
MAGICS = (0x112, 0xF993FAC8, 0xF993FAC9, 0xF993FACA)
TEXTS = (
    "", "x", "null", "BatchNorm", "Convolution", "SliceChannel", "(9999999999,)", "(3, 3)", "[2, 2]", "(-1, 0)", "None",
    "True", "1e400", "nan", "2147483648", "99999999999999999999999", "(" * 1000, "\u0000", "\ud800", "é" * 50,
)  # fmt: skip
VALUES: tuple[Any, ...] = (
    None, True, False, -1, 0, 1, 2, 10**6, 2**31, 2**63, 10**30, 10**4299, 1.5, 1e308, float("nan"), float("inf"),
    [], {}, [[]], [[0, 0]], [[0, 0, 0]] * 5, [[99, 0]], [[0, 99]], [[2**40, 0]], {"": ""}, {"num_hidden": "3"}, *TEXTS,
)  # fmt: skip


def mutate(data: bytes, rng: random.Random) -> bytes:
    """One random damage: truncation, flipped bits, overwritten, inserted, removed or repeated bytes."""
    kind = rng.randrange(6)
    at = rng.randrange(len(data))
    length = min(rng.choice((1, 2, 4, 8, 64)), len(data) - at)
    if kind == 0:
        return data[:at]
    if kind == 1:
        flipped = bytearray(data)
        for _ in range(rng.randrange(1, 8)):
            flipped[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
        return bytes(flipped)
    if kind == 2:
        return data[:at] + rng.randbytes(length) + data[at + length :]
    if kind == 3:
        return data[:at] + rng.choice((rng.randbytes(length), b"\xff" * length, b"[" * length)) + data[at:]
    if kind == 4:
        return data[:at] + data[at + length :]
    return data[:at] + data[at : at + length] * rng.randrange(2, 50) + data[at + length :]


def mutate_numbers(data: bytes, rng: random.Random) -> bytes:
    """A few little-endian numbers, at places where numbers stand, replaced by extreme ones or by each other."""
    changed = bytearray(data)
    for _ in range(rng.randrange(1, 4)):
        size, letter = rng.choice(((4, "<i"), (8, "<q"), (4, "<I")))
        at = rng.randrange(max(1, len(data) // 4)) * 4
        if rng.random() < 0.2:
            other = rng.randrange(max(1, len(data) // 4)) * 4
            changed[at : at + size] = data[other : other + size]
            continue
        number = rng.choice(MAGICS if letter == "<I" else NUMBERS)
        low, high = (0, 2**32 - 1) if letter == "<I" else (-(2 ** (8 * size - 1)), 2 ** (8 * size - 1) - 1)
        changed[at : at + size] = struct.pack(letter, min(max(number, low), high))
    return bytes(changed)


def mutate_json(data: bytes, rng: random.Random) -> bytes:
    """Some values of a JSON text replaced, moved, removed or repeated; or its text made hard to read."""
    content = json.loads(data)
    for _ in range(rng.choice((1, 1, 1, 2, 5))):
        places = list(_places(content))
        container, key = rng.choice(places)
        kind = rng.randrange(6)
        if kind <= 2:
            container[key] = copy.deepcopy(rng.choice(VALUES))
        elif kind == 3:
            other, where = rng.choice(places)
            container[key] = copy.deepcopy(other[where])
        elif kind == 4:
            del container[key]
        elif isinstance(container, list):
            container[key:key] = [copy.deepcopy(container[key]) for _ in range(rng.choice((1, 3, 100)))]
        else:
            container[rng.choice(TEXTS)] = copy.deepcopy(container[key])
        if not isinstance(content, (dict, list)) or not content:
            break
    return _awkward(json.dumps(content).encode("ascii"), rng)


def _awkward(text: bytes, rng: random.Random) -> bytes:
    """Sometimes: brackets without end, keys twice, bytes that are no UTF-8, a byte order mark, another encoding."""
    kind = rng.randrange(24)
    at = rng.randrange(len(text) + 1)
    if kind == 0:
        bracket = rng.choice((b"[", b'{"a":', b'[{"":'))
        return text[:at] + bracket * DEEP + (text[at:] if rng.random() < 0.5 else b"")
    if kind == 1:
        return b"[" * DEEP + b"]" * DEEP
    if kind == 2:
        keys = (b'"nodes": []', b'"heads": [[0, 0]]', b'"arg_nodes": 7', b'"attrs": {"mxnet_version": ["int", 800]}')
        return text[:1] + (rng.choice(keys) + b", ") * rng.choice((1, 1000)) + text[1:]
    if kind == 3:
        return text[:at] + rng.choice((b"\xff", b"\xc3", b"\xed\xa0\x80", b"\x00")) + text[at:]
    if kind == 4:
        return rng.choice((b"\xef\xbb\xbf" + text, text.decode().encode("utf-16"), text.decode().encode("utf-32")))
    if kind == 5:
        return text[:at] + b"9" * rng.choice((20, 5000, 100_000)) + text[at:]
    return text


def _places(value: Any) -> Any:
    """(container, key) of everything inside a decoded JSON value."""
    stack = [value]
    while stack:
        container = stack.pop()
        for key in container if isinstance(container, dict) else range(len(container)):
            yield container, key
            if isinstance(container[key], (dict, list)):
                stack.append(container[key])
