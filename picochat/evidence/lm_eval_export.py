"""Eval rows as tasks of lm-eval (the LM Evaluation Harness). In: an eval file. Out: a folder. Next: lm-eval itself.

    row                                 its category's task   what lm-eval counts
    answer "42", scratchpad             generate_until        exact_match of what follows the last "Final answer:"
    answer "42", direct                 generate_until        exact_match of the whole reply
    choice_labels, correct_choice "B"   multiple_choice       acc: the likeliest label
    must_include, answerable, …         none                  lm-eval has no such check

A task is D/GROUP_CATEGORY_FORM.yaml and .jsonl, the group of all of them D/GROUP.yaml.
Answers are compared as by `texts.normalise`, but for Unicode forms (NFKC) and line breaks, which lm-eval cannot treat.
This is the *strict* rate of `eval chat`, which also fails a right answer for an echo, a loop or a missing end; its rate
allows for other forms of the answer, such as "$42.00".
"""

import re
import shlex
from collections import Counter, defaultdict
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

import yaml

from picochat.errors import UserError
from picochat.evidence.scoring import is_choice
from picochat.files import atomic_folder, refuse_existing
from picochat.model.engine import Decoding
from picochat.packs.formats import read_rows
from picochat.packs.rows import Row, dump_rows


@dataclass(frozen=True)
class Exported:
    """What became of the rows: the group that ``lm-eval --tasks`` takes, how many rows each task holds, how many were
    left out by the reason, and how the tasks are run on a checkpoint."""

    group: str
    tasks: dict[str, int]
    left_out: dict[str, int]
    command: str


def export_lm_eval(input_path: str | Path, out_dir: str | Path, *, force: bool = False) -> Exported:
    """Write a folder of tasks, whole or not at all.

    Args:
        input_path: eval rows (JSONL).
        out_dir: the folder of tasks to write; its YAML files name their rows by absolute path: export again to move it.
        force: replace an existing folder.
    """
    rows, folder = read_rows(input_path, "eval"), Path(out_dir).resolve()
    refuse_existing([Path(out_dir)], force=force, folders=True)
    profiles = {row.get("mixture_profile") for row in rows}
    group = "picochat_" + _word((len(profiles) == 1 and profiles.pop()) or Path(input_path).stem)
    tasks: dict[str, list[Row]] = defaultdict(list)
    left_out = Counter[str]()
    for row in rows:
        form, reason = _form(row)
        if form:
            tasks[f"{group}_{_word(row.get('category') or 'rows')}_{form}"].append(row)
        else:
            left_out[reason] += 1
    if not tasks:
        reasons = "; ".join(f"{count} {reason}" for reason, count in left_out.items())
        raise UserError(f"{input_path}: no row that lm-eval can check ({reasons}); rows need an answer or choices")
    forms = yaml.safe_load((resources.files("picochat.evidence") / "templates" / "lm_eval.yaml").read_text("utf-8"))
    names = sorted(tasks)
    checks = {"acc" if name.endswith("_choice") else "exact_match" for name in names}
    metrics = [metric for name, metric in forms["group"].items() if name in checks]
    about = {"task": names, "aggregate_metric_list": metrics, "metadata": {"version": 1}}
    with atomic_folder(Path(out_dir)) as building:
        _write(building / f"{group}.yaml", {"group": group, **about})
        for name in names:
            (building / f"{name}.jsonl").write_text(dump_rows(map(_record, tasks[name])), encoding="utf-8")
            form = name.rpartition("_")[2]
            settings = forms[form]
            data = {"task": name, "dataset_kwargs": {"data_files": {"test": str(folder / f"{name}.jsonl")}}}
            if limits := settings.get("generation_kwargs"):
                settings = {**settings, "generation_kwargs": {**limits, "max_gen_toks": _limit(tasks[name], form)}}
            _write(building / f"{name}.yaml", {**data, **forms["every"], **settings})
    command = (
        f"lm-eval run --model hf --model_args pretrained=CHECKPOINT,dtype=float32 --apply_chat_template \\\n"
        f"    --include_path {shlex.quote(str(out_dir))} --tasks {group} --batch_size 16"
    )
    return Exported(group, {name: len(tasks[name]) for name in names}, dict(left_out), command)


def _limit(rows: list[Row], form: str) -> int:
    """Tokens of a reply: a byte-level tokenizer makes a token a byte of the text at most. lm-eval takes them from the
    context of the prompt, and refuses a model that has no more; so there are 256, as in `eval chat`, only where nothing
    says how long a right reply with its working is."""
    expected = [row.get("reference") or (row["answer"] if form == "direct" else None) for row in rows]
    return max(Decoding().max_new_tokens if text is None else len(text.encode()) + 1 for text in expected)


def _write(path: Path, value: dict[str, Any]) -> None:
    path.write_text(yaml.safe_dump(value, sort_keys=False, allow_unicode=True, width=120), encoding="utf-8")


def _form(row: Row) -> tuple[str, str]:
    """How lm-eval checks the row (a form of templates/lm_eval.yaml); or "", and why it cannot."""
    if [message["role"] for message in row["messages"]] != ["user"]:
        return "", "with a system message or several turns"
    if is_choice(row):
        labels = row["choice_labels"]
        if any(one != other and other.startswith(one) for one in labels for other in labels):
            return "", "with choices of which one begins another"  # of these lm-eval takes the shorter
        return "choice", ""
    others = [name for name in ("must_include", "must_include_any", "must_not_include", "max_words") if row.get(name)]
    others += (row.get("check") or {}).keys() - {"answer", "exact", "number"}
    if row.get("answer") is None or row.get("answerable") is False or others:
        return "", "checked by phrases, boundaries or length"
    if row.get("accept"):
        return "", "with several answers"
    style = row.get("answer_style")
    return style if style in ("direct", "scratchpad") else "scratchpad" if row.get("steps") else "either", ""


def _word(text: str) -> str:
    return re.sub(r"\W+", "_", text).strip("_").lower() or "rows"


def _record(row: Row) -> Row:
    record = {"prompt": row["messages"][0]["content"], "id": row.get("id")}
    if is_choice(row):
        labels = row["choice_labels"]
        return {**record, "choices": labels, "target": labels.index(row["correct_choice"])}
    return {**record, "target": row["answer"]}
