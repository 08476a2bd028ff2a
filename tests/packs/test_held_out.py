"""How close eval rows are to training rows, by hand."""

from picochat.packs.pack_report import closeness
from picochat.packs.rows import Row


def row(prompt: str, reply: str, **fields: object) -> Row:
    turns = [{"role": "user", "content": prompt}, {"role": "assistant", "content": reply}]
    return {"messages": turns, "category": "sums", "stage": "one", **fields}


def asked(prompt: str, reference: str, **fields: object) -> Row:
    return {**row(prompt, "", **fields), "messages": [{"role": "user", "content": prompt}], "reference": reference}


TRAIN = [
    row("What is 1 + 2?", "1+2=3\nFinal answer: 3"),
    row("What is 2 + 2?", "2+2=4\nFinal answer: 4"),
    row("Who are you?", "I am picochat.", category="identity"),
]


def test_the_nearest_prompt_is_told_in_words_to_change_and_in_words_in_common() -> None:
    found = closeness(TRAIN, [asked("What is 2 + 5?", "7"), asked("So what is 1 + 2 then?", "3")])["by_category"][
        "sums"
    ]
    # "what is 2 + 5" is one word from "what is 2 + 2" and shares 4 of 6; the other has two words more: 5 of 7 shared
    assert [found[name] for name in ("rows", "words_apart", "one_word_apart")] == [2, 1.5, 0.5]
    assert found["jaccard"] == round((4 / 6 + 5 / 7) / 2, 4)
    other = closeness(TRAIN, [asked("Who are you?", "x", category="poems")])["by_stage"]["poems/one"]
    assert (other["words_apart"], other["jaccard"]) == (3, 0)  # nothing of its category was trained on


def test_a_word_that_stands_twice_is_two_words_and_order_counts() -> None:
    found = closeness([row("2 + 2", "4")], [asked("2 + 3 + 2", "7"), asked("+ 2 2", "4")])["by_category"]["sums"]
    assert found["words_apart"] == 2  # both: two words more; one moved is one dropped and one added


def test_replies_and_lines_of_working_that_were_met_are_counted() -> None:
    rows = [
        asked("2 + 1?", "1+2=3\n3+2=5\nFinal answer: 5", steps=["1+2=3", "3+2=5"]),  # one line of two was met
        asked("And you?", "I am picochat.", category="identity"),
        asked("And me?", "You are you.", category="identity"),
    ]
    found = closeness(TRAIN, rows)["by_category"]
    assert [(own["replies_met"], own["steps_met"]) for own in found.values()] == [(0.5, None), (0, 0.5)]
