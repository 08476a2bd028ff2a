"""The built-in stories: as many, as varied and as clean as the base stage needs."""

import re
from collections import Counter

import pytest

from picochat.packs.stories import story

COUNT = 20_000


@pytest.fixture(scope="module")
def tales() -> list[str]:
    return [story(42, index) for index in range(COUNT)]


def test_twenty_thousand_stories_are_different_and_use_two_thousand_words_often(tales: list[str]) -> None:
    assert len(set(tales)) == COUNT
    words = Counter(word for tale in tales for word in re.findall(r"[a-z]+", tale.lower()))
    assert sum(count >= 20 for count in words.values()) >= 2_000
    openings = Counter(" ".join(tale.split()[:6]) for tale in tales)
    assert max(openings.values()) < COUNT * 0.04
    lengths = [len(tale.split()) for tale in tales]
    assert sum(40 <= length <= 150 for length in lengths) >= 0.99 * COUNT
    assert 60 <= sum(lengths) / COUNT <= 110


def test_no_sign_of_the_grammar_is_left_and_no_digit_or_drill(tales: list[str]) -> None:
    for tale in tales:
        assert not re.search(r"[\[\]{}<>|@\d=+*]|//|  | [.,!?]", tale), tale
        assert not re.search(r"\b(?:plus|minus|spell|letters? of|Final answer)\b", tale), tale


def test_articles_capitals_and_quotes_are_right_and_no_word_is_doubled(tales: list[str]) -> None:
    article = re.compile(r"\b[Aa] [aeioAEIO]\w*|\b[Aa]n [^aeioAEIO]\w*|\ba u[^ns]\w*|\ban u[ns]\w*")
    wrong = {found for tale in tales for found in article.findall(tale)}
    assert wrong <= {"a one", "an honest", "an hour", "An honest", "an unkind", "an umbrella", "An hour"}
    for tale in tales:
        assert tale[0] in '"ABCDEFGHIJKLMNOPQRSTUVWXYZ'
        assert not re.search(r"[.!?] \"?[a-z]|\n\"?[a-z]|\.\" [a-z]", tale), tale
        assert tale[-1] in '.!?"', tale
        assert all(line.count('"') % 2 == 0 for line in tale.split("\n")), tale
    assert {found[0] for tale in tales for found in re.finditer(r"\b(\w+) \1\b", tale)} <= {"called and called"}


def test_a_girl_stays_she(tales: list[str]) -> None:
    alone = [tale for tale in tales if re.match(r"(?:There was once a|Everyone in the \w+ knew \w+, the) girl", tale)]
    assert len(alone) > 200
    first = [re.match(r"[^.]*\.", tale) for tale in alone]
    assert not [match[0] for match in first if match and re.search(r"\b(?:his|him|himself)\b", match[0])]


def test_the_first_story_stays_as_it_is() -> None:
    # It may change with the grammar, on purpose: the changelog then says that corpora differ from earlier ones.
    assert story(0, 0) == (
        "At the harbor it was noisy that day. One could see fishing boats, ropes and hungry gulls. A rainbow stood "
        "over the harbor. An old couple sat on a wall and fed the birds. Somewhere a flute was playing a slow tune. "
        'Emma stood there with a soft elephant and watched it all. Emma thought, "I want to remember this."'
    )
