"""Evaluations read back. In: a folder of `eval chat`. Out: the `Evaluation` it was. Next: compare, eval_report.

    out/eval_report.json     {"kind": "eval chat", "pack": {"rows": 2, …}, …}    ─► rows, model and settings
    out/predictions.jsonl    {"index": 0, "reply": "4", "passed": true, …}       ─► predictions; lanes are counted again
                             {"index": 1, "reply": "I", "passed": false, …}

Files that were copied, cut or edited are refused with file and line, so that no comparison rests on half of one.
"""

from dataclasses import replace
from pathlib import Path

from picochat.errors import UserError
from picochat.evidence.evaluation import Evaluation, Model, RowFile
from picochat.evidence.lanes import Prediction
from picochat.files import sha256_file
from picochat.packs.rows import parse_lines
from picochat.strict_json import parse_json, read_json_object

EVAL_FILES = ("eval_report.json", "eval_report.md", "eval_report.html", "predictions.jsonl")

_NULL = type(None)
_REPORT = {  # what is read of a report → the types it may have; Python's bool is no int here
    "kind": (str,),
    "pack.path": (str,),
    "pack.sha256": (str,),
    "pack.rows": (int,),
    "model.folder": (str,),
    "model.sha256": (str,),
    "model.provenance": (dict,),
    "settings.temperature": (int, float),
    "settings.seed": (int,),
}
_PREDICTION: dict[str, tuple[type, ...]] = {
    "index": (int,),
    "id": (str, _NULL),
    "prompt": (str,),
    "reply": (str,),
    "raw_reply": (str, _NULL),
    "expected": (str, _NULL),
    "passed": (bool,),
    "reasons": (list,),
    "candidate": (str, _NULL),
    "steps_correct": (int, float, _NULL),
    "answerable": (bool, _NULL),
    "choice_scores": (dict, _NULL),
    "tags": (dict,),
}
_ITEMS = {"reasons": (str,), "choice_scores": (int, float), "tags": (str,)}


def read_eval(folder: str | Path) -> Evaluation:
    """Read back what `eval chat` wrote into a folder.

    Raises:
        UserError: the folder holds no evaluation, or a damaged one.
    """
    report_path, predictions_path = Path(folder) / EVAL_FILES[0], Path(folder) / EVAL_FILES[3]
    try:
        evaluation = replace(_read_report(report_path), predictions=_read_predictions(predictions_path))
        found, expected = len(evaluation.predictions), evaluation.pack.rows
        if found != expected:
            raise UserError(f"{predictions_path} holds {found} replies, and the report is of {expected}")
    except UserError as error:
        raise UserError(f"{error}; {folder} must be a folder that `eval chat` wrote: run it again") from error
    return evaluation


def read_before(folder: str | Path, input_path: str | Path) -> Evaluation:
    """An earlier evaluation, which must be on the same rows as `input_path`."""
    evaluation = read_eval(folder)
    try:
        own, other = sha256_file(input_path), evaluation.pack.sha256
    except OSError as error:
        raise UserError(f"cannot read {input_path}: {error.strerror}") from error
    if own != other:
        raise UserError(
            f"--before {folder} was measured on other rows (sha256 {other[:12]}) than {input_path} ({own[:12]}); "
            "run `eval chat` on the same file for both"
        )
    return evaluation


def _read_report(path: Path) -> Evaluation:
    report = read_json_object(path)
    for name, kinds in _REPORT.items():
        part, _, field = name.rpartition(".")
        section = report.get(part) if part else report
        value = section.get(field) if isinstance(section, dict) else None
        if type(value) not in kinds:
            raise UserError(f"{path}: {name} is {'missing' if value is None else 'of another kind'}")
    if report["kind"] != "eval chat":
        raise UserError(f"{path} is a report of another kind, {report['kind']!r}")
    pack, model = report["pack"], report["model"]
    source = RowFile(pack["path"], pack["sha256"], pack["rows"])
    return Evaluation(source, Model(model["folder"], model["sha256"], model["provenance"]), report["settings"], [])


def _read_predictions(path: Path) -> list[Prediction]:
    predictions: list[Prediction] = []

    def parse(line: bytes) -> Prediction:
        one = parse_json(line, nul=True)
        if not isinstance(one, dict) or one.keys() != _PREDICTION.keys():
            raise ValueError("is not a prediction of this version")
        for name, kinds in _PREDICTION.items():
            value = one[name]
            items = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
            if type(value) not in kinds or any(type(item) not in _ITEMS[name] for item in items):
                raise ValueError(f"'{name}' is of another kind")
        if one["index"] != len(predictions):
            raise ValueError(f"'index' is {one['index']}, not {len(predictions)}")
        return Prediction(**{**one, "reasons": tuple(one["reasons"])})

    for _, prediction in parse_lines(path, parse):
        predictions.append(prediction)
    return predictions
