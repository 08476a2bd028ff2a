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
from picochat.packs.records import iter_records
from picochat.study.design import Design
from picochat.study.effects import Result

_SIGNS = {"1": 1, "0": -1, "-1": -1, "0.5": 0}
_GRADES = {"C": 1.0, "I": 0.0, "P": 0.5, "N": 0.0}  # of inspect
_LM_EVAL = re.compile(r"samples_(.+)_\d{4}-\d\d-\d\dT.*\.jsonl")


def read_design(table: str | Path) -> tuple[list[str], Design]:
    """Names of runs, and which lanes they had; UserError names a line at fault."""
    try:
        with Path(table).open(encoding="utf-8-sig", newline="") as file:
            head, *rows = filter(None, csv.reader(file))
    except (OSError, ValueError) as error:
        raise UserError(f"{table}: is no table of runs ({error}); its first line is run,LANE,LANE,…") from error
    for line, (name, *cells) in enumerate(rows, start=2):
        if len(cells) != len(head) - 1 or not _SIGNS.keys() >= {*cells}:
            raise UserError(f"{table}:{line}: each lane of {name} is 1 (in), 0 or -1 (out), or 0.5 (half)")
    signs = tuple(tuple(_SIGNS[cell] for cell in cells) for _, *cells in rows)
    return [row[0] for row in rows], Design(tuple(head[1:]), signs, tuple(range(len(rows))))


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
                yield Result(task, str(record.get("doc_hash", row)), row, float(record[record["metrics"][0]]))
        except (AttributeError, LookupError, TypeError, ValueError):
            raise UserError(f"{file}:{line}: is no sample of lm-eval with a metric that is a number") from None


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
            yield Result(task, str(one["id"]), row, float(_GRADES.get(value, value)))
    except (AttributeError, KeyError, NotImplementedError, StopIteration, TypeError, ValueError, zipfile.BadZipFile):
        raise UserError(f"{file}: is no log of inspect with scores; `inspect log convert --to json` may help") from None
