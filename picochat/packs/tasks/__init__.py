"""Skills, one file each. In: stages and keys. Out: problems with answers and steps. Next: picochat.packs.mixture."""

from picochat.packs.tasks.base import Draw, Problem, Task

__all__ = ["Draw", "Problem", "Task"]
