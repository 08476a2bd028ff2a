"""Command lines that cannot be meant: one file for two things, the folder one stands in, settings without effect."""

import json
from pathlib import Path

import pytest
from refusing import Refused

TASK_PACK = "data task-pack --dataset-pack dataset_pack.json --sft-rows 32 --eval-rows 16 --profile release"
TWICE = "is named for two files; name another with --chat-out, --eval-out or --out-dir"
HERE = "is the current folder, or holds it; name a file or folder inside it"
NAMES = "tell them apart with --name-a and --name-b"
GREEDY = "must be left out at temperature 0"
IMPORT = "data import --out-dir out --documents 3 --source"
CASES: dict[str, tuple[str, str]] = {
    "one file for both sides": (f"{TASK_PACK} --chat-out t/x.jsonl --eval-out t/x.jsonl", f"t/x.jsonl {TWICE}"),
    "rows for a report": (f"{TASK_PACK} --out-dir t --chat-out t/task_mixture_release.md", TWICE),
    "rows for the pack": (f"{TASK_PACK} --chat-out dataset_pack.json --force", f"dataset_pack.json {TWICE}"),
    "rows for the words": (f"{TASK_PACK} --word-list words.txt --chat-out words.txt --force", f"words.txt {TWICE}"),
    "rows for the folder": (f"{TASK_PACK} --chat-out . --force", rf"\. {HERE}"),
    "replies for the folder": ("generate --checkpoint m --prompt x --out . --force", rf"\. {HERE}"),
    "replies for a folder": ("generate --checkpoint m --prompt x --out dir --force", "dir is a folder; name the file"),
    "a model for the folder's long name": ("export --checkpoint m --out-dir HERE --force", HERE),
    "tasks for the folder": ("data export-lm-eval --input eval.jsonl --out-dir . --force", rf"\. {HERE}"),
    "a margin that is no number": ("eval compare a b --margin nan", "--margin must be above 0 .*, not nan"),
    "a margin above all": ("eval compare a b --margin 100.5", "--margin must be above 0 .*, not 100.5"),
    "two arms of one name": ("eval compare --a x --b y z --name-a X --name-b X", f"two arms are called 'X'; {NAMES}"),
    "top-k of a greedy reply": ("generate --checkpoint m --prompt x --top-k 5", rf"--top-k\) is .*{GREEDY}"),
    "top-p of a greedy talk": ("chat --checkpoint m --top-p 0.9", rf"--top-p\) is .*{GREEDY}"),
    "a new run and an old one": (
        "fit --config sft.yaml --force --ckpt_path last",
        "--force starts over and --ckpt_path resumes; leave one of them out",
    ),
    "snapshots for files": (f"{IMPORT} corpus.txt --hub-dir .", "--hub-dir is for hub: sources only; leave it out"),
    "a field of stories": (
        f"{IMPORT} stories --text-field zzz",
        "--text-field is for rows and tables; .* leave it out",
    ),
    "snapshots for generated rows": (f"{TASK_PACK} --out-dir t --hub-dir .", "--hub-dir is for --source auto or hub"),
    "snapshots for no public part": (f"{TASK_PACK} --source auto --out-dir t --hub-dir .", "--hub-dir is for --source"),
    "a corpus with another field": (
        "tok train --dataset-pack other_pack.json --out t/tokenizer.json",
        r"other.jsonl:1: has no text in 'text'; `picochat data import --text-field NAME` reads another \(contents\)",
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_a_command_line_that_cannot_be_meant_is_refused(case: str, refused: Refused) -> None:
    Path("dataset_pack.json").write_text(json.dumps({"corpus": "corpus.txt"}))
    Path("corpus.txt").write_text("the cat sat on the mat\n")
    Path("words.txt").write_text("cat\nmat\n")
    Path("eval.jsonl").write_text('{"answer": "4", "messages": [{"role": "user", "content": "2 + 2?"}]}\n')
    Path("other_pack.json").write_text(json.dumps({"corpus": "other.jsonl"}))
    Path("other.jsonl").write_text('{"contents": "the cat sat on the mat"}\n')
    Path("dir").mkdir()
    command, says = CASES[case]
    refused(*command.replace("HERE", str(Path.cwd())).split(), says=says)
