"""Data. In: profiles, tasks, corpora. Out: dataset packs, chat and eval rows. Next: picochat.datamodules."""

from picochat.packs.corpus import import_corpus
from picochat.packs.dataset_pack import DatasetPack, load_dataset_pack
from picochat.packs.formats import Reading, import_rows, read_rows
from picochat.packs.mixture import build_task_pack
from picochat.packs.pack_report import TaskPackReport
from picochat.packs.profiles import Component, Lane, Profile
from picochat.packs.tasks.base import Draw, Problem, Task

__all__ = [
    "Component",
    "DatasetPack",
    "Draw",
    "Lane",
    "Problem",
    "Profile",
    "Reading",
    "Task",
    "TaskPackReport",
    "build_task_pack",
    "import_corpus",
    "import_rows",
    "load_dataset_pack",
    "read_rows",
]
