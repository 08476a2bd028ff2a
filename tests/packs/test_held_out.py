"""How close eval rows are to training rows, and how many problems stand behind them, by hand."""

from picochat.packs.pack_report import closeness, counts
from picochat.packs.rows import Row


def row(prompt: str, reply: str, **fields: object) -> Row:
    turns = [{"role": "user", "content": prompt}, {"role": "assistant", "content": reply}]
    return {"messages": turns, "category": "sums", **fields}


def asked(prompt: str, reference: str, **fields: object) -> Row:
    return {**row(prompt, "", **fields), "messages": [{"role": "user", "content": prompt}], "reference": reference}


TRAIN = [
    row("What is 1 + 2?", "1+2=3\nFinal answer: 3"),
    row("What is 2 + 2?", "2+2=4\nFinal answer: 4"),
    row("Who are you?", "I am picochat.", category="identity"),
]


def test_the_nearest_prompt_is_told_in_words_to_change_and_in_words_in_common() -> None:
    found = closeness(TRAIN, [asked("What is 2 + 5?", "7"), asked("So what is 1 + 2 then?", "3")])["sums"]
    # "what is 2 + 5" is one word from "what is 2 + 2" and shares 4 of 6; the other has two words more: 5 of 7 shared
    assert (found["words_apart"], found["jaccard"]) == (1.5, round((4 / 6 + 5 / 7) / 2, 4))
    other = closeness(TRAIN, [asked("Who are you?", "x", category="poems")])["poems"]
    assert (other["words_apart"], other["jaccard"]) == (3, 0)  # nothing of its category was trained on


def test_a_word_that_stands_twice_is_two_words_and_order_counts() -> None:
    found = closeness([row("2 + 2", "4")], [asked("2 + 3 + 2", "7"), asked("+ 2 2", "4")])["sums"]
    assert found["words_apart"] == 2  # both: two words more; one moved is one dropped and one added


def test_replies_that_were_met_are_counted() -> None:
    rows = [asked("And you?", reply, category="identity") for reply in ("I am picochat.", "No.")]
    assert closeness(TRAIN, rows)["identity"]["replies_met"] == 0.5


def test_rows_of_one_problem_are_counted_as_one_problem_and_widen_what_a_rate_can_show() -> None:
    rows = [row("What is 1 + 2?", "3", key=key) for key in ("add:1+2", "add:1+2", "add:1+2", "add:2+2")]
    expected = {"rows": 4, "problems": 2, "design_effect": 1.45}  # 1 + ((3 * 3 + 1 * 1) / 4 - 1) * 0.3
    assert counts(rows)["by_category"] == {"sums": expected}
