"""Which lanes each run trains. In: names of lanes. Out: a Design, its precision before anything runs. Next: effects.

    lanes      a b c d          Every lane is on in half of the arms, and two lanes are on-on, on-off, off-on and
    arm 0      + + + +          off-off equally often. The lower half turns the signs of the upper (fold-over): what two
    arm 1      + - + -          lanes do together is the same in an arm and its mirror, and adds to no lane's effect.
    arm 2      + + - -
    arm 3      + - - +          effect of a lane = mean score of its + arms - mean score of its - arms
    arm 4      - - - -          standard error   = 2 σ / √N for N arms, σ the run-to-run standard deviation
    arm 5      - + - +
    arm 6      - - + +          An arm and its mirror share a seed (a block): a lucky seed favours no lane.
    arm 7      - + + -
    centre     0 0 0 0  (2 ×)   every lane with half its rows: noise, and curvature (centre - mean of the arms)
    full       + + + +  (2 ×)   the mixture as it is: noise where it matters

Sources: Plackett and Burman (1946), Biometrika 33, 305-325; Box and Hunter (1961), Technometrics 3, 311-351 (fold-over)
and 449-458 (fractions of resolution V).
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.linalg import hadamard

from picochat.errors import UserError
from picochat.evidence.runs import smallest_visible

Array = NDArray[np.float64]
CURVATURE = "curvature"  # centre - mean of the arms, by the name of its row
_FOLDED = {8: 4, 16: 8, 24: 12, 32: 16}  # arms → lanes
_PLACKETT_BURMAN = (1, 1, -1, 1, 1, 1, -1, -1, -1, 1, -1)
# Resolution V: number of free columns → columns that are products of free ones.
_PRODUCTS = {3: (), 4: ("0123",), 5: ("01234",), 6: ("0123", "0145"), 7: ("0126", "1234", "0235", "0123456")}


@dataclass(frozen=True)
class Design:
    """What to train."""

    lanes: tuple[str, ...]
    signs: tuple[tuple[int, ...], ...]  # a row a run, a column a lane: 1 in, -1 out, 0 half of its rows
    seeds: tuple[int, ...]  # runs of one number share the order of data and the initial weights

    def __post_init__(self) -> None:
        if twice := [name for name, times in Counter((*self.lanes, CURVATURE)).items() if times > 1]:
            raise UserError(f"two lanes are named {twice[0]}; leave one out, or give it another name")

    @property
    def arms(self) -> list[str]:
        """The arm of each run, as "+-0": in, out, half."""
        return ["".join({1: "+", 0: "0", -1: "-"}[sign] for sign in own) for own in self.signs]


@dataclass(frozen=True)
class Precision:
    """What a study will see, in the unit of σ."""

    error: float  # standard error of an effect
    freedom: float
    one_test: float  # the effect seen with 80 % power
    holm: float  # the same, with all declared effects tested


def make_design(
    lanes: Sequence[str], *, arms: int | None = None, interactions: bool = False, centre: int = 2, full: int = 2
) -> Design:
    """A balanced array for these lanes in so many arms (the fewest that suffice by default), and replicates.

    With `interactions` it is of resolution V, which tells pairs of lanes apart. `centre` and `full` are further runs
    with half of every lane, and with all of every lane. UserError: more lanes than the arms can tell apart.
    """
    sizes = {2**free: free + len(more) for free, more in _PRODUCTS.items()} if interactions else _FOLDED
    enough = [size for size, most in sizes.items() if 0 < len(lanes) <= most]
    size = arms or next(iter(enough), 0)
    if size not in enough:
        possible = ", ".join(f"{size} arms (up to {most} lanes)" for size, most in sizes.items())
        remedy = f"use `arms: {enough[0]}`, or fewer lanes" if enough else "use fewer lanes"
        raise UserError(
            f"no design has {arms or 'enough'} arms for {len(lanes)} lanes; {remedy} (a component may be one lane); "
            f"there are {possible}"
        )
    array, blocks = (_fraction(size), size) if interactions else (_folded(size), size // 2)
    array = np.vstack([array[:, : len(lanes)], np.zeros((centre, len(lanes))), np.ones((full, len(lanes)))])
    seeds = [*(arm % blocks for arm in range(size)), *range(blocks, blocks + centre + full)]
    return Design(tuple(lanes), tuple(tuple(map(int, row)) for row in array), tuple(seeds))


def model_columns(signs: ArrayLike, *, interactions: bool) -> Array:
    """What arms may explain (R, p): 1, s_i / 2, s_i s_j / 2 with `interactions`, 1 for a centre run if there is one."""
    s = np.asarray(signs, dtype=float)
    # halves make a coefficient an effect: on - off
    pairs = [s[:, i] * s[:, j] / 2 for i, j in combinations(range(s.shape[1]), 2)] if interactions else []
    centre = (s == 0).all(1)
    return np.column_stack([np.ones(len(s)), s / 2, *pairs, *([centre] if centre.any() else [])])


def noise_columns(signs: ArrayLike) -> Array:
    """What runs may differ by without its being noise: lanes, pairs of lanes, centre; if nothing is left, no pairs."""
    columns = model_columns(signs, interactions=True)
    explained = np.linalg.matrix_rank(columns) == len(columns)
    return model_columns(signs, interactions=False) if explained else columns


def contrasts(signs: ArrayLike, *, interactions: bool = False) -> Array:
    """Weights of the runs in each effect (effects, R): lanes, pairs, curvature; any set of arms, orthogonal or not.

    Least squares over the arms, each of which counts once however many runs it has. UserError: they do not tell the
    effects apart.
    """
    arms, arm, runs = np.unique(np.asarray(signs, dtype=float), axis=0, return_inverse=True, return_counts=True)
    columns = model_columns(arms, interactions=interactions)
    if np.linalg.matrix_rank(columns) < columns.shape[1]:
        what = "lanes and their pairs" if interactions else "lanes"
        raise UserError(f"{len(arms)} different arms do not tell {arms.shape[1]} {what} apart: add arms, or drop lanes")
    means = (arm.reshape(-1) == np.arange(len(arms))[:, None]) / runs[:, None]  # (arms, R): an arm's mean over its runs
    return np.asarray((np.linalg.pinv(columns) @ means)[1:])


def precision(design: Design, sigma: float, cells: int) -> Precision:
    """What the design will see, before it runs.

    `sigma` is the run-to-run standard deviation of a lane's score, luck of rows included; `cells` effects are declared.
    """
    lanes, columns = len(design.lanes), noise_columns(design.signs)
    error = sigma * float(np.linalg.norm(contrasts(design.signs)[:lanes], axis=1).max())
    freedom = float(len(columns) - np.linalg.matrix_rank(columns))
    return Precision(error, freedom, *(smallest_visible(error, freedom, tests) for tests in (1, cells)))


def _folded(arms: int) -> Array:
    """An array of half as many columns as rows; the first row is all on."""
    turned = [-np.roll(_PLACKETT_BURMAN, shift) for shift in range(11)]
    twelve = np.vstack([np.ones(12), np.column_stack([np.ones(11), turned])])
    upper = twelve if arms == 24 else hadamard(arms // 2).astype(float)
    return np.vstack([upper, -upper])


def _fraction(arms: int) -> Array:
    """All signs of the free columns, and products of them; the first row is all on."""
    free = arms.bit_length() - 1
    signs = 1.0 - 2 * (np.arange(arms)[:, None] >> np.arange(free) & 1)
    return np.column_stack([signs, *(signs[:, list(map(int, columns))].prod(1) for columns in _PRODUCTS[free])])
