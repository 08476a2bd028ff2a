"""From a task's name to the task. In: a category, an entry point or a class path. Out: a Task. Next: packs.mixture."""

from collections.abc import Mapping, Sequence

from picochat.errors import UserError
from picochat.packs.tasks import arithmetic, behavior, choice, spelling
from picochat.packs.tasks.base import Task
from picochat.plugins import load_named

_TASKS: tuple[type[Task], ...] = (
    *(arithmetic.Addition, arithmetic.Subtraction, arithmetic.Multiplication, arithmetic.Removal),
    *(spelling.Count, spelling.First, spelling.Last, spelling.Spaced, spelling.Reverse),
    *(choice.Science, choice.Language, choice.World, behavior.Identity, behavior.Refusal),
)
BUILT_IN: Mapping[str, type[Task]] = {task.category: task for task in _TASKS}


def load_task(name: str, words: Sequence[str] | None = None, salt: str = "") -> Task:
    """Build the task of that name; ``words`` replaces the built-in list of the spelling tasks."""
    made = BUILT_IN.get(name) or load_named(name, "picochat.tasks", "task")
    if not (isinstance(made, type) and issubclass(made, Task)):
        raise UserError(f"{name} is not a subclass of picochat.packs.Task")
    spells = words is not None and name.startswith("bench_spelling_")
    try:
        task: Task = made(words) if spells else made()  # type: ignore[call-arg]  # the spelling tasks take words
    except TypeError as error:
        raise UserError(f"cannot build the task {name}: {error}") from error
    for side in ("train_only", "eval_only"):
        if (own := getattr(task, side)) and not set(own) < set(task.stages):
            stages = ", ".join(task.stages)
            raise UserError(f"the task {name}: {side} must name some of its stages ({stages}), but not all")
    task.salt = salt
    return task
