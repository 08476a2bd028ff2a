"""The contamination check: it finds each kind of leak, and it does not cry wolf at templates."""

import random
from typing import Any

import pytest

from picochat.packs.contamination import Entry, NearIndex, Overlap, check
from picochat.packs.rows import Row, words_of

STORY = "Ana has 27 apples and gets 15 more. Then Ana gives 18 away. How many are left?"
HILL = "Please tell me in a few words what the small red house on the hill was built for"
BLUE = "Why is the sky above the sea so blue today?"
BAGS = "How many toys are in 8 bags if each bag holds {} toys?"
EARTH = "Paris is the capital of which country on earth?"
SHEEP = Entry("b", "Count how often the letter e is used in sheep today.", "2", ("sheep", "e"))


def found(train: Entry, evaluation: Entry, corpus: list[str] | None = None) -> dict[str, Any]:
    return check([train], [evaluation], corpus, "")


def story(a: int, b: int, c: int) -> Entry:
    text = STORY.replace("27", str(a)).replace("15", str(b)).replace("18", str(c))
    return Entry(f"{a}+{b}-{c}", text, str(a + b - c), (str(a), str(b), str(c)))


@pytest.mark.parametrize(
    ("train", "evaluation", "numbers"),  # shared keys, shared prompts, runs of eight words, near copies
    [
        # the same template with other operands is clean
        (story(31, 42, 9), story(27, 15, 18), (0, 0, 0, 0)),
        # a shared key
        (Entry("1+2", "What is 1 + 2?", "3", ("1", "2")), Entry("1+2", "Add 2 and 1.", "3", ("1", "2")), (1, 0, 0, 0)),
        # the same prompt, whatever its case and spaces
        (Entry("a", "Who are  you?", "x"), Entry("b", "who are you?", "y"), (0, 1, 0, 1)),
        # a run of eight words counts if it holds the whole problem
        (Entry("a", "I saw that the letter e is used in sheep today twice", "x", ()), SHEEP, (0, 0, 1, 0)),
        (Entry("a", SHEEP.prompt.replace("sheep", "ships"), "0", ("ships", "e")), SHEEP, (0, 0, 0, 0)),
        # it may lie in the training reply
        (Entry("a", "Tell me.", "They asked " + BLUE), Entry("b", BLUE, "light"), (0, 0, 1, 0)),
        # a double needs both of its operands in the run
        (Entry("a", BAGS.format(3), "24", ("3", "8")), Entry("b", BAGS.format(8), "64", ("8", "8")), (0, 0, 0, 0)),
        # the sign is part of the problem
        (Entry("a", "What is 5 - 1?", "4", ("5", "1")), Entry("b", "What is 5 + 1?", "6", ("5", "1")), (0, 0, 0, 0)),
        (Entry("a", "What is 8 * 2?", "16"), Entry("b", "What is 8 ÷ 2?", "4"), (0, 0, 0, 0)),
        # near in words, and another problem
        (Entry("a", HILL + " 3", "x", ("3",)), Entry("b", HILL + " 8", "y", ("8",)), (0, 0, 0, 0)),
        # signs alone are no words to be near to
        (Entry("a", "🙂", "x"), Entry("b", "🎉", "y"), (0, 0, 0, 0)),
        # near copies
        (Entry("a", HILL + " once?", "x"), Entry("b", HILL + "?", "y"), (0, 0, 1, 1)),
        (Entry("a", "Please tell me what the blue boat was built for", "x"), Entry("b", HILL + "?", "y"), (0, 0, 0, 0)),
        # taught facts may be near but not the same
        (Entry("a", EARTH, "France"), Entry("b", EARTH.replace("on", "on the"), "France", taught=True), (0, 0, 0, 0)),
        (Entry("a", EARTH, "France"), Entry("b", EARTH, "France", taught=True), (0, 1, 0, 0)),
    ],
)  # fmt: skip
def test_each_kind_of_leak_is_found_and_no_other(
    train: Entry, evaluation: Entry, numbers: tuple[int, int, int, int]
) -> None:
    result = found(train, evaluation)
    counts = ("shared_keys", "shared_prompts", "train_ngrams", "near_duplicates")
    assert tuple(result[name] for name in counts) == numbers
    assert result["status"] == ("blocked" if any(numbers) else "ready")


def test_the_corpus_is_searched_for_whole_problems() -> None:
    train, held_out = Entry("a", "x", "y"), story(27, 15, 18)._replace(content=("27", "15"))
    result = found(train, held_out, ["once upon a time", f"he said: {STORY}"])
    assert (result["corpus_ngrams"], result["status"]) == (1, "blocked")
    assert "against the corpus" in result["examples"][0]
    result = found(train, held_out, ["once Ana gets 15 more and then Ana gives 18 away"])
    assert (result["corpus_ngrams"], result["status"]) == (0, "ready")
    assert found(train, held_out)["corpus_ngrams"] is None


@pytest.mark.parametrize(
    ("train", "evaluation", "met"),
    [
        ({}, {}, True),  # without a key the words decide
        ({"key": "add:27+15"}, {}, True),
        ({"key": "add:27+15"}, {"key": "add:27+16"}, False),  # two problems, whatever their words have in common
        ({"key": "asked:1"}, {"key": "asked:2"}, True),  # keys that are made of the words
    ],
)
def test_keys_tell_near_copies_from_other_problems(train: Row, evaluation: Row, met: bool) -> None:
    def row(text: str, **more: str) -> Row:
        return {"messages": [{"role": "user", "content": text}], **more}

    overlap = Overlap("eval.jsonl", [(1, row(HILL + "?", **evaluation))])
    overlap.meet("train.jsonl:1", row(HILL + " once?", **train))
    assert bool(overlap.said()) == met


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

    index = NearIndex([words_of(text) for text in texts], [{}] * len(texts))
    expected = [{row for row, text in enumerate(texts) if jaccard(text, copy) >= 0.8} for copy in copies]
    assert [index.find(words_of(copy)) for copy in copies] == expected
    assert sum(map(len, expected)) > 3
