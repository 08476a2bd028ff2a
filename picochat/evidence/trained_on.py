"""Was a model trained on what it is asked? In: eval rows, a model's provenance. Out: one line. Next: evaluation.

    picochat.json   {"trained_on": [{"path": "rows.jsonl", "sha256": "…", "reading": {…}}], "parent": "runs/base/best"}

The parent has a picochat.json of its own, and so on.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from picochat.files import sha256_file
from picochat.packs.contamination import Overlap
from picochat.packs.formats import Reading, Tally, iter_rows
from picochat.packs.pack_report import in_one_pack
from picochat.packs.rows import Row
from picochat.strict_json import read_json_object


def met_in_training(pack: str | Path, rows: Sequence[Row], provenance: Mapping[str, Any]) -> tuple[str, list[str]]:
    """(The line that says which rows were met in training, "" where none; training files that are gone or changed)."""
    overlap, gone = Overlap(pack, enumerate(rows, start=1)), []
    for path, sha256, reading in _files(provenance):
        if in_one_pack(pack, [sha256]):
            continue
        if not path.is_file() or sha256_file(path) != sha256:
            gone.append(str(path))
            continue
        for line, row in iter_rows(path, "chat", Tally(reading)):
            overlap.meet(f"{path}:{line}", row)
    return overlap.said(), gone


def _files(provenance: Mapping[str, Any]) -> list[tuple[Path, str, Reading]]:
    """The files that a model and its parents were trained on; a provenance of another form names none."""
    found: dict[str, tuple[Path, str, Reading]] = {}
    folders: set[str] = set()
    try:
        while True:
            for one in provenance.get("trained_on", []):
                found[one["sha256"]] = Path(one["path"]), str(one["sha256"]), Reading(**one["reading"])
            folder = provenance.get("parent")
            file = Path(folder or "", "picochat.json")
            if not folder or folder in folders or not file.is_file():
                break
            folders.add(folder)
            provenance = read_json_object(file)
    except (KeyError, TypeError, AttributeError):
        pass
    return list(found.values())
