"""Does `picochat.study` find what is there, and nothing else? Simulated studies whose effects are known.

    python benchmarks/planted_truth.py [--studies 1000]

A run passes a row with a probability to which its lanes add what was planted; around that runs vary (seeds, alike in
part over lanes), problems are easy or hard, and problems differ in what a lane does to them. Every study is estimated
as a real one would be. tests/study/test_planted_truth.py runs a few of each.
"""

from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from measure import flags
from report import record

from picochat.study.design import Design, make_design
from picochat.study.effects import Effects, Sums, estimate

POINTS = {"l0 on l0": 6.0, "l1 on l1": 0.0, "l2 on l2": 3.0, "l3 on l3": -5.0, "l0 on l1": -4.0}
PAIRS = {"l0 × l1 on l2": 8.0, "l1 × l2 on l0": 8.0}


@dataclass(frozen=True)
class World:
    """A way the truth may be.

    Attributes:
        truth: effects in points by "lane on eval lane"; what is not named is 0.
        lanes: trained, and evaluated under the same names.
        interactions: whether arms are of resolution V.
        between_runs: standard deviation of a run's score, in points, beyond the luck of its rows.
        alike: correlation of that between eval lanes.
        by_problem: standard deviation over problems of what a lane does to them, in points.
    """

    truth: dict[str, float] = field(default_factory=dict)
    lanes: int = 8
    interactions: bool = False
    between_runs: float = 2.0
    alike: float = 0.5
    by_problem: float = 5.0

    def design(self) -> Design:
        return make_design([f"l{lane}" for lane in range(self.lanes)], interactions=self.interactions)


class Tally(NamedTuple):
    """What one study came to, or many; `found` and `wrong_sign` count effects that are not 0."""

    covered: float
    family_errors: int
    false_discoveries: float
    real: int
    found: int
    wrong_sign: int
    same_arm: np.ndarray  # pairs, alarms by rows, alarms with runs


def counted(world: World, effects: Effects) -> Tally:
    cells = [(cell, world.truth.get(f"{cell.lane} on {cell.on}", 0.0)) for cell in effects.cells]
    declared = [(cell.found, value) for cell, value in cells if cell.declared]
    explored = [value == 0 for cell, value in cells if cell.found and not cell.declared]
    return Tally(
        covered=float(np.mean([cell.interval.low <= value <= cell.interval.high for cell, value in cells])),
        family_errors=any(found and value == 0 for found, value in declared),
        false_discoveries=float(np.mean(explored)) if explored else 0.0,
        real=sum(value != 0 for _, value in declared),
        found=sum(found and value != 0 for found, value in declared),
        wrong_sign=sum(cell.found and value * cell.value < 0 for cell, value in cells),
        same_arm=np.array(effects.same_arm),
    )


def simulate(world: World, random: np.random.Generator) -> Effects:
    """One study, estimated."""
    design = world.design()
    signs = np.array(design.signs, dtype=float)
    common = random.normal(size=len(signs))
    scores = {on: _scores(world, on, signs, common, random) for on in design.lanes}
    return estimate(design.lanes, signs, scores, interactions=world.interactions)


def _scores(world: World, on: str, signs: np.ndarray, common: np.ndarray, random: np.random.Generator) -> Sums:
    """Points of all runs on one eval lane: 200 rows of 50 problems, or of as many problems for every third lane."""
    problems, rows = (200, 1) if int(on[1:]) % 3 == 0 else (50, 4)
    mean = np.full(len(signs), 50.0)
    for name, value in world.truth.items():
        lane, _, where = name.partition(" on ")
        if where == on:
            mean += value / 2 * np.prod([signs[:, int(part[1:])] for part in lane.split(" × ")], axis=0)
    own = random.normal(size=len(signs))
    mean += world.between_runs * (np.sqrt(world.alike) * common + np.sqrt(1 - world.alike) * own)
    moved = signs @ random.normal(0, world.by_problem / 2, (signs.shape[1], problems))
    chances = np.clip((mean[:, None] + random.uniform(-20, 20, problems) + moved) / 100, 0, 1)
    return 100.0 * random.binomial(rows, chances), np.full(problems, float(rows))


def visible(times: float) -> World:
    """Eight lanes that act on themselves, up and down in turn, by so many times the smallest visible effect."""
    random = np.random.default_rng(1)
    cells = [cell for _ in range(20) for cell in simulate(World(), random).cells]
    size = times * float(np.mean([cell.smallest_visible for cell in cells if cell.declared and cell.smallest_visible]))
    return World({f"l{lane} on l{lane}": size * (-1) ** lane for lane in range(8)})


def tally(world: World, studies: int, seed: int = 0) -> Tally:
    """Estimate many studies of one world."""
    random = np.random.default_rng(seed)
    return Tally(*map(sum, zip(*(counted(world, simulate(world, random)) for _ in range(studies)), strict=True)))


WORLDS = {
    "nothing does anything (A/A)": World(),
    "helpful, useless and harmful lanes": World(POINTS),
    "the same, and lanes that act together": World(POINTS | PAIRS),
    "the same in arms of resolution V": World(POINTS | PAIRS, lanes=5, interactions=True),
    "four lanes in eight arms": World(POINTS, lanes=4),
    "runs that vary much (5 points)": World(POINTS, between_runs=5.0),
    "runs that vary by their rows only": World(POINTS, between_runs=0.0),
    "runs lucky on all lanes at once": World(POINTS, alike=0.95),
    "lanes that act on a few problems": World(POINTS, by_problem=15.0),
}


def main() -> None:
    studies = flags(__doc__, studies=(1000, "of each kind")).parse_args().studies
    sized = {f"effects of {times:g} × the smallest visible": visible(times) for times in (1, 2)}
    rows = [[name, *shown(tally(world, studies), studies)] for name, world in (WORLDS | sized).items()]
    columns = ["studies in which", "coverage, %", "family-wise error, %", "false discoveries, %", "found, %"]
    columns += ["wrong signs", "A/A by rows, %", "A/A with runs, %"]
    record("planted_truth", columns, rows, f"{studies} studies of each kind, 8 lanes in 16 arms unless said.")


def shown(found: Tally, studies: int) -> list[str]:
    pairs, by_rows, with_runs = found.same_arm
    shares = [found.covered, found.family_errors, found.false_discoveries]
    return [
        *(f"{100 * share / studies:.1f}" for share in shares),
        f"{100 * found.found / found.real:.1f}" if found.real else "–",
        f"{found.wrong_sign} of {found.found}",
        *(f"{100 * alarms / pairs:.1f}" for alarms in (by_rows, with_runs)),
    ]


if __name__ == "__main__":
    main()
