"""Eval rows as tasks of lm-eval (the LM Evaluation Harness). In: an eval file. Out: a folder. Next: lm-eval itself.

    row                                 its category's task   what lm-eval counts
    answer "42", scratchpad             generate_until        exact_match of what follows the last "Final answer:"
    answer "42", direct                 generate_until        exact_match of the whole reply
    choice_labels, correct_choice "B"   multiple_choice       acc: the likeliest label
    must_include, answerable, …         none                  lm-eval has no such check

A task is D/GROUP_CATEGORY.yaml and .jsonl, the group of all of them D/GROUP.yaml; README.md says how to run it.
Answers are compared as by `texts.normalise`, but for Unicode forms (NFKC) and line breaks, which lm-eval cannot treat.
`eval chat` also fails a right answer for an echo, a loop or a missing end: its rate can be lower.
"""

import re
from collections import Counter, defaultdict
from dataclasses import dataclass
from importlib import resources
from itertools import chain
from pathlib import Path

import yaml

from picochat.blocks import Report, Table, Text, markdown_page
from picochat.errors import UserError
from picochat.evidence.evaluation import load_eval_rows
from picochat.evidence.scoring import is_choice
from picochat.files import atomic_folder, refuse_existing, sha256_file
from picochat.packs.rows import Row, dump_rows


@dataclass(frozen=True)
class Exported:
    """What became of the rows: the group that ``lm-eval --tasks`` takes, how many rows each task holds, how many were
    left out by the reason, and the longest reply that the tasks allow, in tokens."""

    group: str
    tasks: dict[str, int]
    left_out: dict[str, int]
    max_gen_toks: int


def export_lm_eval(
    input_path: str | Path,
    out_dir: str | Path,
    *,
    name: str | None = None,
    max_new_tokens: int | None = None,
    force: bool = False,
) -> Exported:
    """Write a folder of tasks, whole or not at all.

    Args:
        input_path: eval rows (JSONL).
        out_dir: the folder of tasks to write; its YAML files name their rows by absolute path: export again to move it.
        name: of the group; by default the rows' profile, or the file's name.
        max_new_tokens: limit of each reply. By default the bytes of the longest expected reply: a byte-level tokenizer
            never needs more tokens. It must be well below the model's context, or lm-eval cuts prompts.
        force: replace an existing folder.

    Raises:
        UserError: unreadable rows, or none that lm-eval could check.
    """
    if max_new_tokens is not None and max_new_tokens < 1:
        raise UserError(f"--max-new-tokens must be at least 1, not {max_new_tokens}")
    rows, folder = load_eval_rows(input_path), Path(out_dir)
    refuse_existing([folder], force=force, folders=True)
    forms = yaml.safe_load((resources.files("picochat.evidence") / "templates" / "lm_eval.yaml").read_text("utf-8"))
    profiles = {row.get("mixture_profile") for row in rows}
    group = "picochat_" + _word(name or (len(profiles) == 1 and profiles.pop()) or Path(input_path).stem)
    lanes: dict[tuple[str, str], list[Row]] = defaultdict(list)
    left_out = Counter[str]()
    for row in rows:
        form, reason = _form(row)
        if form:
            lanes[_word(row.get("category") or "rows"), form].append(row)
        else:
            left_out[reason] += 1
    if not lanes:
        reasons = "; ".join(f"{count} {reason}" for reason, count in left_out.items())
        raise UserError(f"{input_path}: no row that lm-eval can check ({reasons}); rows need an answer or choices")
    categories = Counter(category for category, _ in lanes)
    expected = [row.get("reference") or row.get("answer") or row["correct_choice"] for row in chain(*lanes.values())]
    limit = max_new_tokens or max(len(text.encode()) for text in expected) + 1
    done = Exported(group, {}, dict(left_out), limit)
    with atomic_folder(folder) as building:
        written = {}
        for (category, form), lane in sorted(lanes.items()):
            task = f"{group}_{category}" + (f"_{form}" if categories[category] > 1 else "")
            file = folder.resolve() / f"{task}.jsonl"
            (building / file.name).write_text(dump_rows(map(_record, lane)), encoding="utf-8")
            data = {"task": task, "dataset_kwargs": {"data_files": {"test": str(file)}}, **forms["every"]}
            written[task] = {**data, **forms[form]}
            if "generation_kwargs" in forms[form]:
                written[task]["generation_kwargs"] = {**forms[form]["generation_kwargs"], "max_gen_toks": limit}
            done.tasks[task] = len(lane)
        checks = {"acc" if form == "choice" else "exact_match" for _, form in lanes}
        metrics = [metric for name, metric in forms["group"].items() if name in checks]
        about = {"aggregate_metric_list": metrics, "metadata": {"version": 1}}
        for name, value in {**written, group: {"group": group, "task": [*done.tasks], **about}}.items():
            text = yaml.safe_dump(value, sort_keys=False, allow_unicode=True, width=120)
            (building / f"{name}.yaml").write_text(text, encoding="utf-8")
        (building / "README.md").write_text(_readme(done, folder, Path(input_path)), encoding="utf-8")
    return done


def _form(row: Row) -> tuple[str, str]:
    """How lm-eval checks the row (a form of templates/lm_eval.yaml); or "", and why it cannot."""
    if [message["role"] for message in row["messages"]] != ["user"]:
        return "", "with a system message or several turns"
    if is_choice(row):
        labels = row["choice_labels"]
        if any(one != other and other.startswith(one) for one in labels for other in labels):
            return "", "with choices of which one begins another"  # of these lm-eval takes the shorter
        return "choice", ""
    if row.get("answer") is None or row.get("answerable") is False:
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


def _readme(done: Exported, folder: Path, source: Path) -> str:
    notes = ["The YAML files name their rows by absolute path: export again instead of moving this folder."]
    if counts := "; ".join(f"{count} rows {reason}" for reason, count in done.left_out.items()):
        left_out = f"Left out, because lm-eval has no such check: {counts}. `picochat eval chat` judges them."
        notes.insert(0, left_out)
    tasks = Table(("task", "rows"), [(task, str(rows)) for task, rows in done.tasks.items()])
    under = f"Tasks for lm-eval, made by picochat from {source.name} (sha256 {sha256_file(source)})."
    command = Text([command_line(done, folder.resolve())], "code")
    return markdown_page(Report(done.group, under, [command, tasks, Text(notes)]))


def command_line(done: Exported, folder: str | Path) -> str:
    """How the tasks are run on a checkpoint."""
    return (
        f"lm-eval run --model hf --model_args pretrained=CHECKPOINT,dtype=float32 --apply_chat_template \\\n"
        f"    --include_path {folder} --tasks {done.group} --batch_size 16"
    )
