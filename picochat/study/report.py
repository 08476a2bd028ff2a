"""What a study found, for readers and programs. In: scores of its runs. Out: a `Report`, JSON, CSV. Next: study."""

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from picochat.blocks import WRITTEN, Block, Matrix, Report, Table, Text
from picochat.evidence.report import write_report
from picochat.evidence.runs import smallest_visible
from picochat.evidence.words import p_text
from picochat.files import write_files
from picochat.study.design import CURVATURE, Design, Precision
from picochat.study.effects import NATS, POINTS, Effect, Effects, Sums, estimate

_NAMED = 3  # exploratory effects that the sentence of an eval lane names
_COLUMNS = ("lane", "on", "value", "low", "high", "error", "freedom", "p_value", "corrected", "declared", "found",
            "smallest_visible")  # fmt: skip


@dataclass(frozen=True)
class Measured:
    """All that a report is made of."""

    title: str
    design: Design
    names: Sequence[str]  # of the runs' arms, in the order of the design's runs
    scores: Mapping[str, Mapping[str, Sums]]  # unit → eval lane → scores by run and problem
    declared: Sequence[tuple[str, str]] = ()
    planned: Mapping[str, Precision] = field(default_factory=dict)  # by eval lane, in points; none if nobody planned
    compared_with: str | None = None  # the arm that others are compared with; None where lanes were in and out
    facts: Sequence[str] = ()  # sentences about plan and cost
    interactions: bool = False

    @cached_property
    def effects(self) -> dict[str, Effects]:
        """All effects by unit."""
        lanes, signs = self.design.lanes, self.design.signs
        return {
            unit: estimate(lanes, signs, scores, declared=self.declared, interactions=self.interactions)
            for unit, scores in self.scores.items()
            if scores
        }


def write_study(folder: Path, study: Measured, more: Sequence[Block] = ()) -> Report:
    """Write study.html, .md, .json and effects.csv; `more` goes to the end of the page."""
    report, data, table = study_report(study)
    report = replace(report, blocks=[*report.blocks, *more])
    write_report(folder, "study", report, data)
    write_files({folder / "effects.csv": table})
    return report


def study_report(study: Measured) -> tuple[Report, dict[str, Any], str]:
    """The page, its data, and all effects as CSV."""
    design, found = study.design, study.effects
    lead = [_summary(unit, own) for unit, own in found.items()]
    blocks: list[Block] = [Text(lead, "lead")]
    for unit, own in found.items():
        blocks += [_matrix(study, unit, own), Text(_sentences(study, unit, own), "list")]
    blocks += [_precision(study, found[POINTS]), Text(_noise(found[POINTS]), "soft"), _scores(study)]
    blocks += [Text(study.facts, "soft")]
    runs = zip(study.names, design.signs, design.seeds, strict=True)
    data = {
        "kind": "study",
        "summary": " · ".join(lead),
        "lanes": design.lanes,
        "runs": [{"arm": name, "signs": own, "seed": seed} for name, own, seed in runs],
        "effects": {unit: [asdict(cell) for cell in own.cells] for unit, own in found.items()},
        "noise": {unit: {lane: asdict(one) for lane, one in own.noise.items()} for unit, own in found.items()},
        "planned": {lane: asdict(one) for lane, one in study.planned.items()},
        "facts": study.facts,
    }
    under = f"{len(study.names)} runs of {len(set(design.signs))} arms"
    return Report(study.title, under, blocks), data, _csv(found)


def _summary(unit: str, effects: Effects) -> str:
    declared, others = ([cell for cell in effects.cells if cell.declared is own] for own in (True, False))
    said = f"In {unit}: {sum(cell.found for cell in declared)} of {len(declared)} declared effects found (Holm, 5 %)"
    more = f", and {sum(cell.found for cell in others)} of {len(others)} others (exploratory: 10 % of them by chance)"
    return said + (more if others else "")


def _sentences(study: Measured, unit: str, effects: Effects) -> list[str]:
    """Each eval lane in words: what is found, or what would have been."""
    said = []
    for on, (cells, sizes) in study.scores[unit].items():
        own = [cell for cell in effects.cells if cell.on == on and cell.lane != CURVATURE]
        found = [cell for cell in sorted(own, key=lambda cell: -abs(cell.value)) if cell.found]
        parts = [_finding(cell, unit, study.compared_with) for cell in found if cell.declared]
        if others := [_finding(cell, unit, study.compared_with) for cell in found if not cell.declared]:
            more = [f"{len(others) - _NAMED} more"] if len(others) > _NAMED else []
            parts.append(f"exploratory: {', '.join(others[:_NAMED] + more)}")
        hidden = [cell.smallest_visible for cell in own if cell.smallest_visible is not None]
        if parts:
            said.append(f"{on}: {'; '.join(parts)}")
        elif not any(cell.error for cell in own):
            said.append(f"{on}: every run has {_number(cells.sum() / sizes.sum() / len(cells), unit)[1:]}")
        else:
            unseen = f"could have seen ≥ {_number(max(hidden), unit)[1:]} {unit}" if hidden else "after the correction"
            said.append(f"{on}: not resolved, {unseen}")
    return said


def _finding(cell: Effect, unit: str, compared_with: str | None) -> str:
    whole = compared_with is not None or " × " in cell.lane
    turn = 1 if whole else -1  # what leaving the lane out does
    value, low, high = (_number(turn * one, unit) for one in (cell.value, *cell.interval[::turn]))
    return f"{value} ({low} to {high}) {'by' if whole else 'without'} {cell.lane}"


def _matrix(study: Measured, unit: str, effects: Effects) -> Matrix:
    """Lanes × eval lanes, those with the strongest effect on themselves first."""
    cells, good = {(cell.lane, cell.on): cell for cell in effects.cells}, -1 if unit == NATS else 1
    own = {lane: -good * cells[lane, lane].value if (lane, lane) in cells else float("inf") for lane, _ in cells}
    lanes = sorted(own, key=lambda lane: own[lane])
    columns = sorted(dict.fromkeys(on for _, on in cells), key=lambda on: own.get(on, float("inf")))
    most = max(abs(cell.value) for cell in cells.values()) or 1.0
    rule = "with minus without the lane" if study.compared_with is None else f"minus {study.compared_with}"
    shown = {key: f"{_number(cell.value, unit)}{' *' if cell.found else ''}" for key, cell in cells.items()}
    return Matrix(
        (f"{rule}; * found", *columns),
        [(lane, *(shown[lane, on] for on in columns)) for lane in lanes],
        shades=[[good * cells[lane, on].value / most for on in columns] for lane in lanes],
        hints=[[_hint(cells[lane, on], unit) for on in columns] for lane in lanes],
        title=f"Effects in {unit}",
    )


def _hint(cell: Effect, unit: str) -> str:
    low, high = (_number(end, unit) for end in cell.interval)
    p_value = f"p {p_text(cell.corrected)} ({'Holm' if cell.declared else 'exploratory, Benjamini and Hochberg'})"
    unseen = cell.smallest_visible
    more = "" if unseen is None else f"; could have seen ≥ {_number(unseen, unit)[1:]}"
    return f"{cell.lane} on {cell.on}: {low} to {high} (95 %), {p_value}{more}"


def _precision(study: Measured, effects: Effects) -> Table:
    rows, tests = [], sum(cell.declared for cell in effects.cells) or 1
    for on, (_, sizes) in study.scores[POINTS].items():
        cells = [cell for cell in effects.cells if cell.on == on and cell.lane in study.design.lanes]
        plan, noise = study.planned.get(on), effects.noise[on]
        error = max(cell.error for cell in cells)
        seen = max(smallest_visible(cell.error, cell.freedom, tests) for cell in cells)
        planned = (f"{plan.error:.1f}", f"{plan.holm:.1f}") if plan else ("–", "–")
        came = (f"{error:.1f}", f"{seen:.1f}") if seen else ("–", "–")
        sigma = (f"{noise.variance**0.5:.1f}", f"{noise.freedom:.0f}")
        both = (f"{before} → {after}" for before, after in zip(planned, came, strict=True))
        rows.append((on, f"{sizes.sum():.0f}", str(len(sizes)), *sigma, *both))
    head = ("eval lane", "rows", "problems", "σ of runs", "degrees of freedom", "error", "visible")
    return Table(head, rows, title="Noise floor and precision in points, planned → came")


def _noise(effects: Effects) -> list[str]:
    compared, by_rows, by_runs = effects.same_arm
    bent = [cell.on for cell in effects.cells if cell.lane == CURVATURE and cell.found]
    said = ["Visible: with 80 % power and Holm's correction."]
    if compared:
        alike = f"A/A: of {compared} comparisons of two runs of one arm, a test at 5 % that knows rows alone calls"
        said.insert(0, f"{alike} {by_rows} different, and one that knows the noise of runs {by_runs}.")
    if bent:
        said.append(
            f"Curvature (half of every lane, minus the mean of the arms) is found on {', '.join(bent)}: there lanes do "
            "not add up, and an effect is the mean over runs with and without the others."
        )
    if effects.beyond:
        said.append(
            f"Lack of fit is found on {', '.join(effects.beyond)}: arms differ by more than lanes that add up, and "
            "equal runs, do. Either lanes act together in pairs, or runs without some lanes vary more than full and "
            "centre ones, which show the noise; then intervals there are too narrow."
        )
    return said


def _scores(study: Measured) -> Table:
    means = [(cells.sum(1) / sizes.sum()).tolist() for cells, sizes in study.scores[POINTS].values()]
    runs = zip(study.names, study.design.seeds, *means, strict=True)
    rows = [(name, str(seed), *(f"{value:.1f}" for value in values)) for name, seed, *values in runs]
    signs = f"{', '.join(study.design.lanes)}: + in, - out, 0 half" if study.compared_with is None else "arm"
    head = (signs, "seed", *study.scores[POINTS])
    return Table(head, rows, title="Scores of the runs in points", media=WRITTEN, folded=True)


def _number(value: float, unit: str) -> str:
    """With its sign, in digits that fit the unit."""
    return f"{value:+z.{3 if unit == NATS else 1}f}"


def _csv(found: Mapping[str, Effects]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(("unit", *_COLUMNS))
    for unit, effects in found.items():
        for cell in effects.cells:
            values = {**vars(cell), **cell.interval._asdict()}
            writer.writerow((unit, *(values[name] for name in _COLUMNS)))
    return text.getvalue()
