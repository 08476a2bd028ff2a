"""What runs scored, ours and those of other trainers. In: a folder a run. Out: scores by run and problem. Next: report.

predictions.jsonl            picochat: whether the row passed, and the nll of its reference
samples_TASK_TIME.jsonl      lm-eval: the first metric of the first filter; the lane is the task
*.json, *.eval               inspect: the first score of each sample; epochs are rows of one problem

design.csv    run,spelling,arithmetic      which lanes runs had that were trained elsewhere:
              r0,1,1                       1 in, 0 or -1 out, 0.5 half; results in DIR/r0, DIR/r1, …
              r1,1,0
"""

import csv
import json
import re
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from picochat.errors import UserError
from picochat.evidence.evaluation import read_eval
from picochat.evidence.lanes import Prediction
from picochat.packs.records import LARGEST, iter_records
from picochat.study.design import Design
from picochat.study.effects import Result

_SIGNS = {"1": 1, "0": -1, "-1": -1, "0.5": 0}
_GRADES = {"C": 1.0, "I": 0.0, "P": 0.5, "N": 0.0}  # of inspect
_LM_EVAL = re.compile(r"samples_(.+)_\d{4}-\d\d-\d\dT.*\.jsonl")


def read_design(table: str | Path) -> tuple[list[str], Design]:
    """Names of runs, and which lanes they had; UserError names a line at fault."""
    csv.field_size_limit(LARGEST)  # of the whole process: another reader may have set another
    try:
        with Path(table).open(encoding="utf-8-sig", newline="") as file:
            reader = csv.reader(file, skipinitialspace=True)
            (_, (_, *lanes)), *rows = [(reader.line_num, row) for row in reader if row]
        if not (lanes and rows):
            raise ValueError("it names no lane, or no run")
    except (OSError, ValueError, csv.Error) as error:
        raise UserError(f"{table}: is not a table of runs ({error}); its first line is run,LANE,LANE,…") from error
    found = dict[str, tuple[int, ...]]()
    for line, (name, *cells) in rows:
        known = [cell.removesuffix(".0") for cell in cells]  # pandas writes 1.0 beside 0.5
        if len(known) != len(lanes) or not _SIGNS.keys() >= {*known}:
            raise UserError(f"{table}:{line}: each lane of {name} is 1 (in), 0 or -1 (out), or 0.5 (half)")
        if not name or name in found:
            raise UserError(f"{table}:{line}: each run needs a name of its own, the folder of its results")
        found[name] = tuple(_SIGNS[cell] for cell in known)
    return list(found), Design(tuple(lanes), tuple(found.values()), tuple(range(len(found))))


def read_results(folder: Path, lane: Callable[[Prediction], str] | None = None) -> Iterator[Result]:
    """The rows of a run, or UserError; `lane` tells the eval lane of picochat's, which is the category by default."""
    if (folder / "predictions.jsonl").exists():
        for one in read_eval(folder).predictions:
            on = lane(one) if lane else one.tag("category")
            yield Result(on, one.cluster, str(one.index), float(one.passed) if one.judged else None, one.nll)
        return
    files = sorted(file for file in folder.rglob("*") if file.suffix in (".jsonl", ".json", ".eval"))
    samples = {file: match[1] for file in files if (match := _LM_EVAL.fullmatch(file.name))}
    logs = [file for file in files if file.suffix in (".json", ".eval") and not samples]
    if not samples and not logs:
        raise UserError(f"{folder} holds no predictions.jsonl, no samples_*.jsonl of lm-eval and no log of inspect")
    for file, task in samples.items():
        yield from _lm_eval(file, task)
    for file in logs:
        yield from _inspect(file)


def _lm_eval(file: Path, task: str) -> Iterator[Result]:
    kept = None
    for line, record in iter_records(file):
        try:
            kept = kept or record.get("filter", "none")
            if record.get("filter", "none") == kept:
                row = str(record["doc_id"])
                yield Result(task, str(record.get("doc_hash", row)), row, _share(record[record["metrics"][0]]))
        except (AttributeError, LookupError, TypeError, ValueError):
            raise UserError(f"{file}:{line}: is not a sample of lm-eval with a first metric from 0 to 1") from None


def _inspect(file: Path) -> Iterator[Result]:
    try:
        if file.suffix == ".eval":
            with zipfile.ZipFile(file) as archive:
                names = [name for name in archive.namelist() if name.startswith("samples/")]
                task = json.loads(archive.read("header.json"))["eval"]["task"]
                samples: list[Any] = [json.loads(archive.read(name)) for name in names]
        else:
            log = json.loads(file.read_bytes())
            task, samples = log["eval"]["task"], log["samples"]
        for one in samples:
            value = next(iter(one["scores"].values()))["value"]
            row = f"{one['id']}/{one.get('epoch', 1)}"
            yield Result(task, str(one["id"]), row, _share(_GRADES.get(value, value)))
    except (AttributeError, LookupError, RuntimeError, StopIteration, TypeError, ValueError, zipfile.BadZipFile):
        remedy = "`inspect log convert --to json` may help"
        raise UserError(f"{file}: is not a log of inspect with scores from 0 to 1; {remedy}") from None


def _share(score: Any) -> float:
    """A score that is one, and is reported in per cent: a perplexity is none, nor is a grade of 7."""
    if not 0 <= (share := float(score)) <= 1:
        raise ValueError
    return share
