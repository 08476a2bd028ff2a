"""From a task's name to the task. In: a category, an entry point or a class path. Out: a Task. Next: packs.mixture."""

from collections.abc import Mapping, Sequence

from picochat.errors import UserError
from picochat.packs.tasks.base import Task
from picochat.plugins import load_named

_ROOM = "picochat.packs.tasks"
BUILT_IN: Mapping[str, str] = {
    "bench_math_addition": f"{_ROOM}.arithmetic.Addition",
    "bench_math_subtraction": f"{_ROOM}.arithmetic.Subtraction",
    "bench_math_multiplication": f"{_ROOM}.arithmetic.Multiplication",
    "bench_math_removal": f"{_ROOM}.arithmetic.Removal",
    "bench_spelling_count": f"{_ROOM}.spelling.Count",
    "bench_spelling_first": f"{_ROOM}.spelling.First",
    "bench_spelling_last": f"{_ROOM}.spelling.Last",
    "bench_spelling_spaced": f"{_ROOM}.spelling.Spaced",
    "bench_spelling_reverse": f"{_ROOM}.spelling.Reverse",
    "bench_choice_science": f"{_ROOM}.choice.Science",
    "bench_choice_language": f"{_ROOM}.choice.Language",
    "bench_choice_world": f"{_ROOM}.choice.World",
    "identity": f"{_ROOM}.identity.Identity",
    "refusal": f"{_ROOM}.refusal.Refusal",
}


def load_task(name: str, words: Sequence[str] | None = None) -> Task:
    """Build the task of that name; ``words`` replaces the built-in list of the spelling tasks.

    Raises:
        UserError: no such task, or what was found is not a task.
    """
    made = load_named(BUILT_IN.get(name, name), "picochat.tasks", "task")
    if not (isinstance(made, type) and issubclass(made, Task)):
        raise UserError(f"{name} is not a subclass of picochat.packs.Task")
    spells = words is not None and name.startswith("bench_spelling_")
    try:
        task: Task = made(words) if spells else made()  # type: ignore[call-arg]  # the spelling tasks take words
    except TypeError as error:
        raise UserError(f"cannot build the task {name}: {error}") from error
    if task.train_only and not set(task.train_only) < set(task.stages):
        raise UserError(
            f"the task {name}: train_only must name some of its stages ({', '.join(task.stages)}), but not all"
        )
    return task
