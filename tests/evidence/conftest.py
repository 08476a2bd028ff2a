"""A small eval file with every kind of row, and the student that answers it perfectly."""

import pytest
from students import Parrot, eval_row, perfect

from picochat.packs.rows import Row


@pytest.fixture
def rows() -> list[Row]:
    """Ten rows: four sums (two phrasings), two spellings, two identity, one refusal, one choice."""
    sums = [
        eval_row(
            f"{a} + 2?",
            "bench_math_addition",
            "weak_skills",
            answer=str(a + 2),
            answer_style="scratchpad",
            steps=[f"{a} + 2 = {a + 2}"],
            phrasing="new" if a > 2 else "known",
            answerable=True,
        )
        for a in (1, 2, 3, 4)
    ]
    words = [
        eval_row(w, "bench_spelling_spaced", "weak_skills", answer=" ".join(w), answer_style="direct", answerable=True)
        for w in ("cat", "dog")
    ]
    identity = [
        eval_row(f"Who are you, {n}?", "identity", "release_behavior", must_include=["Picochat"], answerable=True)
        for n in ("friend", "robot")
    ]
    refusal = [eval_row("What time is it?", "refusal", "release_behavior", answerable=False)]
    choice = [
        eval_row(
            "Pick one: A red B two C dog D run",
            "bench_choice_language",
            "weak_skills",
            choice_labels=["A", "B", "C", "D"],
            correct_choice="A",
        )
    ]
    return [*sums, *words, *identity, *refusal, *choice]


@pytest.fixture
def student() -> Parrot:
    return Parrot(perfect)
