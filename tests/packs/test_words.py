"""The word list: its size and spread, and what a user's own list may hold."""

import re
from collections import Counter
from pathlib import Path

import pytest

from picochat.errors import UserError
from picochat.packs import build_task_pack, generation
from picochat.packs.content import common_words, load_words
from picochat.packs.formats import read_rows


def letters(count: int) -> list[str]:
    """``count`` different three-letter words: aaa, baa, caa, …"""
    return [f"{chr(97 + i % 26)}{chr(97 + i // 26 % 26)}a" for i in range(count)]


def test_there_are_thousands_of_words_sorted_and_of_every_length_and_first_letter() -> None:
    words = common_words()
    assert len(words) >= 3400
    assert list(words) == sorted(set(words))
    assert [word for word in words if not re.fullmatch("[a-z]{3,10}", word)] == []
    lengths = Counter(map(len, words))
    assert min(lengths[n] for n in range(3, 11)) >= 200
    assert {word[0] for word in words} >= set("abcdefghijklmnopqrstuvwyz")
    assert not {"january", "monday", "london", "peter", "damn", "hell"} & set(words)


def test_no_word_to_spell_is_a_word_of_the_packs_own_sentences(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(generation, "TYPOS", 0.0)  # a typo may turn "from" into "form"
    (tmp_path / "dataset_pack.json").write_text("{}")
    report = build_task_pack(tmp_path, profile="balanced", sft_rows=8000, eval_rows=100, promote=False)
    said: Counter[str] = Counter()
    for row in read_rows(report.chat_path, "chat"):
        prompt = row["messages"][0]["content"].lower()
        if row["category"].startswith("bench_spelling"):
            spelled = row["key"].partition(":")[2].partition("/")[0]
            assert re.search(rf"\b{spelled}\b", prompt), prompt
            prompt = re.sub(rf"\b{spelled}\b", "", prompt, count=1)
        said.update(re.findall("[a-z]+", prompt))
    assert said["letter"] > 100  # it is said, and not spelled
    assert sorted(said.keys() & set(common_words())) == []


def test_a_users_list_is_sorted_deduplicated_and_may_hold_comments(tmp_path: Path) -> None:
    path = tmp_path / "list.txt"
    path.write_bytes(("\ufeff# mine\n\n" + "\r\n".join(reversed(letters(100))) + "\r\nbaa \n").encode())
    assert load_words(path) == tuple(sorted(letters(100)))


@pytest.mark.parametrize("bad", ["Word", "don't", "ab", "two words", "naïve", "a" * 21, ""])
def test_a_bad_word_is_named_by_file_and_line_and_too_few_are_refused(tmp_path: Path, bad: str) -> None:
    path = tmp_path / "list.txt"
    path.write_text("\n".join([*letters(4), bad, *letters(200 if bad else 99)]), encoding="utf-8")
    with pytest.raises(UserError, match=r"list.txt:5: " if bad else "holds 99 different words; .* needs at least 100"):
        load_words(path)
