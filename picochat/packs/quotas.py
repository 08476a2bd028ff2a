"""Whole numbers from shares, and who is held out. In: totals, weights, keys. Out: counts, sides. Next: whoever splits.

largest_remainder(480, {"skills": 0.72, "anchor": 0.28})     {"skills": 346, "anchor": 134}
spread_evenly("abcdefg", 3)                                  ["a", "c", "e"]
split_of("add:15+27")                                        "train", in every pack and with every seed
"""

import hashlib
from collections.abc import Mapping, Sequence
from fractions import Fraction
from typing import Literal, TypeVar

K = TypeVar("K")
T = TypeVar("T")
Side = Literal["train", "eval"]

EVAL_SHARE = 0.2
"""The share of all keys that task packs hold out."""


def exact(share: float | Fraction) -> Fraction:
    """0.72 as 72/100: sums of shares and quotas must not depend on binary rounding."""
    return share if isinstance(share, Fraction) else Fraction(str(share))


def largest_remainder(total: int, weights: Mapping[K, float | Fraction]) -> dict[K, int]:
    """Split ``total`` by weight: whole parts first, then one more by largest remainder (of equals, to the first)."""
    whole = sum(map(exact, weights.values()))
    quotas = {name: total * exact(weight) / whole for name, weight in weights.items()}
    parts = {name: int(quota) for name, quota in quotas.items()}
    by_remainder = sorted(quotas, key=lambda name: parts[name] - quotas[name])  # a stable sort
    for name in by_remainder[: total - sum(parts.values())]:
        parts[name] += 1
    return parts


def spread_evenly(items: Sequence[T], count: int, start: int = 0) -> list[T]:
    """At most ``count`` of the items, as far from each other as can be, from ``start`` on and around the end."""
    count = min(count, len(items))
    return [items[(start + place * len(items) // count) % len(items)] for place in range(count)]


def split_hash(key: str, purpose: str = "") -> int:
    """The first 32 bits of the sha256 of "purpose/key"; splits inside one another need different purposes."""
    return int.from_bytes(hashlib.sha256((f"{purpose}/{key}" if purpose else key).encode()).digest()[:4], "big")


def split_of(key: str, share: float = EVAL_SHARE, purpose: str = "") -> Side:
    """The side that a key belongs to, permanently: "eval" where its hash, read as a fraction, is below ``share``."""
    return "eval" if split_hash(key, purpose) / 2**32 < share else "train"
