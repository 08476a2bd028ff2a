"""Sampling: exact quotas in every block, no row twice before every row once."""

import itertools
from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from picochat.datamodules.sampling import ALPHAS, deal, derive_key, permutation, quotas, shares


@pytest.mark.parametrize(
    ("sampling", "expected"),
    [
        ("uniform", [4, 17, 39]),  # 60 · n / 1400 = 4.29, 17.14, 38.57: one left over, for the .57
        ("category_sqrt", [10, 20, 30]),  # roots 10 : 20 : 30
        ("category_balanced", [20, 20, 20]),
    ],
)
def test_quotas_of_three_categories(sampling: str, expected: list[int]) -> None:
    assert quotas(np.array([100, 400, 900]), ALPHAS[sampling], 60).tolist() == expected


@given(
    st.lists(st.integers(0, 10**6), min_size=1, max_size=30).filter(any),
    st.sampled_from([0.0, 0.3, 0.5, 1.0]),
    st.integers(1, 10**5),
)
def test_quotas_sum_to_the_draws_and_lie_within_one_of_the_share(counts: list[int], alpha: float, draws: int) -> None:
    result = quotas(np.array(counts), alpha, draws).tolist()
    assert sum(result) == draws
    for quota, share in zip(result, shares(np.array(counts), alpha), strict=True):
        assert abs(quota - share * draws) < 1


@given(st.integers(1, 6000), st.integers(0, 20_000), st.integers(1, 3000), st.integers(0, 2**64 - 1))
def test_any_window_of_the_deal_is_that_part_of_the_whole(rows: int, start: int, count: int, key: int) -> None:
    first = start // rows * rows
    whole = deal(rows, first, start - first + count, key)
    assert deal(rows, start, count, key).tolist() == whole[start - first :].tolist()


@pytest.mark.parametrize("rows", [1, 2, 3, 5, 64, 4095, 4096, 4097, 10_007])
def test_every_round_deals_every_row_once(rows: int) -> None:
    dealt = deal(rows, 0, 3 * rows, derive_key(7, "deal")).reshape(3, rows)
    assert (np.sort(dealt, axis=1) == np.arange(rows)).all()
    if rows >= 64:
        assert (dealt[0] != dealt[1]).mean() > 0.9  # another round, another order


def test_a_huge_category_is_dealt_without_a_list_of_its_rows() -> None:
    dealt = deal(10**12, 5 * 10**11, 10_000, 1)
    assert len(np.unique(dealt)) == 10_000
    assert dealt.min() >= 0
    assert dealt.max() < 10**12
    assert np.histogram(dealt, bins=10, range=(0, 10**12))[0].min() > 850  # 1,000 a bin expected, deviation 30


@pytest.mark.parametrize("rows", [3, 4, 5])
def test_every_order_of_a_few_rows_is_equally_likely(rows: int) -> None:
    orders = Counter(map(tuple, deal(rows, 0, rows * 24_000, 3).reshape(-1, rows).tolist()))
    assert set(orders) == set(itertools.permutations(range(rows)))
    expected = 24_000 / len(orders)
    chi_squared = sum((count - expected) ** 2 / expected for count in orders.values())
    assert chi_squared < len(orders) + 5 * np.sqrt(2 * len(orders))


def test_first_cards_of_a_large_category_are_uniform_and_independent() -> None:
    rows, rounds = 5000, 40_000
    # cards 0 and 1 of many rounds: the bijection under many keys
    first = np.concatenate([deal(rows, number * rows, 2, 11) for number in range(rounds // 10)]).reshape(-1, 2)
    apart = (first[:, 1] - first[:, 0]) % rows
    for values in (first[:, 0], first[:, 1], apart):
        counts = np.histogram(values, bins=50, range=(0, rows))[0]
        expected = len(values) / 50
        assert ((counts - expected) ** 2 / expected).sum() < 50 + 5 * 10
    assert (apart != 0).all()


def test_values_are_the_same_on_every_machine() -> None:
    assert deal(5, 0, 10, derive_key(1, "deal", 0)).tolist() == [3, 4, 2, 0, 1, 2, 1, 0, 4, 3]
    assert deal(10**6, 0, 3, 42).tolist() == [94056, 106809, 878608]
    assert permutation(6, derive_key(42, "bins", 1)).tolist() == [1, 5, 3, 2, 4, 0]
