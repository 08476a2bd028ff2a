"""Evaluations read back. In: a folder of `eval chat`. Out: the `Evaluation` it was. Next: compare, eval_report.

    out/eval_report.json     {"kind": "eval chat", "pack": {…}, "predictions_sha256": …}   ─► rows, model and settings
    out/predictions.jsonl    {"index": 0, "reply": "4", "passed": true, …}                 ─► replies, counted again

Replies that were cut, edited or swapped do not have the sha256 that the report names, and are refused.
"""

import hashlib
import json
from pathlib import Path

from picochat.errors import UserError
from picochat.evidence.evaluation import Evaluation, Model, RowFile
from picochat.evidence.lanes import Prediction
from picochat.files import sha256_file
from picochat.strict_json import read_json_object

_READ = {  # what is read of a report → the types it may have; Python's bool is no int here
    "predictions_sha256": (str,),
    "pack.path": (str,),
    "pack.sha256": (str,),
    "pack.rows": (int,),
    "model.folder": (str,),
    "model.sha256": (str,),
    "model.provenance": (dict,),
    **dict.fromkeys(("settings", "limits", "says"), (dict,)),
    "overlap": (str,),
}


def read_eval(folder: str | Path) -> Evaluation:
    """Read back what `eval chat` wrote into a folder.

    Raises:
        UserError: the folder holds no evaluation, or a damaged one.
    """
    try:
        return _read(Path(folder) / "eval_report.json", Path(folder) / "predictions.jsonl")
    except UserError as error:
        fault = str(error).removeprefix("cannot read ")
        raise UserError(f"cannot read {fault}; run it again with `picochat eval chat`") from error


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


def _read(report_path: Path, predictions_path: Path) -> Evaluation:
    report = read_json_object(report_path)
    if report.get("kind") != "eval chat":
        raise UserError(f"{report_path}: kind is {str(report.get('kind'))[:60]!r}, not 'eval chat'")
    for name, types in _READ.items():
        part, _, field = name.rpartition(".")
        section = report.get(part) if part else report
        value = section.get(field) if isinstance(section, dict) else None
        if type(value) not in types:
            raise UserError(f"{report_path}: {name} is {'missing' if value is None else 'of another kind'}")
    try:
        content = predictions_path.read_bytes()
    except OSError as error:
        raise UserError(f"cannot read {predictions_path}: {error.strerror}") from error
    if hashlib.sha256(content).hexdigest() != report["predictions_sha256"]:
        raise UserError(f"{predictions_path}: does not hold the replies that {report_path.name} was made of")
    lines = map(json.loads, content.decode().split("\n")[:-1])
    try:
        predictions = [
            Prediction(**{**line, **{name: tuple(line[name]) for name in ("reasons", "signals")}}) for line in lines
        ]
    except (KeyError, TypeError) as error:
        raise UserError(f"{predictions_path}: was written by another version of picochat") from error
    pack, model = report["pack"], report["model"]
    return Evaluation(
        RowFile(pack["path"], pack["sha256"], pack["rows"]),
        Model(model["folder"], model["sha256"], model["provenance"]),
        report["settings"],
        predictions,
        **{name: report[name] for name in ("limits", "says", "overlap")},
    )
