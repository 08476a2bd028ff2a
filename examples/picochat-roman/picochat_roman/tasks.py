"""What is taught. In: a stage and a number. Out: problems with answers and steps. Next: picochat.packs makes rows.

"Write 14 in Roman numerals."   14 - 10 = 4, write X
                                4 - 4 = 0, write IV
                                Final answer: XIV
"""

from typing import ClassVar

from picochat.packs import Draw, Problem, Task

SIGNS = (
    *((1000, "M"), (900, "CM"), (500, "D"), (400, "CD"), (100, "C"), (90, "XC"), (50, "L"), (40, "XL")),
    *((10, "X"), (9, "IX"), (5, "V"), (4, "IV"), (1, "I")),
)


def to_roman(number: int) -> tuple[str, list[str]]:
    """A number in Roman numerals, and the subtractions that lead there."""
    written, steps = "", []
    for value, sign in SIGNS:
        while number >= value:
            steps.append(f"{number} - {value} = {number - value}, write {sign}")
            number, written = number - value, written + sign
    return written, steps


class Roman(Task):
    """Numbers from 1 to 1999 in Roman numerals."""

    category = "roman"
    stages: ClassVar = {"small": 0.4, "large": 0.6}
    known = (
        "Write {n} in Roman numerals.",
        "How do the Romans write {n}?",
        "What is {n} as a Roman numeral?",
        ("Turn {n} into a Roman numeral.", "Turn the number {n} into a Roman numeral."),
    )
    new = ("Give the Roman numeral of {n}.",)  # asked in evaluation only

    def values(self, stage: str) -> range:
        return range(1, 400) if stage == "small" else range(400, 2000)

    def key(self, stage: str, value: int) -> str:
        return f"roman:{value}"  # its hash decides: training or evaluation, in every pack

    def pose(self, stage: str, value: int, template: str, draw: Draw) -> Problem:
        answer, steps = to_roman(value)
        return Problem(template.format(n=value), answer, answer, tuple(steps), content=(str(value),))

    def fault(self, stage: str, value: int, problem: Problem) -> str | None:
        """Read the steps back: the numbers taken away make the value, the signs written make the answer."""
        taken = sum(int(step.split()[2]) for step in problem.steps)
        written = "".join(step.split()[-1] for step in problem.steps)
        return None if (taken, written) == (value, problem.answer) else f"the steps make {taken}, written {written}"
