"""Which rows a block draws. In: the rows of each category, a seed. Out: row numbers. Next: packing, then plan.

The unit is *examples*, drawn before packing. Of every block of D draws, category c gets its largest-remainder share of
n_c ** alpha, where n_c is its number of rows:

    rows of (add, spell, identity)      100   400    900        D = 60
    uniform             alpha 1           4    17     39        60 · n / 1400           = 4.3, 17.1, 38.6
    category_sqrt       alpha 0.5        10    20     30        60 · √n / (10 + 20 + 30)
    category_balanced   alpha 0          20    20     20

Inside a category, rows are dealt like cards: the whole category in a seeded order, then again in another order, and so
on. Block b takes the cards b·q … (b+1)·q - 1 of that endless deal (q is the quota), so no row comes a second time
before every row came once, and a block's draws are found without looking at the blocks before it:

    category of 5 rows, quota 3     | 3 0 4 1 2 | 2 4 1 3 0 | 0 …
                                      block 0   block 1  block 2

The order of a large category is computed where it is needed, never stored: `_shuffled` is a keyed bijection on
0 … n-1, so 10⁹ rows cost what 10⁴ cost.
"""

import math
from collections.abc import Sequence
from fractions import Fraction

import numpy as np
import numpy.typing as npt

from picochat.packs.quotas import largest_remainder

IntArray = npt.NDArray[np.integer]
Words = npt.NDArray[np.uint64]

ALPHAS = {"uniform": 1.0, "category_sqrt": 0.5, "category_balanced": 0.0}

_LARGE = 4096  # rows from which an order is computed by point; a bijection on few points shuffles them poorly
_ROUNDS = 8  # of the bijection; four are the theoretical least, the others are cheap


def shares(counts: IntArray, alpha: float) -> list[Fraction]:
    """Each category's exact share of the draws, n_c ** alpha over their sum; a category without rows gets none."""
    weights = [Fraction(float(count) ** alpha) if count else Fraction(0) for count in counts.tolist()]
    total = sum(weights) or 1
    return [weight / total for weight in weights]


def quotas(counts: IntArray, alpha: float, draws: int, given: Sequence[Fraction] | None = None) -> IntArray:
    """[categories] the examples of each in a block of `draws`, by largest remainder; of equal remainders the category
    that comes first is served first. `given` [categories] are shares in place of those that `alpha` makes of `counts`.
    """
    parts = largest_remainder(draws, dict(enumerate(given or shares(counts, alpha))))
    return np.array(list(parts.values()), dtype=np.int64)


def deal(rows: int, start: int, count: int, key: int) -> IntArray:
    """Cards `start` … `start + count - 1` of the endless deal of a category with `rows` rows."""
    cards = np.arange(start, start + count, dtype=np.uint64)
    if rows >= _LARGE:
        keys = _mix(cards // np.uint64(rows) + _word(key))  # one key a round of the deal
        return _shuffled(cards % np.uint64(rows), rows, keys).astype(np.int64)
    first = start // rows
    rounds = np.arange(first, (start + count - 1) // rows + 1, dtype=np.uint64)
    orders = _order(_mix(rounds + _word(key))[:, None], rows)
    return orders.ravel()[start - first * rows :][:count]


def permutation(size: int, key: int) -> IntArray:
    """A seeded order of 0 … size-1, made whole; the same on every machine and with every version of numpy."""
    return _order(_word(key), size)


def derive_key(seed: int, purpose: str, number: int = 0) -> int:
    """A key for one purpose and one number (of a block, a category), so that no two uses share their randomness."""
    key = _word(seed)
    for part in (*purpose.encode(), 256 + number):
        key = _mix(key + _word(part))
    return int(key[0])


def _order(keys: Words, size: int) -> IntArray:
    """Sort 0 … size-1 by a hash: one order for each row of keys [..., 1]."""
    return np.argsort(_mix(keys ^ _mix(np.arange(size, dtype=np.uint64))), axis=-1, kind="stable")


def _shuffled(points: Words, size: int, keys: Words) -> Words:
    """Where the order of each key puts each point of 0 … size-1: a bijection, computed point by point.

    A Feistel network over pairs (left, right) with left < a, right < b and a·b just above `size`: each round adds a
    hash of one half to the other, modulo a or b, which can be undone and therefore maps no two points to one. What
    falls outside of 0 … size-1 is mapped again until it falls inside (Black & Rogaway 2002, "Ciphers with Arbitrary
    Finite Domains").
    """
    a = math.isqrt(size - 1) + 1
    b = -(-size // a)
    result = _feistel(points, a, b, keys)
    outside = np.flatnonzero(result >= size)
    while len(outside):
        result[outside] = _feistel(result[outside], a, b, keys[outside])
        outside = outside[result[outside] >= size]
    return result


def _feistel(points: Words, a: int, b: int, keys: Words) -> Words:
    left, right = points // np.uint64(b), points % np.uint64(b)
    for number in range(_ROUNDS):
        keys = keys + _STEP
        if number % 2:
            right = (right + _mix(keys ^ _mix(left + _ODD))) % np.uint64(b)
        else:
            left = (left + _mix(keys ^ _mix(right))) % np.uint64(a)
    return left * np.uint64(b) + right


_STEP = np.uint64(0x9E3779B97F4A7C15)  # 2⁶⁴ / golden ratio
_ODD = np.uint64(0xD1B54A32D192ED03)


def _mix(words: Words) -> Words:
    """SplitMix64's finaliser (Steele, Lea & Flood 2014): every bit of the input changes about half of the output's."""
    words = words + _STEP
    words = (words ^ (words >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    words = (words ^ (words >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return words ^ (words >> np.uint64(31))


def _word(value: int) -> Words:
    """One 64-bit word as an array: numpy wraps arrays silently, and warns where scalars overflow."""
    return np.array([value & 0xFFFFFFFFFFFFFFFF], dtype=np.uint64)
