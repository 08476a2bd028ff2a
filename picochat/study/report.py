"""What a study found, for readers and programs. In: scores of its runs. Out: a `Report`, JSON, CSV. Next: study."""

import csv
import io
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from picochat.blocks import WRITTEN, Block, Matrix, Report, Table, Text
from picochat.evidence.runs import smallest_visible
from picochat.evidence.words import p_text
from picochat.study.design import Design, Precision
from picochat.study.effects import Effect, Effects, Sums, estimate

POINTS, NLL = "points", "nats"  # passed rows in per cent; nll of the reference reply a token


@dataclass(frozen=True)
class Measured:
    """All that a report is made of.

    Attributes:
        names: of the runs' arms, in the order of the design's runs.
        scores: unit → eval lane → scores by run and problem.
        declared: (lane, eval lane) that were named before the runs.
        planned: of each eval lane, in points; empty where nobody planned.
        compared_with: the arm that listed arms are compared with; None where lanes were in and out.
        facts: sentences about plan and cost.
    """

    title: str
    design: Design
    names: Sequence[str]
    scores: Mapping[str, Mapping[str, Sums]]
    declared: Sequence[tuple[str, str]]
    planned: Mapping[str, Precision]
    compared_with: str | None
    facts: Sequence[str]
    interactions: bool = False


def study_report(study: Measured) -> tuple[Report, dict[str, Any], str]:
    """The page, its data, and the effects as CSV."""
    found = {
        unit: estimate(
            study.design.lanes,
            study.design.signs,
            scores,
            declared=study.declared,
            interactions=study.interactions,
        )
        for unit, scores in study.scores.items()
        if scores
    }
    effects = found[POINTS]
    declared = [cell for cell in effects.cells if cell.declared]
    others = [cell for cell in effects.cells if not cell.declared]
    lead = (
        f"{sum(cell.found for cell in declared)} of {len(declared)} declared effects found (Holm, 5 %), and "
        f"{sum(cell.found for cell in others)} of {len(others)} others (exploratory: 10 % of these may be false)"
    )
    rule = "with the lane, less without it" if study.compared_with is None else f"less {study.compared_with}"
    blocks: list[Block] = [Text([lead], "lead"), Text([*_sentences(effects, study.compared_with)], "list")]
    blocks += [_matrix(f"Effects in {unit}: {rule} (* found)", unit, own) for unit, own in found.items()]
    blocks += [_precision(study, effects), Text(_noise(effects), "soft"), _scores(study), Text(study.facts, "soft")]
    data = {
        "kind": "study",
        "lanes": study.design.lanes,
        "runs": [
            {"arm": name, "signs": signs, "seed": seed}
            for name, signs, seed in zip(study.names, study.design.signs, study.design.seeds, strict=True)
        ],
        "effects": {unit: [asdict(cell) for cell in own.cells] for unit, own in found.items()},
        "noise": {unit: {lane: asdict(one) for lane, one in own.noise.items()} for unit, own in found.items()},
        "planned": {lane: asdict(one) for lane, one in study.planned.items()},
        "facts": study.facts,
    }
    under = f"{len(study.names)} runs, {len(set(study.design.signs))} arms, {len(study.design.lanes)} lanes"
    return Report(study.title, under, blocks), data, _csv(found)


def _sentences(effects: Effects, compared_with: str | None) -> Iterator[str]:
    """Each eval lane in words: what is found, else what would have been."""
    by_lane: dict[str, list[Effect]] = {}
    for cell in effects.cells:
        by_lane.setdefault(cell.on, []).append(cell)
    for on, cells in by_lane.items():
        found = sorted((cell for cell in cells if cell.found), key=lambda cell: -abs(cell.value))
        parts = [_finding(cell, compared_with) for cell in found]
        hidden = [cell.smallest_visible for cell in cells if cell.smallest_visible is not None]
        unseen = f"not resolved: could have seen ≥ {max(hidden):.1f} points" if hidden and not parts else ""
        yield f"{on}: {'; '.join(parts) or unseen or 'nothing that survives the correction'}"


def _finding(cell: Effect, compared_with: str | None) -> str:
    pair = compared_with is not None or " × " in cell.lane or cell.lane == "curvature"
    value, low, high = cell.value, *cell.interval
    if not pair:  # what leaving it out does
        value, low, high = -value, -high, -low
    what = f"by {cell.lane}" if pair else f"without {cell.lane}"
    return f"{value:+.1f} ({low:+.1f} to {high:+.1f}) {what}{'' if cell.declared else ', exploratory'}"


def _matrix(title: str, unit: str, effects: Effects) -> Matrix:
    """Lanes × eval lanes, the strongest on themselves first."""
    cells = {(cell.lane, cell.on): cell for cell in effects.cells}
    own = {lane: cells[lane, lane].value if (lane, lane) in cells else -np.inf for lane, _ in cells}
    good = -1 if unit == NLL else 1
    lanes = sorted(own, key=lambda lane: -good * own[lane] if np.isfinite(own[lane]) else np.inf)
    columns = sorted({on: 0 for _, on in cells}, key=lambda on: lanes.index(on) if on in lanes else len(lanes))
    most, digits = max(abs(cell.value) for cell in cells.values()) or 1.0, 3 if unit == NLL else 1
    rows = [
        (lane, *(f"{cells[lane, on].value:+.{digits}f}{' *' * cells[lane, on].found}" for on in columns))
        for lane in lanes
    ]
    hints = [[_hint(cells[lane, on], digits) for on in columns] for lane in lanes]
    shades = [[good * cells[lane, on].value / most for on in columns] for lane in lanes]
    return Matrix(("lane", *columns), rows, shades=shades, hints=hints, title=title)


def _hint(cell: Effect, digits: int) -> str:
    low, high = (f"{end:+.{digits}f}" for end in cell.interval)
    corrected = f"{'Holm' if cell.declared else 'exploratory, Benjamini-Hochberg'} p {p_text(cell.corrected)}"
    unseen = "" if cell.smallest_visible is None else f"; could have seen ≥ {cell.smallest_visible:.{digits}f}"
    return f"{cell.lane} on {cell.on}: {low} to {high} (95 %), {corrected}{unseen}"


def _precision(study: Measured, effects: Effects) -> Table:
    """The noise floor, and what was planned beside what came."""
    tests, rows = sum(cell.declared for cell in effects.cells), []
    for on, (_, sizes) in study.scores[POINTS].items():
        cells, plan = (
            [cell for cell in effects.cells if cell.on == on and cell.lane in study.design.lanes],
            study.planned.get(on),
        )
        error, seen = (
            max(cell.error for cell in cells),
            max(smallest_visible(c.error, c.freedom, tests) for c in cells),
        )
        planned = (f"{plan.error:.2f}", f"{plan.holm:.1f}") if plan else ("–", "–")
        noise = effects.noise[on]
        rows.append((on, f"{sizes.sum():.0f}", str(len(sizes)), f"{noise.variance**0.5:.2f}", f"{noise.freedom:.1f}",
                     planned[0], f"{error:.2f}", planned[1], f"{seen:.1f}"))  # fmt: skip
    head = ("eval lane", "rows", "problems", "σ of runs", "degrees of freedom", "error planned", "error came",
            "visible planned", "visible came")  # fmt: skip
    return Table(head, rows, title="Noise floor in points, and precision: planned beside came (80 % power, Holm)")


def _noise(effects: Effects) -> list[str]:
    compared, by_rows, by_runs = effects.same_arm
    return [
        f"A/A: of {compared} comparisons of two runs of one arm, a test at 5 % that knows rows alone calls {by_rows} "
        f"different, and one that knows the noise of runs {by_runs}."
    ] if compared else []  # fmt: skip


def _scores(study: Measured) -> Table:
    means = [(cells.sum(1) / sizes.sum()).tolist() for cells, sizes in study.scores[POINTS].values()]
    runs = zip(study.names, study.design.seeds, *means, strict=True)
    rows = [(name, str(seed), *(f"{value:.1f}" for value in values)) for name, seed, *values in runs]
    head = ("run", "seed", *study.scores[POINTS])
    signs = f" (signs: {', '.join(study.design.lanes)})" if study.compared_with is None else ""
    return Table(head, rows, title=f"Scores of the runs{signs}", media=WRITTEN, folded=True)


def _csv(found: Mapping[str, Effects]) -> str:
    text = io.StringIO()
    names = (
        "lane",
        "on",
        "value",
        "low",
        "high",
        "error",
        "freedom",
        "p_value",
        "corrected",
        "declared",
        "found",
        "smallest_visible",
    )
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(("unit", *names))
    for unit, effects in found.items():
        for cell in effects.cells:
            values = {**vars(cell), "low": cell.interval.low, "high": cell.interval.high}
            writer.writerow((unit, *(values[name] for name in names)))
    return text.getvalue()
