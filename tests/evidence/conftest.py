"""A small eval file with every kind of row, and the student that answers it perfectly."""

import pytest
from students import Parrot, eval_row, perfect

from picochat.packs.rows import Row


@pytest.fixture
def rows() -> list[Row]:
    """Ten rows: four sums (two phrasings), two spellings, two identity, one refusal, one choice."""
    skills, release = "weak_skills", "release_behavior"
    add = {"answer_style": "scratchpad", "answerable": True}
    sums = [
        eval_row(f"{a} + 2?", "bench_math_addition", skills, answer=str(a + 2), steps=[f"{a} + 2 = {a + 2}"], **add)
        for a in (1, 2, 3, 4)
    ]
    for row in sums[2:]:
        row["phrasing"] = "new"
    spell = {"answer_style": "direct", "answerable": True}
    words = [eval_row(w, "bench_spelling_spaced", skills, answer=" ".join(w), **spell) for w in ("cat", "dog")]
    identity = [
        eval_row(f"Who are you, {n}?", "identity", release, must_include=["Picochat"], answerable=True)
        for n in ("friend", "robot")
    ]
    refusal = eval_row("What time is it?", "refusal", release, answerable=False)
    choices = {"choice_labels": ["A", "B", "C", "D"], "correct_choice": "A"}
    choice = eval_row("Pick one: A red B two C dog D run", "bench_choice_language", skills, **choices)
    return [*sums, *words, *identity, refusal, choice]


@pytest.fixture
def student() -> Parrot:
    return Parrot(perfect)
