"""Skills, one file each. In: stages and keys. Out: problems with answers and steps. Next: picochat.packs.mixture."""

from picochat.packs.tasks.base import Draw, Problem, Task, side_of

__all__ = ["Draw", "Problem", "Task", "side_of"]
