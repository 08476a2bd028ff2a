"""What a comparison will be able to see, before it runs. In: rows, problems, runs. Out: smallest differences.

    variance of B - A = 2 / runs · run_sd² + 2 · p (1 - p) · 0.3 · ICC / problems     p the rate of both arms

More rows of the same problems change nothing but a run's own luck, which `run_sd` contains. Once there are enough runs,
the problems decide; once there are enough problems, the runs do.
"""

import math
from collections import defaultdict
from collections.abc import Sequence
from typing import Any

from picochat.blocks import Block, Table, Text, percent
from picochat.errors import UserError
from picochat.evidence.clusters import FEW
from picochat.evidence.lanes import UNTAGGED, skill
from picochat.evidence.runs import smallest_visible
from picochat.packs.rows import Row, cluster_of

OWN = 0.3  # of the variance of a problem's difficulty: the arm's own; the rest is shared, and cancels


def visible_difference(
    rows: int,
    problems: int,
    runs: int = 1,
    rate: float = 0.9,
    icc: float = 0.3,
    run_sd: float = 2.0,
    tests: int = 1,
    pooled_lanes: int = 4,
) -> float:
    """The difference, as a share, that a comparison shows with 80 % power.

    Args:
        rows: eval rows of the lane.
        problems: problems (words, situations) that the rows ask for, at least 10.
        runs: seeds of each arm; with one, how much runs differ has to be known (eval compare --noise).
        rate: share of rows that both arms pass.
        icc: intraclass correlation of replies to rows of one problem.
        run_sd: standard deviation between runs of one recipe, in points.
        tests: lanes that are declared, over which p-values are corrected.
        pooled_lanes: lanes that tell together how much runs differ, counted as if they were independent.

    Raises:
        UserError: a number out of its range.
    """
    if not (rows >= problems >= FEW and min(runs, tests, pooled_lanes) >= 1):
        raise UserError(f"power needs --rows >= --problems >= {FEW}, and --runs, --tests, --pooled-lanes from 1 on")
    if not (0 < rate < 1 and 0 <= icc <= 1 and 0 <= run_sd <= 100):
        raise UserError("power needs a --rate between 0 and 1, an --icc from 0 to 1, and a --run-sd from 0 to 100")
    spread = rate * (1 - rate)
    own = 2 / runs * max((run_sd / 100) ** 2, spread * (1 - icc) / rows)  # at least the luck of its rows
    shared = 2 * spread * OWN * icc / problems
    freedom = 2 * (runs - 1) * pooled_lanes or math.inf  # of one run an arm: as well known as can be
    together = (own + shared) ** 2 / (own**2 / freedom + shared**2 / (problems - 1) + 1e-30)
    return smallest_visible(math.sqrt(own + shared), together, tests)


def visible_by_skill(rows: Sequence[Row], runs: Sequence[int]) -> list[dict[str, Any]]:
    """For each skill of these eval rows its rows, problems, and the differences visible with so many `runs` an arm.

    All skills count as declared, as in `eval compare`; lanes of too few problems show nothing (None).
    """
    clusters: dict[str, list[str]] = defaultdict(list)
    for row in rows:
        clusters[skill(row.get("category") or UNTAGGED)].append(cluster_of(row))
    found = []
    for name, own in sorted(clusters.items()):
        n, problems = len(own), len(set(own))
        seen = [
            visible_difference(n, problems, each, tests=len(clusters)) if problems >= FEW else None for each in runs
        ]
        found.append({"skill": name, "rows": n, "problems": problems, "visible": seen})
    return found


def power_report(rows: int, problems: int, runs: int = 1, **more: float) -> list[Block]:
    """The answer in words, and what more runs or more problems would change; parameters as above."""

    def seen(each: int, times: int = 1) -> str:
        return f"{100 * visible_difference(times * rows, times * problems, each, **more):.1f}"  # type: ignore[arg-type]

    arms = "a single run an arm, whose variation is known" if runs == 1 else f"{runs} runs an arm"
    lane = f"{rows} rows of {problems} problems, {arms}, at a rate of {percent(more.get('rate', 0.9))}"
    answer = f"{lane}: differences from {seen(runs)} points on are shown with 80 % power. A smaller one is no claim."
    table = [(str(each), *(seen(each, times) for times in (1, 2, 4))) for each in sorted({1, 2, 3, 5, 10, runs})]
    head = ("runs an arm", *(f"{times * problems} problems" for times in (1, 2, 4)))
    return [
        Text([answer], "lead"),
        Table(head, table, title="Smallest difference, in points, at these rows a problem"),
    ]
