"""Simulated studies with known effects: the fast version of benchmarks/planted_truth.py, with its simulation."""

from collections.abc import Callable
from types import ModuleType

import pytest


@pytest.fixture
def planted(script: Callable[[str], ModuleType]) -> ModuleType:
    return script("planted_truth")


@pytest.mark.parametrize("name", ["helpful, useless and harmful lanes", "the same, and lanes that act together"])
def test_intervals_hold_what_was_planted_about_as_often_as_they_say(planted: ModuleType, name: str) -> None:
    found = planted.tally(planted.WORLDS[name], 60)
    assert 0.93 <= found.covered / 60 <= 0.98  # the mean of 72 cells a study
    assert found.wrong_sign == 0
    assert 0 < found.found < found.real  # neither blind nor told


def test_where_no_lane_does_anything_a_declared_effect_is_rarely_found(planted: ModuleType) -> None:
    found = planted.tally(planted.World(), 100)
    assert found.family_errors <= 11  # 5 are expected at most; 12 or more of 100 have a chance of 0.4 %
    assert found.real == 0
    pairs, by_rows, with_runs = found.same_arm
    assert by_rows / pairs > 0.06 > with_runs / pairs  # runs vary by more than their rows


def test_effects_of_twice_the_smallest_visible_are_found_with_their_sign(planted: ModuleType) -> None:
    world = planted.visible(2)
    assert {round(abs(value), 9) for value in world.truth.values()} == {round(abs(world.truth["l0 on l0"]), 9)}
    found = planted.tally(world, 40)
    assert found.found >= 0.97 * found.real == 0.97 * 40 * 8
    assert found.wrong_sign == 0


def test_an_interval_that_ignores_runs_would_be_noticed(planted: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    from picochat.study import effects

    real = effects.runs.crossed_variance
    monkeypatch.setattr(
        effects.runs, "crossed_variance", lambda sums, sizes, weight, noise: real(sums, sizes, weight, None)
    )
    found = planted.tally(planted.World(planted.POINTS, between_runs=5.0), 30)
    assert found.covered / 30 < 0.85
