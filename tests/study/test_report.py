"""The report of a study, from scores whose effects are known."""

import csv
import io
import re

import numpy as np
import pytest

from picochat.blocks import Matrix, Text, terminal
from picochat.evidence.html_page import page
from picochat.evidence.runs import smallest_visible
from picochat.study.design import make_design, precision
from picochat.study.effects import NATS, POINTS, estimate
from picochat.study.report import Measured, study_report

DESIGN = make_design(["spaced", "reverse"])


def scores(base: float, spaced: float, reverse: float, noise: float = 0.4) -> tuple[np.ndarray, np.ndarray]:
    """Sums of 12 runs on 50 problems of a row each; a lane adds its points."""
    random = np.random.default_rng(1)
    signs = np.array(DESIGN.signs)
    means = base + signs @ [spaced / 2, reverse / 2] + random.normal(0, noise, len(signs))
    return np.tile(means[:, None], 50), np.ones(50)


def measured(**more: object) -> Measured:
    points = {"reverse": scores(50, 12, 20), "spaced": scores(70, 15, 0.1), "hard": scores(0, 0, 0, noise=0)}
    nats = {"reverse": scores(1, -0.3, -0.2, noise=0.01)}
    settings = {"declared": [("spaced", "reverse")], "facts": ["The plan is old."], **more}
    return Measured("Study s", DESIGN, ["x"] * 12, {POINTS: points, NATS: nats}, **settings)  # type: ignore[arg-type]


def sentences(study: Measured) -> list[str]:
    report, _, _ = study_report(study)
    return [line for block in report.blocks if isinstance(block, Text) for line in block.lines]


def test_what_is_found_is_said_as_what_leaving_it_out_does() -> None:
    said = sentences(measured())
    assert said[0] == (
        "In points: 3 of 3 declared effects found (Holm, 5 %), and 0 of 6 others (exploratory: 10 % of them by chance)"
    )
    (reverse,) = [line for line in said if line.startswith("reverse: -")]
    first, second = re.findall(r"(-[\d.]+) \((-[\d.]+) to (-[\d.]+)\) without (\w+)", reverse)
    assert (first[3], second[3]) == ("reverse", "spaced")
    for value, (shown, low, high, _) in ((-20, first), (-12, second)):
        assert float(low) < float(shown) < float(high) < 0
        assert float(shown) == pytest.approx(value, abs=0.8)
    assert "spaced: -1" in "\n".join(said)


def test_a_lane_that_every_run_fails_is_called_that_and_not_unresolved() -> None:
    assert "hard: every run has 0.0" in sentences(measured())


def test_what_is_not_found_says_what_would_have_been() -> None:
    said = sentences(Measured("s", DESIGN, ["x"] * 12, {POINTS: {"far": scores(50, 0.1, 0.1, noise=5)}}))
    (line,) = [line for line in said if line.startswith("far: ")]
    seen = re.fullmatch(r"far: not resolved, could have seen ≥ ([\d.]+) points", line)
    assert seen
    assert float(seen[1]) > 5


def test_arms_are_said_as_differences_from_the_first() -> None:
    said = sentences(measured(compared_with="plain"))
    assert re.search(r"reverse: \+20\.\d \(.*\) by reverse; \+1\d\.\d \(.*\) by spaced", "\n".join(said))
    report, _, _ = study_report(measured(compared_with="plain"))
    assert "\nminus plain; * found " in terminal(*report.blocks)


def test_the_matrix_is_sorted_coloured_by_what_is_good_and_tells_its_intervals_to_the_mouse() -> None:
    report, _, _ = study_report(measured())
    points, nats = (block for block in report.blocks if isinstance(block, Matrix))
    assert [row[0] for row in points.rows[:2]] == ["reverse", "spaced"]
    assert points.head == ("with minus without the lane; * found", "reverse", "spaced", "hard")
    assert points.shades[0][0] == 1  # the largest effect
    assert nats.shades[[row[0] for row in nats.rows].index("spaced")][0] == 1  # less nll is better
    assert re.search(r'title="spaced on reverse: \+1\d\.\d to \+1\d\.\d \(95 %\), p .* \(Holm\)"', page(report))


def test_what_was_planned_stands_beside_what_came() -> None:
    planned = {"reverse": precision(DESIGN, 2.0, 3)}
    report, data, _ = study_report(measured(planned=planned))
    line = next(line for line in terminal(*report.blocks).splitlines() if re.match("reverse +50 +50 ", line))
    assert line.split()[5] == f"{planned['reverse'].error:.1f}"
    assert data["planned"]["reverse"]["freedom"] == planned["reverse"].freedom
    # where nobody declared anything, a lane's effect on itself is: here two of them
    own = estimate(DESIGN.lanes, DESIGN.signs, measured().scores[POINTS])
    seen = max(
        smallest_visible(c.error, c.freedom, 2) for c in own.cells if c.on == "reverse" and c.lane != "curvature"
    )
    report, _, _ = study_report(measured(declared=[]))
    line = next(line for line in terminal(*report.blocks).splitlines() if re.match("reverse +50 +50 ", line))
    assert line.endswith(f"→ {seen:.1f}")


def test_where_lanes_do_not_add_up_the_report_says_so() -> None:
    signs, random = np.array(DESIGN.signs), np.random.default_rng(1)
    means = 50 + 5 * signs.prod(1) + 10 * (signs == 0).all(1) + random.normal(0, 0.4, len(signs))
    said = sentences(Measured("s", DESIGN, ["x"] * 12, {POINTS: {"bent": (np.tile(means[:, None], 50), np.ones(50))}}))
    for found in (
        "Curvature (half of every lane, minus the mean of the arms) is found on bent:",
        "Lack of fit is found on bent:",
    ):
        assert any(line.startswith(found) for line in said)
    assert not [line for line in sentences(measured()) if line.startswith(("Curvature", "Lack"))]


def test_all_effects_are_in_the_table_for_programs() -> None:
    rows = list(csv.DictReader(io.StringIO(study_report(measured())[2])))
    assert len(rows) == 3 * 4
    assert {row["unit"] for row in rows} == {POINTS, NATS}
    own = next(row for row in rows if (row["lane"], row["on"], row["unit"]) == ("spaced", "reverse", POINTS))
    assert float(own["low"]) < float(own["value"]) < float(own["high"])
    assert (own["declared"], own["found"]) == ("True", "True")
