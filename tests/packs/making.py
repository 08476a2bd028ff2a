"""What the tests of packs make: rows, files of rows, and packs."""

import json
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.parquet

from picochat.packs import TaskPackReport, build_task_pack
from picochat.packs.formats import read_rows
from picochat.packs.rows import Row


def ask(prompt: str, reply: str, **more: Any) -> Row:
    return {"messages": [{"role": "user", "content": prompt}, {"role": "assistant", "content": reply}], **more}


def write(path: Path, *rows: Any) -> Path:
    """A file of JSON lines, where a text is a line as it is; or of parquet, by its name."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".parquet":
        pyarrow.parquet.write_table(pyarrow.Table.from_pylist(list(rows)), path)
    else:
        path.write_text("".join((row if isinstance(row, str) else json.dumps(row)) + "\n" for row in rows))
    return path


def build(pack: Path, name: str = "out", **wanted: Any) -> TaskPackReport:
    return build_task_pack(pack, **{"out_dir": pack / name, "promote": False, "force": True, **wanted})


def sides(report: TaskPackReport) -> tuple[list[Row], list[Row]]:
    return read_rows(report.chat_path, "chat"), read_rows(report.eval_path, "eval")
