"""Evaluations read back. In: a folder of `eval chat`. Out: its report and predictions. Next: compare, report_html.

    out/eval_report.json     {"kind": "eval chat", "pack": {"rows": 2, …}, …}    ─► what _NEEDED names is there
    out/predictions.jsonl    {"index": 0, "reply": "4", "passed": true, …}       ─► Prediction(index=0, …), each field
                             {"index": 1, "reply": "I", "passed": false, …}         of the kind that the class names

Files that somebody copied, cut or edited are refused with file and line, so that no comparison rests on half of one.
"""

from collections.abc import Mapping
from pathlib import Path
from types import UnionType
from typing import Any, get_args, get_origin, get_type_hints

from picochat.errors import UserError
from picochat.evidence.lanes import Prediction
from picochat.evidence.report import EVAL_FILES
from picochat.files import sha256_file
from picochat.packs.rows import parse_lines
from picochat.strict_json import parse_json, read_json_object

# What a comparison reads of a report, and of what kind it is
_NEEDED: Mapping[str, Any] = {
    "kind": str,
    "pack.path": str,
    "pack.sha256": str,
    "pack.rows": int,
    "model.folder": str,
    "model.sha256": str,
    "settings.temperature": float,
    "settings.seed": int,
    "overall.rate": float,
    "by_category": dict,
}


def read_eval(folder: str | Path) -> tuple[dict[str, Any], list[Prediction]]:
    """Read back what `eval chat` wrote into a folder.

    Raises:
        UserError: the folder holds no evaluation, or a damaged one.
    """
    report_path, predictions_path = Path(folder) / EVAL_FILES[0], Path(folder) / EVAL_FILES[3]
    try:
        report = _read_report(report_path)
        predictions = _read_predictions(predictions_path)
        if len(predictions) != report["pack"]["rows"]:
            raise UserError(
                f"{predictions_path} holds {len(predictions)} replies, and the report is of {report['pack']['rows']}"
            )
    except UserError as error:
        raise UserError(f"{error}; {folder} must be a folder that `eval chat` wrote: run it again") from error
    return report, predictions


def read_before(folder: str | Path, input_path: str | Path) -> dict[str, Any]:
    """The report of an earlier evaluation, made sure to be on the same rows as `input_path`."""
    report, _ = read_eval(folder)
    try:
        own, other = sha256_file(input_path), report["pack"]["sha256"]
    except OSError as error:
        raise UserError(f"cannot read {input_path}: {error.strerror}") from error
    if own != other:
        raise UserError(
            f"--before {folder} was measured on other rows (sha256 {other[:12]}) than {input_path} ({own[:12]}); "
            "run `eval chat` on the same file for both"
        )
    return report


def _read_report(path: Path) -> dict[str, Any]:
    report = read_json_object(path)
    for place, kind in _NEEDED.items():
        value: Any = report
        for name in place.split("."):
            value = value.get(name) if isinstance(value, dict) else None
        if not _is(value, kind):
            raise UserError(f"{path}: {place} is {'missing' if value is None else 'of another kind'}")
    if report["kind"] != "eval chat":
        raise UserError(f"{path} is a report of another kind, {report['kind']!r}")
    for name, lane in report["by_category"].items():
        ends = lane.get("ci95") if isinstance(lane, dict) else None
        if not isinstance(ends, list) or len(ends) != 2 or not _is([*ends, lane.get("rate")], tuple[float, ...]):
            raise UserError(f"{path}: by_category.{name} has no rate and ci95")
    return report


def _read_predictions(path: Path) -> list[Prediction]:
    kinds = get_type_hints(Prediction)
    predictions: list[Prediction] = []

    def parse(line: bytes) -> Prediction:
        one = parse_json(line, nul=True)
        if not isinstance(one, dict) or one.keys() != kinds.keys():
            raise ValueError("is no prediction of this version")
        for name, kind in kinds.items():
            if not _is(one[name], kind):
                raise ValueError(f"'{name}' is of another kind")
        if one["index"] != len(predictions):
            raise ValueError(f"'index' is {one['index']}, not {len(predictions)}")
        return Prediction(**{**one, "reasons": tuple(one["reasons"])})

    for _, prediction in parse_lines(path, parse):
        predictions.append(prediction)
    return predictions


def _is(value: Any, kind: Any) -> bool:
    """Whether a value of a JSON file is of a kind such as `str | None`, `dict[str, float]`, `tuple[str, ...]` (a list).

    >>> _is([0.8654, 1], tuple[float, ...]), _is(True, float)
    (True, False)
    """
    if isinstance(kind, UnionType):
        return any(_is(value, one) for one in get_args(kind))
    if get_origin(kind) is tuple:
        return isinstance(value, list) and all(_is(one, get_args(kind)[0]) for one in value)
    if get_origin(kind) is dict:
        return isinstance(value, dict) and all(_is(one, get_args(kind)[1]) for one in value.values())
    return isinstance(value, int | float) and not isinstance(value, bool) if kind is float else type(value) is kind
