"""The contamination check: it finds each kind of leak, and it does not cry wolf at templates."""

import random

import pytest

from picochat.packs.contamination import Contamination, Entry, Screen, check

STORY = "Ana has 27 apples and gets 15 more. Then Ana gives 18 away. How many are left?"


def found(train: Entry, evaluation: Entry, corpus: list[str] | None = None) -> Contamination:
    return check([train], [evaluation], corpus, "")


def numbers(result: Contamination) -> tuple[int, int, int, int]:
    return result.shared_keys, result.shared_prompts, result.train_ngrams, result.near_duplicates


def test_the_same_template_with_other_operands_is_clean() -> None:
    train = Entry("a", STORY.replace("27", "31").replace("15", "42").replace("18", "9"), "64", ("31", "42", "9"))
    result = found(train, Entry("b", STORY, "24", ("27", "15", "18")))
    assert numbers(result) == (0, 0, 0, 0)
    assert result.status == "ready"


def test_a_shared_key_blocks() -> None:
    result = found(
        Entry("add:1+2", "What is 1 + 2?", "3", ("1", "2")), Entry("add:1+2", "Add 2 and 1.", "3", ("1", "2"))
    )
    assert numbers(result) == (1, 0, 0, 0)
    assert result.status == "blocked"


def test_the_same_prompt_blocks_whatever_its_case_and_spaces() -> None:
    result = found(Entry("a", "Who are  you?", "x"), Entry("b", "who are you?", "y"))
    assert numbers(result) == (0, 1, 0, 1)


def test_a_run_of_eight_words_counts_if_it_holds_the_whole_problem() -> None:
    held_out = Entry("b", "Count how often the letter e is used in sheep today.", "2", ("sheep", "e"))
    leak = Entry("a", "I saw that the letter e is used in sheep today twice", "x", ())
    assert numbers(found(leak, held_out)) == (0, 0, 1, 0)
    frame_only = Entry("a", "Count how often the letter e is used in ships today.", "0", ("ships", "e"))
    assert numbers(found(frame_only, held_out)) == (0, 0, 0, 0)


def test_a_run_may_lie_in_the_training_reply() -> None:
    held_out = Entry("b", "Why is the sky above the sea so blue today?", "light")
    leak = Entry("a", "Tell me.", "They asked why is the sky above the sea so blue.")
    assert found(leak, held_out).train_ngrams == 1


def test_a_double_needs_both_of_its_operands_in_the_run() -> None:
    held_out = Entry("b", "How many toys are in 8 bags if each bag holds 8 toys?", "64", ("8", "8"))
    other = Entry("a", "How many toys are in 8 bags if each bag holds 3 toys?", "24", ("3", "8"))
    assert numbers(found(other, held_out)) == (0, 0, 0, 0)


def test_the_sign_is_part_of_the_problem() -> None:
    assert found(
        Entry("a", "What is 45 - 10?", "35", ("45", "10")), Entry("b", "What is 45 + 10?", "55", ("45", "10"))
    ) == (Contamination(1, 1, 0, 0, 0, 0, None, "", ()))


def test_near_copies_are_found() -> None:
    text = "Please tell me in a few words what the small red house on the hill was built for"
    near = Entry("a", text + " once?", "x")
    assert numbers(found(near, Entry("b", text + "?", "y"))) == (0, 0, 1, 1)
    far = Entry("a", "Please tell me what the small blue boat on the lake was built for", "x")
    assert found(far, Entry("b", text + "?", "y")).near_duplicates == 0


def test_taught_facts_may_be_near_but_not_the_same() -> None:
    question = "Paris is the capital of which country on earth?"
    near = Entry("b", question.replace("on earth", "on the earth"), "France", taught=True)
    assert numbers(found(Entry("a", question, "France"), near)) == (0, 0, 0, 0)
    same = Entry("b", question, "France", taught=True)
    assert numbers(found(Entry("a", question, "France"), same)) == (0, 1, 0, 0)


def test_the_corpus_is_searched_for_whole_problems() -> None:
    held_out = Entry("b", STORY, "24", ("27", "15"))
    result = found(Entry("a", "x", "y"), held_out, ["once upon a time", f"he said: {STORY}"])
    assert (result.corpus_ngrams, result.status) == (1, "blocked")
    assert "against the corpus" in result.examples[0]
    result = found(Entry("a", "x", "y"), held_out, ["once Ana gets 15 more and then Ana gives 18 away"])
    assert (result.corpus_ngrams, result.status) == (0, "ready")
    assert found(Entry("a", "x", "y"), held_out).corpus_ngrams is None


@pytest.mark.parametrize("seed", range(5))
def test_the_near_index_finds_what_comparing_all_pairs_finds(seed: int) -> None:
    random_ = random.Random(seed)
    words = ["the", "a", "cat", "dog", "house", "tree", "runs", "sits", "near", "far", "big", "small", "red", "blue"]
    texts = [" ".join(random_.choices(words, k=random_.randint(4, 30))) for _ in range(60)]
    copies = []
    for text in texts:
        changed = text.split()
        changed[random_.randrange(len(changed))] = random_.choice(words)
        copies.append(" ".join(changed) + random_.choice(["", " now", ""]))

    def shingles(text: str) -> set[tuple[str, ...]]:
        split = text.split()
        return {tuple(split[start : start + 3]) for start in range(len(split) - 2)}

    def jaccard(one: str, other: str) -> float:
        return len(shingles(one) & shingles(other)) / len(shingles(one) | shingles(other))

    screen = Screen([Entry(str(row), text, "") for row, text in enumerate(texts)])
    expected = [{row for row, text in enumerate(texts) if jaccard(text, copy) >= 0.8} for copy in copies]
    assert [screen.met(copy, "")[1] for copy in copies] == expected
    assert sum(map(len, expected)) > 3


def test_questions_of_one_template_with_other_numbers_are_not_near_copies() -> None:
    """How fast 20,000 x 4,000 of them are compared is measured by benchmarks/growth.py."""
    random_ = random.Random(0)

    def entries(name: str, number: int) -> list[Entry]:
        pairs = [(random_.randrange(10_000), random_.randrange(10_000)) for _ in range(number)]
        return [
            Entry(
                f"{name}{a}+{b}",
                f"There are {a} boxes here with {b} pens in each. How many pens are there?",
                "",
                (str(a), str(b)),
            )
            for a, b in pairs
        ]

    train, evaluation = entries("t", 20_000), entries("e", 4_000)
    result = check(train, evaluation, None, "")
    assert result.near_duplicates <= 4
