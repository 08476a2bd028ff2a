"""Whole numbers from shares, even spreading, and the one hash that decides who is held out."""

import hashlib
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from picochat.packs.quotas import largest_remainder, split_hash, split_of, spread_evenly


@given(
    st.integers(0, 10_000),
    st.dictionaries(st.text("abcdef", min_size=1, max_size=2), st.integers(1, 99), min_size=1),
)
def test_largest_remainder_gives_every_part_its_share_to_within_one(total: int, weights: dict[str, int]) -> None:
    parts = largest_remainder(total, weights)
    assert sum(parts.values()) == total
    for name, weight in weights.items():
        assert abs(parts[name] - total * weight / sum(weights.values())) < 1


def test_shares_are_read_as_decimals_and_ties_go_to_the_first() -> None:
    assert largest_remainder(480, {"skills": 0.72, "anchor": 0.28}) == {"skills": 346, "anchor": 134}
    assert largest_remainder(5, {"a": 0.1, "b": 0.1}) == {"a": 3, "b": 2}
    assert largest_remainder(10, {"a": 0.1, "b": 0.2, "c": 0.7}) == {"a": 1, "b": 2, "c": 7}  # 0.1 + 0.2 != 0.3
    assert largest_remainder(3, {"a": Fraction(1, 3), "b": Fraction(2, 3)}) == {"a": 1, "b": 2}


@pytest.mark.parametrize(
    ("count", "start", "expected"), [(3, 0, "ace"), (3, 5, "fac"), (7, 0, "abcdefg"), (9, 0, "abcdefg"), (0, 0, "")]
)
def test_items_are_spread_evenly(count: int, start: int, expected: str) -> None:
    assert "".join(spread_evenly("abcdefg", count, start)) == expected


@given(st.text(), st.floats(0, 1))
def test_what_is_held_out_at_one_share_is_held_out_at_every_larger_one(key: str, share: float) -> None:
    assert (split_of(key, 0), split_of(key, 1)) == ("train", "eval")
    if split_of(key, share) == "eval":
        assert split_of(key, min(1, share + 0.1)) == "eval"


def test_a_tenth_held_out_is_about_a_tenth_and_never_changes() -> None:
    held = [number for number in range(2_000) if split_of(f"document {number}", 0.1) == "eval"]
    assert 160 <= len(held) <= 240
    assert split_hash("document 0") == int(hashlib.sha256(b"document 0").hexdigest()[:8], 16)
    assert [split_of(key) for key in ("add:15+27", "sub:52-17", "mul:2x7", "word:sheep")] == [
        *("train", "train", "eval", "train"),
    ]
